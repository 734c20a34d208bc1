//! EnvoyFilter: what Istio refuses, and what no proxy of Mizzen's takes. Whether a patch's value is
//! what it should be is known where the proxies' messages are.

use super::{checks, names};
use crate::{
    networking::{
        ApplyTo, EnvoyConfigObjectPatch, EnvoyFilter, EnvoyFilterMatch, PatchContext,
        PatchOperation,
    },
    report::Report,
    yaml::Path,
};

pub(crate) fn check(filter: &EnvoyFilter, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(selector) = &filter.workload_selector {
        let path = path.field("workloadSelector");
        if !filter.target_refs.is_empty() {
            let message = "workloadSelector and targetRefs exclude each other";
            report.error(&path, "exclusive-fields", message);
        }
        if selector.labels.is_empty() {
            let message = "a selector without labels selects every workload";
            report.warning_help(&path, "empty-selector", message, "remove it or add labels");
        }
        checks::selector(&selector.labels, &path.field("labels"), report);
    }
    if !filter.target_refs.is_empty() {
        let message = "targetRefs are for Gateway API gateways and waypoints, which are not \
                       supported yet: the patches apply to no proxy";
        let path = path.field("targetRefs");
        report.warning_help(&path, "unsupported-field", message, "use workloadSelector");
    }
    let list = path.field("configPatches");
    if filter.config_patches.is_empty() {
        report.warning(&list, "no-effect", "there is no patch: it has no effect");
    }
    for (index, value) in filter.config_patches.iter().enumerate() {
        patch(value, &list.index(index), report);
    }
}

fn patch(patch: &EnvoyConfigObjectPatch, path: &Path<'_>, report: &mut Report<'_>) {
    apply_to(patch, path, report);
    let operation = patch.patch.operation;
    let change = path.field("patch");
    if operation == PatchOperation::Invalid {
        let message = "the operation is missing";
        report.error(&change.field("operation"), "missing-field", message);
    } else if !allowed(patch.apply_to, operation) {
        let message = "this operation is not possible for what the patch applies to";
        report.error(&change.field("operation"), "invalid-value", message);
    }
    let value = change.field("value");
    match (&patch.patch.value, operation) {
        (_, PatchOperation::Invalid) => {}
        (None, PatchOperation::Remove) => {}
        (None, _) => report.error(&value, "missing-field", "only REMOVE needs no value"),
        (Some(_), PatchOperation::Remove) => {
            report.warning(&value, "no-effect", "REMOVE takes no value: it has no effect");
        }
        (Some(json), _) if !json.is_object() => {
            report.error(&value, "invalid-value", "expected a mapping: a part of a message");
        }
        _ => {}
    }
    let class = change.field("filterClass");
    if report.has(&class) && operation != PatchOperation::Add {
        let message = "filterClass only counts with the operation ADD";
        report.warning(&class, "no-effect", message);
    }
    matches(patch, &path.field("match"), report);
}

fn apply_to(patch: &EnvoyConfigObjectPatch, path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.field("applyTo");
    match patch.apply_to {
        ApplyTo::Invalid => report.error(&path, "missing-field", "applyTo is missing"),
        ApplyTo::Bootstrap => report.warning(
            &path,
            "unsupported-value",
            "a proxy's bootstrap cannot be patched: the patch is passed over",
        ),
        ApplyTo::ExtensionConfig => report.warning_help(
            &path,
            "unsupported-value",
            "extensions are not discovered on their own yet: the patch is passed over",
            "write the configuration into the filter itself with HTTP_FILTER or NETWORK_FILTER",
        ),
        _ => {}
    }
}

