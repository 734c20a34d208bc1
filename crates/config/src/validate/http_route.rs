//! One HTTP rule of a VirtualService: its kind, matches and destinations.

use std::collections::BTreeMap;

use super::{
    checks, route_policy,
    virtual_service::{destination, gateways, source, weights},
};
use crate::{
    networking::{HttpMatchRequest, HttpRoute},
    report::Report,
    validate::names,
    value::StringMatch,
    yaml::Path,
};

pub(crate) fn check(
    route: &HttpRoute,
    in_delegate: bool,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    kind(route, in_delegate, path, report);
    let matches = path.field("match");
    for (index, conditions) in route.matches.iter().enumerate() {
        http_match(conditions, in_delegate, &matches.index(index), report);
    }
    let list = path.field("route");
    for (index, to) in route.route.iter().enumerate() {
        let path = list.index(index);
        destination(&to.destination, &path.field("destination"), report);
        if let Some(headers) = &to.headers {
            route_policy::headers(headers, &path.field("headers"), report);
        }
    }
    weights(route.route.iter().map(|to| to.weight), &list, report);
    checks::zero_or_1ms(route.timeout, &path.field("timeout"), report);
    route_policy::check(route, path, report);
}

/// Exactly one of route, redirect, directResponse and delegate, and what each excludes.
fn kind(route: &HttpRoute, in_delegate: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let kinds = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
        ("delegate", route.delegate.is_some()),
    ];
    let given: Vec<&str> =
        kinds.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    match given.as_slice() {
        [] => {
            let message = "one of route, redirect, directResponse and delegate is needed";
            report.error(path, "missing-field", message);
        }
        [_] => {}
        [first, second, ..] => {
            let message = format!("{first} and {second} exclude each other");
            report.error(&path.field(second), "exclusive-fields", message);
        }
    }
    let rewrites = [("rewrite", route.rewrite.is_some()), ("fault", route.fault.is_some())];
    let answers = [
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
    ];
    for (answer, _) in answers.into_iter().filter(|(_, given)| *given) {
        for (field, _) in rewrites.into_iter().filter(|(_, given)| *given) {
            let message = format!("{answer} and {field} exclude each other");
            report.error(&path.field(field), "exclusive-fields", message);
        }
    }
    if let Some(delegate) = &route.delegate {
        let path = path.field("delegate");
        if in_delegate {
            let message = "a delegate cannot delegate further";
            report.error(&path, "invalid-delegate", message);
        }
        names::dns_subdomain(&delegate.name, &path.field("name"), report);
        if !delegate.namespace.is_empty() {
            names::dns_label(&delegate.namespace, &path.field("namespace"), report);
        }
    }
}

fn http_match(
    conditions: &HttpMatchRequest,
    in_delegate: bool,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let single = [
        ("uri", &conditions.uri),
        ("scheme", &conditions.scheme),
        ("method", &conditions.method),
        ("authority", &conditions.authority),
    ];
    for (name, value) in single {
        if let Some(value) = value {
            checks::string_match(value, false, &path.field(name), report);
        }
    }
    header_matches(&conditions.headers, &path.field("headers"), report);
    header_matches(&conditions.without_headers, &path.field("withoutHeaders"), report);
    let query = path.field("queryParams");
    for (name, value) in &conditions.query_params {
        checks::string_match(value, true, &query.field(name), report);
    }
    checks::port(conditions.port, &path.field("port"), report);
    source(&conditions.source_labels, &conditions.source_namespace, path, report);
    gateways(&conditions.gateways, path, report);
    if in_delegate && !conditions.gateways.is_empty() {
        let message = "a delegate's matches name no gateways";
        report.error(&path.field("gateways"), "invalid-delegate", message);
    }
    if conditions.ignore_uri_case && matches!(conditions.uri, Some(StringMatch::Regex(_))) {
        let message = "has no effect on a regular expression";
        report.warning_help(&path.field("ignoreUriCase"), "no-effect", message, "write (?i) in it");
    }
}

fn header_matches(
    headers: &BTreeMap<String, StringMatch>,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    for (name, value) in headers {
        let path = path.field(name);
        checks::string_match(value, true, &path, report);
        if name.starts_with("@request.auth.claims") {
            let message =
                "matches on a token's claims are not supported yet: the rule never matches";
            report.warning(&path, "unsupported-field", message);
        } else if matches!(name.as_str(), "uri" | "scheme" | "method" | "authority") {
            let message = format!("ignored here: use the field {name} of the match");
            report.warning(&path, "no-effect", message);
        } else {
            checks::header_name(name, &path, report);
        }
    }
}

/// Whether the rule takes every request: no match, or one with nothing but the prefix `/`.
pub(crate) fn takes_everything(route: &HttpRoute) -> bool {
    route.matches.is_empty() || route.matches.iter().any(is_empty_match)
}

fn is_empty_match(conditions: &HttpMatchRequest) -> bool {
    let uri = match &conditions.uri {
        None => true,
        Some(StringMatch::Prefix(prefix)) => prefix == "/",
        Some(StringMatch::Regex(regex)) => regex == ".*",
        _ => false,
    };
    let rest = HttpMatchRequest {
        uri: None,
        name: String::new(),
        stat_prefix: String::new(),
        ignore_uri_case: false,
        ..conditions.clone()
    };
    uri && rest == HttpMatchRequest::default()
}
