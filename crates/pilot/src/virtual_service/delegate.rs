//! Delegation: a rule of a root VirtualService goes on with the rules of another one that has no
//! hosts of its own. Merged once, before any route is made, as Istio does: conditions of both must
//! hold, and what both set is the delegate's.

use std::collections::BTreeMap;

use config::{
    VirtualService,
    host::{self, CLUSTER_DOMAIN},
    networking::{Delegate, Destination, HttpMatchRequest, HttpRoute},
    value::StringMatch,
    visibility::Visibility,
};

use super::resolve_gateway;
use crate::{World, world::Item};

/// Why a rule of a root leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undelegated {
    /// There is no such VirtualService.
    Missing(String),
    /// It has hosts, so that it is a root itself.
    Root(String),
    /// It is not exported to the root's namespace.
    Hidden(String),
    /// Its rule of this index can never be reached: no condition fits the root's.
    Conflict(String, usize),
}

/// All VirtualServices by namespace and name, for roots to look delegates up.
pub(crate) struct Delegates<'a> {
    by_name: BTreeMap<(&'a str, &'a str), &'a Item<VirtualService>>,
    default_export: &'a [String],
}

impl<'a> Delegates<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        let items = world.virtual_services.iter().map(AsRef::as_ref);
        Self {
            by_name: items
                .map(|item| ((item.meta.namespace.as_str(), item.meta.name.as_str()), item))
                .collect(),
            default_export: &world.mesh.default_virtual_service_export_to,
        }
    }

    /// The rules of a root with those of its delegates in their places; none when it delegates
    /// nothing.
    pub(crate) fn merged(&self, root: &Item<VirtualService>) -> Option<Vec<HttpRoute>> {
        let rules = &root.spec.http;
        if rules.iter().all(|rule| rule.delegate.is_none()) {
            return None;
        }
        let mut merged = Vec::new();
        for rule in rules {
            match &rule.delegate {
                None => merged.push(rule.clone()),
                Some(delegate) => {
                    let Ok(leaf) = self.find(root, delegate) else { continue };
                    let rules = resolved(leaf);
                    merged.extend(rules.iter().filter_map(|leaf| merge(root, rule, leaf)));
                }
            }
        }
        Some(merged)
    }

    /// What is wrong with one rule's delegation.
    pub(crate) fn problems(
        &self,
        root: &Item<VirtualService>,
        rule: &HttpRoute,
    ) -> Vec<Undelegated> {
        let Some(delegate) = &rule.delegate else { return Vec::new() };
        match self.find(root, delegate) {
            Err(problem) => vec![problem],
            Ok(leaf) => {
                let rules = leaf.spec.http.iter().enumerate();
                let lost = rules.filter(|(_, leaf)| merge(root, rule, leaf).is_none());
                lost.map(|(index, _)| Undelegated::Conflict(leaf.qualified_name(), index)).collect()
            }
        }
    }

    fn find(
        &self,
        root: &Item<VirtualService>,
        delegate: &Delegate,
    ) -> Result<&'a Item<VirtualService>, Undelegated> {
        let own = root.meta.namespace.as_str();
        let namespace = match delegate.namespace.as_str() {
            "" => own,
            namespace => namespace,
        };
        let name = || format!("{namespace}/{}", delegate.name);
        let found = self.by_name.get(&(namespace, delegate.name.as_str()));
        let leaf = *found.ok_or_else(|| Undelegated::Missing(name()))?;
        if !leaf.spec.is_delegate() {
            return Err(Undelegated::Root(name()));
        }
        let visibility = Visibility::new(&leaf.spec.export_to, self.default_export, namespace);
        if visibility.includes(own) { Ok(leaf) } else { Err(Undelegated::Hidden(name())) }
    }
}

/// A delegate's rules, with short names as its own namespace reads them.
fn resolved(leaf: &Item<VirtualService>) -> Vec<HttpRoute> {
    let namespace = &leaf.meta.namespace;
    let resolve = |destination: &mut Destination| {
        destination.host = host::resolve_short_name(&destination.host, namespace, CLUSTER_DOMAIN);
    };
    let mut rules = leaf.spec.http.clone();
    for rule in &mut rules {
        rule.route.iter_mut().for_each(|route| resolve(&mut route.destination));
        rule.mirrors.iter_mut().for_each(|mirror| resolve(&mut mirror.destination));
        rule.mirror.iter_mut().for_each(resolve);
    }
    rules
}

/// The delegate's rule under the conditions of the root's; none when they cannot hold together.
/// One level only: a delegate's rule that delegates further is left out.
fn merge(root: &Item<VirtualService>, above: &HttpRoute, leaf: &HttpRoute) -> Option<HttpRoute> {
    if leaf.delegate.is_some() {
        return None;
    }
    let mut merged = leaf.clone();
    merged.matches = matches(root, &above.matches, &leaf.matches)?;
    merged.name = joined(&above.name, &leaf.name);
    merged.rewrite = merged.rewrite.or_else(|| above.rewrite.clone());
    merged.direct_response = merged.direct_response.or_else(|| above.direct_response.clone());
    merged.timeout = merged.timeout.or(above.timeout);
    merged.retries = merged.retries.or_else(|| above.retries.clone());
    merged.fault = merged.fault.or_else(|| above.fault.clone());
    merged.cors_policy = merged.cors_policy.or_else(|| above.cors_policy.clone());
    merged.headers = merged.headers.or_else(|| above.headers.clone());
    if merged.mirror.is_none() && merged.mirrors.is_empty() {
        merged.mirror.clone_from(&above.mirror);
        merged.mirrors.clone_from(&above.mirrors);
        merged.mirror_percent = above.mirror_percent;
        merged.mirror_percentage = above.mirror_percentage;
    }
    Some(merged)
}

