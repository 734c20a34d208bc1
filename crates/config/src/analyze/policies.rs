//! PeerAuthentications and AuthorizationPolicies: selectors that select nothing, callers that
//! cannot exist. A policy that concerns nobody is worse than none: it looks like protection.

use std::{collections::BTreeMap, sync::Arc};

use super::{Findings, did_you_mean, world::World};
use crate::{
    AuthorizationPolicy, Object, PeerAuthentication, Spec,
    label::LabelSelector,
    security::Source,
    yaml::{Path, excerpt},
};

pub(super) fn peer(
    object: &Object,
    pa: &PeerAuthentication,
    world: &World<'_>,
    findings: &mut Findings,
) {
    selector(object, pa.selector.as_ref(), false, world, findings);
}

pub(super) fn authorization(
    object: &Object,
    ap: &AuthorizationPolicy,
    world: &World<'_>,
    findings: &mut Findings,
) {
    selector(object, ap.selector.as_ref(), true, world, findings);
    let spec = Path::Root.field("spec");
    let rules = spec.field("rules");
    for (index, rule) in ap.rules.iter().enumerate() {
        let rule_path = rules.index(index);
        let from = rule_path.field("from");
        for (index, from_entry) in rule.from.iter().enumerate() {
            let entry = from.index(index);
            source(object, &from_entry.source, &entry.field("source"), world, findings);
        }
    }
}

/// `everywhere`: in the root namespace the selector is for workloads of all namespaces.
fn selector(
    object: &Object,
    selector: Option<&LabelSelector>,
    everywhere: bool,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let Some(selector) = selector.filter(|selector| !selector.match_labels.is_empty()) else {
        return;
    };
    let own = object.meta.namespace.as_str();
    let in_root = own == world.mesh.root_namespace;
    let namespace = if everywhere && in_root { None } else { Some(own) };
    if world.selected(namespace, &selector.match_labels).next().is_none() {
        let spec = Path::Root.field("spec");
        let path = spec.field("selector");
        let message = "the policy protects nothing: no Deployment or Pod has these labels";
        findings.warning((object, &path), "selects-nothing", message.to_owned(), None);
    }
}

fn source(
    object: &Object,
    source: &Source,
    path: &Path<'_>,
    world: &World<'_>,
    findings: &mut Findings,
) {
    for (name, list) in
        [("namespaces", &source.namespaces), ("notNamespaces", &source.not_namespaces)]
    {
        let path = path.field(name);
        for (index, namespace) in list.iter().enumerate() {
            if !namespace.contains('*') && !world.has_namespace(namespace) {
                let message = format!("there is no Namespace {}", excerpt(namespace));
                let help = did_you_mean(namespace, world.namespaces.iter().copied());
                let code = "namespace-not-found";
                findings.warning((object, &path.index(index)), code, message, help);
            }
        }
    }
    for (name, list) in
        [("principals", &source.principals), ("notPrincipals", &source.not_principals)]
    {
        let path = path.field(name);
        for (index, principal) in list.iter().enumerate() {
            self::principal(object, principal, &path.index(index), world, findings);
        }
    }
}

/// A principal of a trust domain or an account that is not there.
fn principal(
    object: &Object,
    text: &str,
    path: &Path<'_>,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let parts: Vec<&str> = text.split('/').collect();
    let [domain, "ns", namespace, "sa", account] = parts.as_slice() else { return };
    if text.contains('*') {
        return;
    }
    let mesh = &world.mesh;
    let known = *domain == mesh.trust_domain
        || *domain == "cluster.local"
        || mesh.trust_domain_aliases.iter().any(|alias| alias == domain);
    if !known {
        let message = format!("the trust domain \"{}\" is not this mesh's", excerpt(domain));
        let help = Some(format!("write \"{}\"", mesh.trust_domain));
        findings.warning((object, path), "trust-domain-unknown", message, help);
    }
    let declared = world.accounts.contains(&(*namespace, *account)) || *account == "default";
    if !declared && !world.accounts.is_empty() {
        let message = format!(
            "there is no ServiceAccount {}/{}: nobody has this identity",
            excerpt(namespace),
            excerpt(account)
        );
        let here = world.accounts.iter().filter(|(other, _)| other == namespace);
        let help = did_you_mean(account, here.map(|(_, name)| *name));
        findings.warning((object, path), "service-account-not-found", message, help);
    }
}

/// Of several PeerAuthentications for one scope only the oldest counts.
pub(super) fn several_for_one_scope(objects: &[&Arc<Object>], findings: &mut Findings) {
    let mut sorted: Vec<&Arc<Object>> = objects.to_vec();
    sorted.sort_by(|a, b| a.by_age(b));
    let mut first: BTreeMap<&str, &Object> = BTreeMap::new();
    for object in sorted {
        let Spec::PeerAuthentication(pa) = &object.spec else { continue };
        if pa.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty()) {
            continue;
        }
        match first.get(object.meta.namespace.as_str()) {
            Some(other) => {
                let message = format!(
                    "{} ({}) is for the whole namespace too: only that one counts",
                    other.key(),
                    other.origin
                );
                findings.warning((object, &Path::Root), "policy-conflict", message, None);
            }
            None => {
                first.insert(&object.meta.namespace, object);
            }
        }
    }
}
