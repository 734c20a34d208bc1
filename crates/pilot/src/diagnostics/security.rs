//! Policies: what is not supported and therefore closed, and what selects nothing.

use std::collections::BTreeMap;

use config::{
    AuthorizationPolicy, Diagnostic, PeerAuthentication,
    security::{AuthorizationAction, Rule},
};

use crate::{World, authorization::Attribute, world::Item};

pub(super) fn collect(world: &World, findings: &mut Vec<Diagnostic>) {
    for item in &world.authorization_policies {
        authorization(item, findings);
    }
    let mut scopes: BTreeMap<&str, &Item<PeerAuthentication>> = BTreeMap::new();
    for item in &world.peer_authentications {
        let selected =
            item.spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
        if selected && item.meta.namespace == world.root_namespace() {
            let message = "with a selector it holds for workloads of the mesh's own namespace \
                           only, not for the mesh; write it into the workloads' namespace";
            findings.push(item.warning("root-selector", "spec.selector", message));
        }
        if selected {
            continue;
        }
        let owner = scopes.entry(&item.meta.namespace).or_insert(item);
        if owner.meta != item.meta {
            let message = format!(
                "the older PeerAuthentication {} holds for the whole namespace: this one has no \
                 effect",
                owner.qualified_name()
            );
            findings.push(item.warning("duplicate-scope", "", message));
        }
    }
}

fn authorization(item: &Item<AuthorizationPolicy>, findings: &mut Vec<Diagnostic>) {
    let policy = &item.spec;
    if policy.action == AuthorizationAction::Custom {
        let message = "extension providers are not supported yet: requests that match are denied";
        findings.push(item.warning("unsupported", "spec.action", message));
    }
    if policy.target_ref.is_some() || !policy.target_refs.is_empty() {
        let message = "no proxy here is selected by targetRefs: the policy has no effect; use a \
                       selector";
        findings.push(item.warning("unsupported", "spec.targetRefs", message));
    }
    let narrow = policy.action == AuthorizationAction::Allow;
    let effect = if narrow {
        "the rule allows nothing"
    } else {
        "the condition is left out, so that the rule matches more"
    };
    for (index, rule) in policy.rules.iter().enumerate() {
        for field in unsupported_fields(rule) {
            let message = format!("tokens and filters' metadata are not supported yet: {effect}");
            let field = format!("spec.rules[{index}].{field}");
            findings.push(item.warning("unsupported", field, message));
        }
        if narrow {
            never_anonymous(item, index, rule, findings);
        }
    }
}

fn unsupported_fields(rule: &Rule) -> Vec<String> {
    let mut fields = Vec::new();
    for (number, from) in rule.from.iter().enumerate() {
        let source = &from.source;
        if !source.request_principals.is_empty() {
            fields.push(format!("from[{number}].source.requestPrincipals"));
        }
        if !source.not_request_principals.is_empty() {
            fields.push(format!("from[{number}].source.notRequestPrincipals"));
        }
    }
    for (number, condition) in rule.when.iter().enumerate() {
        if Attribute::parse(&condition.key) == Attribute::Unsupported {
            fields.push(format!("when[{number}].key"));
        }
    }
    fields
}

/// `notPrincipals: ["*"]` and the like ask for callers without an identity, whom an ALLOW rule on
/// identities never lets in here.
fn never_anonymous(
    item: &Item<AuthorizationPolicy>,
    index: usize,
    rule: &Rule,
    findings: &mut Vec<Diagnostic>,
) {
    for (number, from) in rule.from.iter().enumerate() {
        let source = &from.source;
        let lists =
            [("notPrincipals", &source.not_principals), ("notNamespaces", &source.not_namespaces)];
        for (name, values) in lists {
            if values.iter().any(|value| value == "*") {
                let field = format!("spec.rules[{index}].from[{number}].source.{name}");
                let message = "a caller without an identity is not let in by a rule on \
                               identities: the rule allows nothing";
                findings.push(item.warning("never-matches", field, message));
            }
        }
    }
}
