//! AuthorizationPolicies as RBAC filters, in Istio's order: (CUSTOM,) AUDIT, DENY, ALLOW.
//!
//! What cannot be expressed never opens anything: in an ALLOW policy it matches nothing, in a DENY
//! policy it is left out so that the rule matches more. CUSTOM policies deny what they match, since
//! there is no provider to ask.

mod condition;
mod matcher;
mod rule;

use std::{collections::BTreeMap, sync::Arc};

use config::{AuthorizationPolicy, security::AuthorizationAction};
use xds::{Policy, Principal, Rbac, RbacAction, RbacFilter};

pub(crate) use condition::Attribute;

use crate::{Proxy, World, world::Item};

/// The annotation of a policy that is only counted.
const DRY_RUN: &str = "istio.io/dry-run";

/// All AuthorizationPolicies by namespace, oldest first.
#[derive(Debug)]
pub(crate) struct AuthorizationPolicies {
    namespaces: BTreeMap<String, Vec<Arc<Item<AuthorizationPolicy>>>>,
}

/// What is enforced at one workload.
#[derive(Debug, Default)]
pub(crate) struct WorkloadAuthorization {
    http: Vec<RbacFilter>,
    tcp: Vec<RbacFilter>,
}

impl WorkloadAuthorization {
    /// The filters for HTTP, in order.
    pub(crate) fn http_filters(&self) -> impl Iterator<Item = RbacFilter> {
        self.http.iter().cloned()
    }

    /// The filters for connections, in order.
    pub(crate) fn tcp_filters(&self) -> impl Iterator<Item = RbacFilter> {
        self.tcp.iter().cloned()
    }
}

impl AuthorizationPolicies {
    pub(crate) fn new(world: &World) -> Self {
        let mut namespaces: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for item in &world.authorization_policies {
            namespaces.entry(item.meta.namespace.clone()).or_default().push(Arc::clone(item));
        }
        Self { namespaces }
    }

    /// What is enforced at a proxy's workload: the policies of the root namespace and of its own.
    pub(crate) fn for_proxy(&self, world: &World, proxy: &Proxy) -> WorkloadAuthorization {
        let root = world.root_namespace();
        let own = Some(proxy.namespace.as_str()).filter(|own| *own != root);
        let policies: Vec<&Item<AuthorizationPolicy>> = std::iter::once(root)
            .chain(own)
            .filter_map(|namespace| self.namespaces.get(namespace))
            .flatten()
            .map(AsRef::as_ref)
            .filter(|item| selects(&item.spec, proxy))
            .collect();
        let trust_domains = world.trust_domains();
        let filters = |transport| {
            GROUPS
                .iter()
                .filter_map(|group| group.filter(&policies, transport, &trust_domains))
                .collect()
        };
        WorkloadAuthorization { http: filters(Transport::Http), tcp: filters(Transport::Tcp) }
    }
}

/// A policy for Gateway API objects is none of a sidecar's business.
fn selects(policy: &AuthorizationPolicy, proxy: &Proxy) -> bool {
    policy.target_ref.is_none()
        && policy.target_refs.is_empty()
        && policy.selector.as_ref().is_none_or(|selector| selector.matches(&proxy.labels))
}

/// Whether a filter sees requests or only connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Http,
    Tcp,
}

/// What becomes of one action's policies.
struct Group {
    action: AuthorizationAction,
    rbac: RbacAction,
    dry_run_prefix: &'static str,
}

const GROUPS: [Group; 4] = [
    Group {
        action: AuthorizationAction::Custom,
        rbac: RbacAction::Deny,
        dry_run_prefix: "istio_dry_run_deny_",
    },
    Group {
        action: AuthorizationAction::Audit,
        rbac: RbacAction::Log,
        dry_run_prefix: "istio_dry_run_audit_",
    },
    Group {
        action: AuthorizationAction::Deny,
        rbac: RbacAction::Deny,
        dry_run_prefix: "istio_dry_run_deny_",
    },
    Group {
        action: AuthorizationAction::Allow,
        rbac: RbacAction::Allow,
        dry_run_prefix: "istio_dry_run_allow_",
    },
];

impl Group {
    fn filter(
        &self,
        policies: &[&Item<AuthorizationPolicy>],
        transport: Transport,
        trust_domains: &[&str],
    ) -> Option<RbacFilter> {
        let mut enforced = None;
        let mut shadow = None;
        for item in policies.iter().filter(|item| item.spec.action == self.action) {
            let dry_run = item.meta.annotations.get(DRY_RUN).is_some_and(|text| text == "true");
            let rbac = if dry_run { &mut shadow } else { &mut enforced };
            let rbac =
                rbac.get_or_insert_with(|| Rbac { action: self.rbac, policies: BTreeMap::new() });
            let compiler = rule::Compiler {
                namespace: &item.meta.namespace,
                transport,
                narrow: self.action == AuthorizationAction::Allow,
                trust_domains,
            };
            rbac.policies.extend(compile(item, &compiler));
        }
        if enforced.is_none() && shadow.is_none() {
            return None;
        }
        Some(RbacFilter {
            rules: enforced,
            shadow_rules_stat_prefix: match shadow {
                Some(_) => self.dry_run_prefix.to_owned(),
                None => String::new(),
            },
            shadow_rules: shadow,
            stat_prefix: match transport {
                Transport::Http => String::new(),
                Transport::Tcp => "tcp.".to_owned(),
            },
        })
    }
}

/// A policy's rules under their names. A policy without rules matches nothing.
fn compile(
    item: &Item<AuthorizationPolicy>,
    compiler: &rule::Compiler<'_>,
) -> Vec<(String, Policy)> {
    let (namespace, name) = (&item.meta.namespace, &item.meta.name);
    let rule_name = |index: usize| format!("ns[{namespace}]-policy[{name}]-rule[{index}]");
    if item.spec.rules.is_empty() {
        let never = Policy {
            permissions: vec![xds::Permission::Not(Box::new(xds::Permission::Any))],
            principals: vec![Principal::Not(Box::new(Principal::Any))],
        };
        return vec![(rule_name(0), never)];
    }
    let rules = item.spec.rules.iter().enumerate();
    rules
        .filter_map(|(index, rule)| Some((rule_name(index), compiler.policy(rule).ok()?)))
        .collect()
}
