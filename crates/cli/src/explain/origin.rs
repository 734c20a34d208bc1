//! From what a resource says about itself to the object that a user wrote, and its line.

use std::sync::Arc;

use config::networking::{HttpMatchRequest, HttpRoute};
use config::value::StringMatch;
use config::{Object, Spec, VirtualService};
use local::offline::MADE_UP;
use xds::{Metadata, Value};

use super::journey::Origin;

/// The objects to find origins among.
#[derive(Clone, Copy)]
pub(super) struct Origins<'a>(pub(super) &'a [Arc<Object>]);

/// Where an object stands; nothing for one that nobody wrote.
pub(super) fn at(object: &Object, field: Option<&str>) -> Option<Origin> {
    if &*object.origin.file == MADE_UP {
        return None;
    }
    let file = object.origin.file.to_string();
    let line = field.map_or(object.origin.line, |field| object.place(field).0);
    Some(Origin { object: object.key().to_string(), file, line })
}

impl<'a> Origins<'a> {
    /// The object of a kind (as in YAML) with a name.
    pub(super) fn find(self, kind: &str, namespace: &str, name: &str) -> Option<&'a Arc<Object>> {
        self.0.iter().find(|object| {
            object.spec.kind().name() == kind
                && object.meta.namespace == namespace
                && object.meta.name == name
        })
    }

    /// The object that `istio`/`config` names: `/apis/<group>/<version>/namespaces/<ns>/<kind>/<name>`.
    pub(super) fn of_config(self, metadata: &Metadata) -> Option<&'a Arc<Object>> {
        let path = metadata.get("istio", "config")?.as_str()?;
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let [.., "namespaces", namespace, kind, name] = parts[..] else { return None };
        self.0.iter().find(|object| {
            kebab_case(object.spec.kind().name()) == kind
                && object.meta.namespace == namespace
                && object.meta.name == name
        })
    }

    /// The Service that `istio`/`services` names first.
    pub(super) fn of_service(self, metadata: &Metadata) -> Option<&'a Arc<Object>> {
        let Value::List(services) = metadata.get("istio", "services")? else { return None };
        let service = services.first()?.as_struct()?;
        let text = |key: &str| service.get(key).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        self.find("Service", namespace, name).or_else(|| {
            let host = text("host");
            self.of_host(host)
        })
    }

    /// The Service with this full host name.
    pub(super) fn of_host(self, host: &str) -> Option<&'a Arc<Object>> {
        let mut parts = host.split('.');
        let (name, namespace) = (parts.next()?, parts.next()?);
        (parts.next() == Some("svc")).then(|| self.find("Service", namespace, name)).flatten()
    }

    /// A cluster's origin: the DestinationRule (its subset's line), else the Service.
    pub(super) fn of_cluster(self, cluster: &xds::Cluster) -> Option<Origin> {
        let Some(object) = self.of_config(&cluster.metadata) else {
            return at(self.of_service(&cluster.metadata)?, None);
        };
        let subset = cluster.metadata.get("istio", "subset").and_then(Value::as_str);
        let field = match (&object.spec, subset) {
            (Spec::DestinationRule(rule), Some(subset)) => {
                let index = rule.subsets.iter().position(|one| one.name == subset);
                index.map(|index| format!("spec.subsets[{index}]"))
            }
            _ => None,
        };
        at(object, field.as_deref())
    }

    /// A route's origin: the rule of the VirtualService that it comes from, as far as its path and
    /// destinations tell.
    pub(super) fn of_route(self, route: &xds::Route) -> Option<Origin> {
        let object = self.of_config(&route.metadata)?;
        let field = match &object.spec {
            Spec::VirtualService(service) => rule(service, route),
            _ => None,
        };
        at(object, field.as_deref())
    }

    /// The rule of the AuthorizationPolicy behind `ns[…]-policy[…]-rule[…]`.
    pub(super) fn of_policy(self, name: &str) -> Option<Origin> {
        let (namespace, policy, rule) = policy_name(name)?;
        let object = self.find("AuthorizationPolicy", namespace, policy)?;
        let rules = match &object.spec {
            Spec::AuthorizationPolicy(policy) => policy.rules.len(),
            _ => 0,
        };
        let field = (rule < rules).then(|| format!("spec.rules[{rule}]"));
        at(object, field.as_deref())
    }
}

/// Namespace, policy and number of the rule in a policy's name.
pub(super) fn policy_name(name: &str) -> Option<(&str, &str, usize)> {
    let (namespace, rest) = name.strip_prefix("ns[")?.split_once("]-policy[")?;
    let (policy, rest) = rest.split_once("]-rule[")?;
    Some((namespace, policy, rest.strip_suffix(']')?.parse().ok()?))
}

fn kebab_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// The field of the first rule with the route's name, path and destinations.
fn rule(service: &VirtualService, route: &xds::Route) -> Option<String> {
    for (number, rule) in service.http.iter().enumerate() {
        if !same_destinations(rule, route) || !same_name(rule, route) {
            continue;
        }
        if rule.matches.is_empty() {
            return Some(format!("spec.http[{number}]"));
        }
        let found = rule.matches.iter().position(|block| same_match(block, &route.route_match));
        if let Some(block) = found {
            return Some(format!("spec.http[{number}].match[{block}]"));
        }
    }
    None
}

fn same_name(rule: &HttpRoute, route: &xds::Route) -> bool {
    rule.name.is_empty() || route.name.split('.').next() == rule.name.split('.').next()
}

fn same_match(block: &HttpMatchRequest, route: &xds::RouteMatch) -> bool {
    let path = match (&block.uri, &route.path) {
        (None | Some(StringMatch::Present), xds::PathMatch::Prefix(path)) => path == "/",
        (Some(StringMatch::Exact(wanted)), xds::PathMatch::Path(path))
        | (Some(StringMatch::Prefix(wanted)), xds::PathMatch::Prefix(path))
        | (Some(StringMatch::Regex(wanted)), xds::PathMatch::Regex(path)) => path == wanted,
        _ => false,
    };
    let conditions = block.headers.len()
        + block.without_headers.len()
        + [&block.scheme, &block.method, &block.authority].into_iter().flatten().count();
    let names = block.headers.keys().chain(block.without_headers.keys());
    path && conditions == route.headers.len()
        && block.query_params.len() == route.query_parameters.len()
        && names
            .into_iter()
            .all(|name| route.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name)))
}

fn same_destinations(rule: &HttpRoute, route: &xds::Route) -> bool {
    let action = match &route.action {
        xds::Action::Route(action) => action,
        xds::Action::Redirect(_) => return rule.redirect.is_some(),
        xds::Action::DirectResponse(_) => return rule.direct_response.is_some(),
        xds::Action::NonForwarding => return false,
    };
    let names: Vec<&str> = match &action.cluster {
        xds::ClusterSpecifier::Cluster(name) => vec![name],
        xds::ClusterSpecifier::Weighted(list) => list.iter().map(|one| &*one.name).collect(),
    };
    names.iter().all(|cluster| {
        let parts: Vec<&str> = cluster.split('|').collect();
        let [_, _, subset, host] = parts[..] else { return true };
        rule.route.iter().any(|one| {
            let wanted = &one.destination.host;
            let same_host = wanted == host
                || host.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('.'));
            same_host && one.destination.subset == subset
        })
    })
}
