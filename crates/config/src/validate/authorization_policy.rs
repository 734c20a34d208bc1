//! AuthorizationPolicy. Strict on purpose: a policy that says less than it seems to is refused.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{checks, names};
use crate::{
    ObjectMeta,
    report::Report,
    security::{AuthorizationAction, AuthorizationPolicy, Condition, Operation, Rule, Source},
    yaml::{Path, excerpt},
};

/// As in Istio's CRD.
const MAX_RULES: usize = 512;
const MAX_TARGETS: usize = 16;

pub(crate) fn check(
    policy: &AuthorizationPolicy,
    meta: &ObjectMeta,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if let Some(selector) = &policy.selector {
        let path = path.field("selector");
        checks::selector(&selector.match_labels, &path.field("matchLabels"), report);
        if policy.target_ref.is_some() || !policy.target_refs.is_empty() {
            let message = "selector and targetRefs exclude each other";
            report.error(&path, "exclusive-fields", message);
        }
    }
    targets(policy, meta, path, report);
    action(policy, path, report);
    let list = path.field("rules");
    if policy.rules.len() > MAX_RULES {
        let message = format!("has {} rules: at most {MAX_RULES}", policy.rules.len());
        report.error(&list, "too-many", message);
    }
    for (index, value) in policy.rules.iter().enumerate() {
        rule(value, policy.action, &list.index(index), report);
    }
}

fn targets(
    policy: &AuthorizationPolicy,
    meta: &ObjectMeta,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let list = path.field("targetRefs");
    if policy.target_ref.is_some() && !policy.target_refs.is_empty() {
        report.error(&list, "exclusive-fields", "targetRef and targetRefs exclude each other");
    }
    if policy.target_refs.len() > MAX_TARGETS {
        report.error(&list, "too-many", format!("at most {MAX_TARGETS} are possible"));
    }
    for (index, target) in policy.target_refs.iter().enumerate() {
        let path = list.index(index);
        if target.kind.is_empty() || target.name.is_empty() {
            report.error(&path, "missing-field", "kind and name are needed");
        }
        if !target.namespace.is_empty() && target.namespace != meta.namespace {
            let message = "must be the policy's own namespace";
            report.error(&path.field("namespace"), "invalid-value", message);
        }
    }
    if policy.target_ref.is_some() || !policy.target_refs.is_empty() {
        let message = "targetRefs are for Gateway API gateways and waypoints, which are not \
                       supported yet: the policy applies to no workload";
        report.warning_help(path, "unsupported-field", message, "use a selector");
    }
}

fn action(policy: &AuthorizationPolicy, path: &Path<'_>, report: &mut Report<'_>) {
    let provider = path.field("provider");
    let is_custom = policy.action == AuthorizationAction::Custom;
    match &policy.provider {
        Some(_) if !is_custom => {
            report.error(&provider, "exclusive-fields", "only action CUSTOM has a provider");
        }
        Some(named) if named.name.is_empty() => {
            report.error(&provider.field("name"), "missing-field", "the name is missing");
        }
        None if is_custom => {
            report.error(&provider, "missing-field", "action CUSTOM needs a provider");
        }
        _ => {}
    }
    if is_custom {
        let message = "CUSTOM is not supported yet: requests that match the rules are denied";
        report.warning(&path.field("action"), "unsupported-value", message);
    }
    if policy.rules.is_empty() && policy.action != AuthorizationAction::Allow {
        let message = "a policy with this action and no rules never matches: it has no effect";
        report.warning_help(path, "no-effect", message, "write rules: [{}] to match everything");
    }
}