/// Istio's table of operations.
fn allowed(apply_to: ApplyTo, operation: PatchOperation) -> bool {
    use PatchOperation::{
        Add, InsertAfter, InsertBefore, InsertFirst, Invalid, Merge, MergeAndReplaceList, Remove,
        Replace,
    };
    let in_list =
        matches!(apply_to, ApplyTo::NetworkFilter | ApplyTo::HttpFilter | ApplyTo::ListenerFilter);
    match (apply_to, operation) {
        (ApplyTo::Invalid | ApplyTo::Bootstrap | ApplyTo::ExtensionConfig, _) => true,
        (_, Invalid | Merge | MergeAndReplaceList) => true,
        (_, Add | Remove) => apply_to != ApplyTo::RouteConfiguration,
        (_, InsertBefore | InsertAfter | InsertFirst) => in_list || apply_to == ApplyTo::HttpRoute,
        (_, Replace) => in_list,
    }
}

fn matches(patch: &EnvoyConfigObjectPatch, path: &Path<'_>, report: &mut Report<'_>) {
    let given = &patch.matches;
    if given.context == PatchContext::Waypoint {
        let message = "there are no waypoints yet: the patch is passed over";
        report.warning(&path.field("context"), "unsupported-value", message);
    }
    if let Some(proxy) = &given.proxy {
        let path = path.field("proxy");
        if !proxy.proxy_version.is_empty() {
            checks::regex(&proxy.proxy_version, &path.field("proxyVersion"), report);
        }
    }
    only_of_kind(patch.apply_to, given, path, report);
    if let Some(routes) = &given.route_configuration
        && !routes.gateway.is_empty()
        && !routes.gateway.contains('/')
    {
        let path = path.field("routeConfiguration");
        report.error(&path.field("gateway"), "invalid-value", "expected namespace/name");
    }
    if let Some(cluster) = &given.cluster
        && !cluster.service.is_empty()
    {
        names::host(&cluster.service, true, &path.field("cluster").field("service"), report);
    }
    selects(patch, path, report);
}

/// A match of another kind of resource than the patch applies to.
fn only_of_kind(
    apply_to: ApplyTo,
    given: &EnvoyFilterMatch,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let wanted = match apply_to {
        ApplyTo::Listener
        | ApplyTo::FilterChain
        | ApplyTo::NetworkFilter
        | ApplyTo::HttpFilter
        | ApplyTo::ListenerFilter => "listener",
        ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
            "routeConfiguration"
        }
        ApplyTo::Cluster => "cluster",
        ApplyTo::Invalid | ApplyTo::Bootstrap | ApplyTo::ExtensionConfig => return,
    };
    let others = [
        ("listener", given.listener.is_some()),
        ("routeConfiguration", given.route_configuration.is_some()),
        ("cluster", given.cluster.is_some()),
    ];
    for (field, is_given) in others {
        if is_given && field != wanted {
            let message = format!("what the patch applies to is matched by {wanted} only");
            report.error(&path.field(field), "exclusive-fields", message);
        }
    }
}

/// Operations that need to know which filter is meant.
fn selects(patch: &EnvoyConfigObjectPatch, path: &Path<'_>, report: &mut Report<'_>) {
    use PatchOperation::{Merge, MergeAndReplaceList, Remove, Replace};
    if !matches!(patch.patch.operation, Merge | MergeAndReplaceList | Remove | Replace) {
        return;
    }
    let listener = patch.matches.listener.as_ref();
    let filter = listener.and_then(|l| l.filter_chain.as_ref()).and_then(|c| c.filter.as_ref());
    let named = |text: Option<&String>| text.is_some_and(|name| !name.is_empty());
    let missing = match patch.apply_to {
        ApplyTo::ListenerFilter if !named(listener.map(|l| &l.listener_filter)) => {
            "listener.listenerFilter"
        }
        ApplyTo::NetworkFilter if !named(filter.map(|f| &f.name)) => {
            "listener.filterChain.filter.name"
        }
        ApplyTo::HttpFilter
            if !named(filter.and_then(|f| f.sub_filter.as_ref()).map(|s| &s.name)) =>
        {
            "listener.filterChain.filter.subFilter.name"
        }
        _ => return,
    };
    let message = format!("this operation needs to know which filter is meant: {missing}");
    report.error(path, "missing-field", message);
}
