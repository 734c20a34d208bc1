//! Text forms: Envoy's `name: value` lines and Prometheus' exposition format.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use super::{
    Histogram, Series,
    counters::{Group, Kind},
    histogram::BOUNDS,
};

/// Envoy's `/stats`.
pub(crate) fn plain_text(groups: &[Group]) -> String {
    let mut lines = Vec::new();
    for (kind, name, values) in groups {
        for (stat, _, value) in values {
            lines.push(if kind.is_empty() {
                format!("{stat}: {value}\n")
            } else {
                format!("{kind}.{name}.{stat}: {value}\n")
            });
        }
    }
    lines.sort();
    lines.concat()
}

/// Prometheus' text of Envoy's values and Istio's metrics; `version` is Istio's as the proxy has
/// told it to the control plane.
pub(crate) fn prometheus_text(
    groups: &[Group],
    istio: &BTreeMap<Arc<str>, Series>,
    version: &str,
) -> String {
    let mut out = String::new();
    envoy_metrics(groups, &mut out);
    out.push_str("# TYPE istio_build gauge\nistio_build{component=\"proxy\",tag=\"");
    escape_label(version, &mut out);
    out.push_str("\"} 1\n");
    let http: Vec<_> = istio.iter().filter(|(_, series)| !series.tcp).collect();
    counter("istio_requests_total", &http, |series| series.requests, &mut out);
    histogram("istio_request_duration_milliseconds", &http, |s| &s.duration, &mut out);
    histogram("istio_request_bytes", &http, |s| &s.request_bytes, &mut out);
    histogram("istio_response_bytes", &http, |s| &s.response_bytes, &mut out);
    let tcp: Vec<_> = istio.iter().filter(|(_, series)| series.tcp).collect();
    counter("istio_tcp_connections_opened_total", &tcp, |series| series.opened, &mut out);
    counter("istio_tcp_connections_closed_total", &tcp, |series| series.closed, &mut out);
    counter("istio_tcp_sent_bytes_total", &tcp, |series| series.sent, &mut out);
    counter("istio_tcp_received_bytes_total", &tcp, |series| series.received, &mut out);
    out
}

/// A series with its labels.
type Labelled<'a> = (&'a Arc<str>, &'a Series);

fn counter(name: &str, series: &[Labelled<'_>], value: impl Fn(&Series) -> u64, out: &mut String) {
    if series.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# TYPE {name} counter");
    for (labels, series) in series {
        let _ = writeln!(out, "{name}{{{labels}}} {}", value(series));
    }
}

fn histogram(
    name: &str,
    series: &[Labelled<'_>],
    value: impl Fn(&Series) -> &Histogram,
    out: &mut String,
) {
    if series.is_empty() {
        return;
    }
    let _ = writeln!(out, "# TYPE {name} histogram");
    for (labels, series) in series {
        let histogram = value(series);
        let mut total = 0;
        for (bound, count) in BOUNDS.iter().zip(histogram.counts) {
            total += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", histogram.count());
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", histogram.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", histogram.count());
    }
}

/// Envoy's values: the dots of a name become underscores, the group's name a label.
fn envoy_metrics(groups: &[Group], out: &mut String) {
    let mut metrics: BTreeMap<String, (Kind, Vec<(String, u64)>)> = BTreeMap::new();
    for (kind, name, values) in groups {
        let label = match *kind {
            "cluster" => "cluster_name",
            "http" => "http_conn_manager_prefix",
            "listener" => "listener_address",
            _ => "",
        };
        let mut labels = String::new();
        if !label.is_empty() {
            let _ = write!(labels, "{label}=\"");
            escape_label(name, &mut labels);
            labels.push('"');
        }
        for (stat, value_kind, value) in values {
            let full = if kind.is_empty() { (*stat).to_owned() } else { format!("{kind}_{stat}") };
            let full = format!("envoy_{}", full.replace(['.', '-'], "_"));
            let metric = metrics.entry(full).or_insert_with(|| (*value_kind, Vec::new()));
            metric.1.push((labels.clone(), *value));
        }
    }
    for (name, (kind, values)) in metrics {
        let kind = if kind == Kind::Counter { "counter" } else { "gauge" };
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(out, "{name}{{{labels}}} {value}");
        }
    }
}

/// Escapes a label's value (Prometheus' text format 0.0.4).
pub(super) fn escape_label(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}
