//! Telemetry: what Istio refuses, and what no proxy here does.

use super::checks;
use crate::{
    report::Report,
    telemetry::{
        AccessLogging, IstioMetric, Metrics, MetricsOverrides, ProviderRef, TagOperation, Telemetry,
    },
    yaml::Path,
};

pub(crate) fn check(telemetry: &Telemetry, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(selector) = &telemetry.selector {
        let path = path.field("selector");
        checks::selector(&selector.match_labels, &path.field("matchLabels"), report);
        if telemetry.target_ref.is_some() || !telemetry.target_refs.is_empty() {
            let message = "selector and targetRefs exclude each other";
            report.error(&path, "exclusive-fields", message);
        }
    }
    if telemetry.target_ref.is_some() || !telemetry.target_refs.is_empty() {
        let message = "targetRefs are for Gateway API gateways and waypoints, which are not \
                       supported yet: the object applies to no workload";
        report.warning_help(path, "unsupported-field", message, "use a selector");
    }
    let list = path.field("metrics");
    for (index, value) in telemetry.metrics.iter().enumerate() {
        metrics(value, &list.index(index), report);
    }
    let list = path.field("accessLogging");
    for (index, value) in telemetry.access_logging.iter().enumerate() {
        access_logging(value, &list.index(index), report);
    }
}

fn providers(providers: &[ProviderRef], path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("providers");
    for (index, provider) in providers.iter().enumerate() {
        if provider.name.is_empty() {
            let message = "the name is missing";
            report.error(&list.index(index).field("name"), "missing-field", message);
        }
    }
}

fn metrics(metrics: &Metrics, path: &Path<'_>, report: &mut Report<'_>) {
    providers(&metrics.providers, path, report);
    checks::at_least_1ms(metrics.reporting_interval, &path.field("reportingInterval"), report);
    let list = path.field("overrides");
    for (index, value) in metrics.overrides.iter().enumerate() {
        overrides(value, &list.index(index), report);
    }
}

fn overrides(overrides: &MetricsOverrides, path: &Path<'_>, report: &mut Report<'_>) {
    if overrides.matches.metric.is_some() && !overrides.matches.custom_metric.is_empty() {
        let message = "metric and customMetric exclude each other";
        report.error(&path.field("match"), "exclusive-fields", message);
    }
    if !overrides.matches.custom_metric.is_empty() {
        let message = "there are no metrics besides Istio's own: the override is passed over";
        report.warning(&path.field("match").field("customMetric"), "unsupported-field", message);
    }
    let one = overrides.matches.metric.is_some_and(|metric| metric != IstioMetric::AllMetrics);
    if one && overrides.disabled.is_some() {
        let message = "metrics can only be turned off all at once yet: this one stays as it is";
        report.warning(&path.field("disabled"), "unsupported-value", message);
    }
    let list = path.field("tagOverrides");
    for (name, tag) in &overrides.tag_overrides {
        let path = list.field(name);
        match tag.operation {
            TagOperation::Upsert if tag.value.is_empty() => {
                report.error(&path, "missing-field", "UPSERT needs a value");
            }
            TagOperation::Upsert => report.warning(
                &path,
                "unsupported-value",
                "labels from expressions are not supported yet: the label stays as it is",
            ),
            TagOperation::Remove if !tag.value.is_empty() => {
                let message = "REMOVE takes no value";
                report.error(&path.field("value"), "exclusive-fields", message);
            }
            TagOperation::Remove => report.warning(
                &path,
                "unsupported-value",
                "labels cannot be removed yet: the label stays as it is",
            ),
        }
    }
}

fn access_logging(logging: &AccessLogging, path: &Path<'_>, report: &mut Report<'_>) {
    providers(&logging.providers, path, report);
    if let Some(filter) = &logging.filter
        && filter.expression.trim().is_empty()
    {
        let message = "the expression is missing";
        report.error(&path.field("filter").field("expression"), "missing-field", message);
    }
}