fn rule(rule: &Rule, action: AuthorizationAction, path: &Path<'_>, report: &mut Report<'_>) {
    for (field, given, count) in [
        ("from", report.has(&path.field("from")), rule.from.len()),
        ("to", report.has(&path.field("to")), rule.to.len()),
        ("when", report.has(&path.field("when")), rule.when.len()),
    ] {
        if given && count == 0 {
            let message = format!("an empty {field} would match everything");
            report.error_help(&path.field(field), "empty-rule", message, "remove it or fill it");
        }
        if count > MAX_RULES {
            report.error(&path.field(field), "too-many", format!("at most {MAX_RULES}"));
        }
    }
    let list = path.field("from");
    for (index, from) in rule.from.iter().enumerate() {
        source(&from.source, &list.index(index).field("source"), report);
    }
    let list = path.field("to");
    for (index, to) in rule.to.iter().enumerate() {
        operation(&to.operation, &list.index(index).field("operation"), report);
    }
    let list = path.field("when");
    for (index, value) in rule.when.iter().enumerate() {
        condition(value, &list.index(index), report);
    }
    if action == AuthorizationAction::Custom && rule.uses_identity() {
        let message = "CUSTOM cannot match on a request's token";
        report.error(path, "exclusive-fields", message);
    }
}

impl Rule {
    fn uses_identity(&self) -> bool {
        self.from.iter().any(|from| {
            !from.source.request_principals.is_empty()
                || !from.source.not_request_principals.is_empty()
        }) || self.when.iter().any(|when| when.key.starts_with("request.auth."))
    }
}

fn source(value: &Source, path: &Path<'_>, report: &mut Report<'_>) {
    if *value == Source::default() {
        report.error(path, "empty-rule", "the source is empty: it would match everyone");
    }
    let lists = [
        ("principals", &value.principals),
        ("notPrincipals", &value.not_principals),
        ("requestPrincipals", &value.request_principals),
        ("notRequestPrincipals", &value.not_request_principals),
        ("namespaces", &value.namespaces),
        ("notNamespaces", &value.not_namespaces),
        ("serviceAccounts", &value.service_accounts),
        ("notServiceAccounts", &value.not_service_accounts),
        ("ipBlocks", &value.ip_blocks),
        ("notIpBlocks", &value.not_ip_blocks),
        ("remoteIpBlocks", &value.remote_ip_blocks),
        ("notRemoteIpBlocks", &value.not_remote_ip_blocks),
        ("trustDomains", &value.trust_domains),
        ("notTrustDomains", &value.not_trust_domains),
    ];
    for (name, list) in lists {
        let path = path.field(name);
        no_empty(list, &path, report);
        for (index, text) in list.iter().enumerate() {
            match name {
                _ if name.ends_with("pBlocks") => {
                    checks::ip_or_cidr(text, &path.index(index), report);
                }
                "principals" | "notPrincipals" => principal(text, &path.index(index), report),
                "serviceAccounts" | "notServiceAccounts" => {
                    service_account(text, &path.index(index), report);
                }
                _ => {}
            }
        }
    }
    let accounts = !value.service_accounts.is_empty() || !value.not_service_accounts.is_empty();
    let others = !value.principals.is_empty()
        || !value.not_principals.is_empty()
        || !value.namespaces.is_empty()
        || !value.not_namespaces.is_empty();
    if accounts && others {
        let message = "serviceAccounts exclude principals and namespaces";
        report.error(&path.field("serviceAccounts"), "exclusive-fields", message);
    }
}

/// A list with an empty text in it, or written and empty.
fn no_empty(list: &[String], path: &Path<'_>, report: &mut Report<'_>) {
    if list.is_empty() && report.has(path) {
        report.error_help(path, "empty-rule", "the list is empty", "remove it or fill it");
    }
    for (index, text) in list.iter().enumerate() {
        if text.is_empty() {
            report.error(&path.index(index), "empty-rule", "the text is empty");
        }
    }
}

/// `spiffe://` is not written; a `*` stands at one end only.
fn principal(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(rest) = text.strip_prefix("spiffe://") {
        let message = "a principal is written without spiffe://: this would match nobody";
        let help = format!("write \"{}\"", excerpt(rest));
        report.error_help(path, "invalid-principal", message, help);
    } else if !text.contains('*') && text.split('/').count() != 5 {
        let message = format!("\"{}\" matches no workload of a mesh", excerpt(text));
        let help = "write <trust domain>/ns/<namespace>/sa/<service account>";
        report.warning_help(path, "invalid-principal", message, help);
    }
}