fn joined(root: &str, leaf: &str) -> String {
    match (root, leaf) {
        (name, "") | ("", name) => name.to_owned(),
        (root, leaf) => format!("{root}-{leaf}"),
    }
}

/// Every block of the root with every one of the delegate; none when a block of the delegate fits
/// none of the root's.
fn matches(
    root: &Item<VirtualService>,
    above: &[HttpMatchRequest],
    leaf: &[HttpMatchRequest],
) -> Option<Vec<HttpMatchRequest>> {
    if above.is_empty() {
        return Some(leaf.to_vec());
    }
    if leaf.is_empty() {
        return Some(above.to_vec());
    }
    let mut merged = Vec::new();
    for block in leaf {
        let before = merged.len();
        let fitting = above.iter().filter(|above| !is_conflict(root, above, block));
        merged.extend(fitting.map(|above| both(above, block)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn both(above: &HttpMatchRequest, leaf: &HttpMatchRequest) -> HttpMatchRequest {
    let mut merged = leaf.clone();
    merged.name = joined(&above.name, &leaf.name);
    merged.uri = merged.uri.or_else(|| above.uri.clone());
    merged.scheme = merged.scheme.or_else(|| above.scheme.clone());
    merged.method = merged.method.or_else(|| above.method.clone());
    merged.authority = merged.authority.or_else(|| above.authority.clone());
    merged.port = merged.port.or(above.port);
    add_missing(&mut merged.headers, &above.headers);
    add_missing(&mut merged.without_headers, &above.without_headers);
    add_missing(&mut merged.query_params, &above.query_params);
    add_missing(&mut merged.source_labels, &above.source_labels);
    if merged.gateways.is_empty() {
        merged.gateways.clone_from(&above.gateways);
    }
    if merged.source_namespace.is_empty() {
        merged.source_namespace.clone_from(&above.source_namespace);
    }
    if merged.stat_prefix.is_empty() {
        merged.stat_prefix.clone_from(&above.stat_prefix);
    }
    merged
}

fn add_missing<T: Clone>(merged: &mut BTreeMap<String, T>, above: &BTreeMap<String, T>) {
    for (key, value) in above {
        merged.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

/// Whether a delegate's block asks for what the root's excludes.
fn is_conflict(
    root: &Item<VirtualService>,
    above: &HttpMatchRequest,
    leaf: &HttpMatchRequest,
) -> bool {
    let fields = [
        (&above.uri, &leaf.uri),
        (&above.scheme, &leaf.scheme),
        (&above.method, &leaf.method),
        (&above.authority, &leaf.authority),
    ];
    let maps = [
        (&above.headers, &leaf.headers),
        (&above.without_headers, &leaf.without_headers),
        (&above.query_params, &leaf.query_params),
    ];
    let namespace = &root.meta.namespace;
    let gateways: Vec<String> =
        above.gateways.iter().map(|name| resolve_gateway(name, namespace)).collect();
    let mut own = leaf.gateways.iter().map(|name| resolve_gateway(name, namespace));
    fields.into_iter().any(|(above, leaf)| is_wider(above.as_ref(), leaf.as_ref()))
        || maps.into_iter().any(|(above, leaf)| {
            leaf.iter().any(|(key, value)| is_wider(above.get(key), Some(value)))
        })
        || above.ignore_uri_case != leaf.ignore_uri_case
        || matches!((above.port, leaf.port), (Some(a), Some(b)) if a != b)
        || !(leaf.source_namespace.is_empty() || leaf.source_namespace == above.source_namespace)
        || leaf
            .source_labels
            .iter()
            .any(|(key, value)| above.source_labels.get(key).is_some_and(|other| other != value))
        || !(gateways.is_empty() || own.all(|name| gateways.contains(&name)))
}

/// Whether a delegate's string match takes what the root's does not. Regular expressions cannot be
/// compared, so two conditions with one among them never go together.
fn is_wider(above: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    use StringMatch::{Exact, Prefix, Present, Regex};
    let (Some(above), Some(leaf)) = (above, leaf) else { return false };
    match (above, leaf) {
        (Regex(_), _) | (_, Regex(_)) => true,
        (Present, _) => false,
        (_, Present) | (Exact(_), Prefix(_)) => true,
        (Exact(above), Exact(leaf)) => above != leaf,
        (Prefix(above), Exact(leaf) | Prefix(leaf)) => !leaf.starts_with(above.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delegate_may_only_narrow() {
        use StringMatch::{Exact, Prefix, Present, Regex};
        let text = |text: &str| text.to_owned();
        for (above, leaf, wider) in [
            (Prefix(text("/a")), Prefix(text("/a/b")), false),
            (Prefix(text("/a")), Exact(text("/ab")), false),
            (Prefix(text("/a")), Prefix(text("/")), true),
            (Prefix(text("/a")), Exact(text("/b")), true),
            (Exact(text("/a")), Exact(text("/a")), false),
            (Exact(text("/a")), Exact(text("/b")), true),
            (Exact(text("/a")), Prefix(text("/a")), true),
            (Regex(text("a")), Exact(text("a")), true),
            (Prefix(text("/a")), Regex(text("/a")), true),
            (Present, Exact(text("a")), false),
            (Exact(text("a")), Present, true),
        ] {
            assert_eq!(is_wider(Some(&above), Some(&leaf)), wider, "{above:?} {leaf:?}");
        }
        assert!(!is_wider(None, Some(&Present)) && !is_wider(Some(&Regex(text("a"))), None));
        assert_eq!(joined("a", "b"), "a-b");
        assert_eq!((joined("a", ""), joined("", "b")), (text("a"), text("b")));
    }
}