fn service_account(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        _ if text.contains('*') => {
            report.error(path, "invalid-principal", "service accounts have no wildcards");
        }
        [account] => names::dns_subdomain(account, path, report),
        [namespace, account] => {
            names::dns_label(namespace, path, report);
            names::dns_subdomain(account, path, report);
        }
        _ => {
            let message = "must be <namespace>/<service account> or <service account>";
            report.error(path, "invalid-principal", message);
        }
    }
}

fn operation(value: &Operation, path: &Path<'_>, report: &mut Report<'_>) {
    if *value == Operation::default() {
        report.error(path, "empty-rule", "the operation is empty: it would match everything");
    }
    let lists = [
        ("hosts", &value.hosts),
        ("notHosts", &value.not_hosts),
        ("ports", &value.ports),
        ("notPorts", &value.not_ports),
        ("methods", &value.methods),
        ("notMethods", &value.not_methods),
        ("paths", &value.paths),
        ("notPaths", &value.not_paths),
    ];
    for (name, list) in lists {
        let path = path.field(name);
        no_empty(list, &path, report);
        for (index, text) in list.iter().enumerate() {
            match name {
                "ports" | "notPorts" => port(text, &path.index(index), report),
                "paths" | "notPaths" => template(text, &path.index(index), report),
                _ => {}
            }
        }
    }
}

fn port(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if !text.parse::<u16>().is_ok_and(|port| port > 0) {
        let message = format!("\"{}\" is not a port from 1 to 65535", excerpt(text));
        report.error(path, "invalid-port", message);
    }
}

/// A path template: `{*}` and `{**}` are whole segments, `{**}` once and nothing like it after.
fn template(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if !text.contains(['{', '}']) {
        return;
    }
    let mut after_double = false;
    for segment in text.split('/') {
        let is_variable = matches!(segment, "{*}" | "{**}");
        let error = if !is_variable && segment.contains(['{', '}', '*']) {
            Some("in a path template {*} or {**} is a whole segment, and * alone is not allowed")
        } else if is_variable && after_double {
            Some("in a path template nothing like {*} follows {**}")
        } else {
            None
        };
        if let Some(message) = error {
            report.error(path, "invalid-path", message);
            return;
        }
        after_double |= segment == "{**}";
    }
}

const KEYS: [&str; 12] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
];
const KEYS_WITH_NAME: [&str; 3] =
    ["request.headers[", "request.auth.claims[", "experimental.envoy.filters."];

fn condition(value: &Condition, path: &Path<'_>, report: &mut Report<'_>) {
    let key = value.key.as_str();
    let named = KEYS_WITH_NAME.iter().any(|prefix| {
        key.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(']') && rest.len() > 1)
    });
    let path_key = path.field("key");
    if key.is_empty() {
        report.error(&path_key, "missing-field", "the key is missing");
    } else if !named && !KEYS.contains(&key) {
        let message = format!("\"{}\" is not an attribute", excerpt(key));
        match crate::yaml::nearest(key, KEYS) {
            Some(near) => {
                let help = format!("did you mean \"{near}\"?");
                report.error_help(&path_key, "invalid-condition", message, help);
            }
            None => report.error(&path_key, "invalid-condition", message),
        }
    }
    if value.values.is_empty() && value.not_values.is_empty() {
        report.error(path, "missing-field", "one of values and notValues is needed");
    }
    for (name, list) in [("values", &value.values), ("notValues", &value.not_values)] {
        let path = path.field(name);
        no_empty(list, &path, report);
        for (index, text) in list.iter().enumerate() {
            let path = path.index(index);
            match key {
                "source.ip" | "remote.ip" | "destination.ip"
                    if text.parse::<IpAddr>().is_err() && text.parse::<IpNet>().is_err() =>
                {
                    checks::ip_or_cidr(text, &path, report);
                }
                "destination.port" => port(text, &path, report),
                _ => {}
            }
        }
    }
}
