//! DestinationRules: which one holds for a client and a service, and the traffic policy that
//! results for a port and subset.
//!
//! Lookup order: the client's namespace, the service's namespace, the root namespace; the first
//! with any match decides. Inside one namespace, rules for the same host are merged: subsets are
//! joined, the oldest rule's traffic policy stands.

use std::{collections::BTreeMap, sync::Arc};

use config::{
    DestinationRule,
    host::{self, CLUSTER_DOMAIN},
    networking::{
        ClientTlsSettings, ConnectionPoolSettings, LoadBalancerSettings, OutlierDetection,
        RetryBudget, Subset, TrafficPolicy,
    },
    visibility::Visibility,
};

use crate::{
    Proxy, World,
    world::{Item, Service},
};

/// All DestinationRules by namespace and host.
#[derive(Debug)]
pub(crate) struct DestinationRules {
    root_namespace: String,
    namespaces: BTreeMap<String, NamespaceRules>,
}

/// The rules of one namespace.
#[derive(Debug, Default)]
struct NamespaceRules {
    exact: BTreeMap<String, Vec<MergedRule>>,
    wildcards: Vec<MergedRule>,
}

/// The rules of one namespace for one host (with the same visibility and selector).
#[derive(Debug)]
pub(crate) struct MergedRule {
    host: String,
    visibility: Visibility,
    selector: Option<BTreeMap<String, String>>,
    /// The oldest: its traffic policy and name stand.
    pub(crate) item: Arc<Item<DestinationRule>>,
    pub(crate) subsets: Vec<Subset>,
}

impl DestinationRules {
    pub(crate) fn new(world: &World) -> Self {
        let mut namespaces: BTreeMap<String, NamespaceRules> = BTreeMap::new();
        // Rules with a selector come before all others, each group oldest first.
        let (selected, general): (Vec<_>, Vec<_>) =
            world.destination_rules.iter().partition(|item| selector(item).is_some());
        for item in selected.into_iter().chain(general) {
            let namespace = &item.meta.namespace;
            let host = host::resolve_short_name(&item.spec.host, namespace, CLUSTER_DOMAIN);
            let rules = namespaces.entry(namespace.clone()).or_default();
            let rules = if host::is_wildcard(&host) {
                &mut rules.wildcards
            } else {
                rules.exact.entry(host.clone()).or_default()
            };
            add(rules, host, item, &world.mesh.default_destination_rule_export_to);
        }
        Self { root_namespace: world.root_namespace().to_owned(), namespaces }
    }

    /// The rule that holds when `proxy` calls `service`.
    pub(crate) fn find(&self, proxy: &Proxy, service: &Service) -> Option<&MergedRule> {
        let own = proxy.namespace.as_str();
        // In the root namespace only rules that are private to it count as the client's own.
        let private_only = own == self.root_namespace;
        self.best(own, proxy, service, private_only)
            .or_else(|| self.best(&service.namespace, proxy, service, false))
            .or_else(|| self.best(&self.root_namespace, proxy, service, false))
    }

    fn best(
        &self,
        namespace: &str,
        proxy: &Proxy,
        service: &Service,
        private_only: bool,
    ) -> Option<&MergedRule> {
        let rules = self.namespaces.get(namespace)?;
        let holds = |rule: &&MergedRule| {
            rule.visibility.includes(&proxy.namespace)
                && (!private_only || rule.visibility != Visibility::Public)
                && rule.selects(proxy)
        };
        let exact = rules.exact.get(&service.hostname);
        if let Some(rule) = exact.and_then(|rules| rules.iter().find(holds)) {
            return Some(rule);
        }
        let wildcards = || rules.wildcards.iter().filter(holds);
        let pattern =
            host::most_specific(&service.hostname, wildcards().map(|rule| rule.host.as_str()))?;
        wildcards().find(|rule| rule.host == pattern)
    }
}

fn selector(item: &Item<DestinationRule>) -> Option<&BTreeMap<String, String>> {
    item.spec.workload_selector.as_ref().map(|selector| &selector.match_labels)
}

fn add(
    rules: &mut Vec<MergedRule>,
    host: String,
    item: &Arc<Item<DestinationRule>>,
    default_export: &[String],
) {
    let namespace = &item.meta.namespace;
    let selector = selector(item).cloned();
    // A rule with a selector is its own namespace's business.
    let visibility = match &selector {
        Some(_) => Visibility::new(&[".".to_owned()], &[], namespace),
        None => Visibility::new(&item.spec.export_to, default_export, namespace),
    };
    let same = rules.iter_mut().find(|rule| {
        rule.host == host && rule.visibility == visibility && rule.selector == selector
    });
    let rule = match same {
        Some(rule) => rule,
        None => {
            let item = Arc::clone(item);
            rules.push(MergedRule { host, visibility, selector, item, subsets: Vec::new() });
            let Some(rule) = rules.last_mut() else { return };
            rule
        }
    };
    for subset in &item.spec.subsets {
        if !rule.subsets.iter().any(|known| known.name == subset.name) {
            rule.subsets.push(subset.clone());
        }
    }
}

impl MergedRule {
    fn selects(&self, proxy: &Proxy) -> bool {
        self.selector.as_ref().is_none_or(|labels| config::label::selects(labels, &proxy.labels))
    }

    /// The subset of this name.
    pub(crate) fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| subset.name == name)
    }

    /// The policy for a port, and for a subset where one is named.
    pub(crate) fn policy(&self, port: u16, subset: Option<&Subset>) -> Policy<'_> {
        let base = self.item.spec.traffic_policy.as_ref();
        let base = base.map(|policy| Policy::of(policy, port)).unwrap_or_default();
        match subset.and_then(|subset| self.subset(&subset.name)?.traffic_policy.as_ref()) {
            Some(policy) => base.overlaid_by(policy, port),
            None => base,
        }
    }
}

/// The blocks of a traffic policy that hold for one cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy<'a> {
    pub(crate) load_balancer: Option<&'a LoadBalancerSettings>,
    pub(crate) connection_pool: Option<&'a ConnectionPoolSettings>,
    pub(crate) outlier_detection: Option<&'a OutlierDetection>,
    pub(crate) tls: Option<&'a ClientTlsSettings>,
    pub(crate) retry_budget: Option<&'a RetryBudget>,
}

impl<'a> Policy<'a> {
    /// A policy's blocks; settings for the port replace those that they can have.
    fn of(policy: &'a TrafficPolicy, port: u16) -> Self {
        Self::of_port(policy, port).unwrap_or(Self {
            retry_budget: policy.retry_budget.as_ref(),
            load_balancer: policy.load_balancer.as_ref(),
            connection_pool: policy.connection_pool.as_ref(),
            outlier_detection: policy.outlier_detection.as_ref(),
            tls: policy.tls.as_ref(),
        })
    }

    fn of_port(policy: &'a TrafficPolicy, port: u16) -> Option<Self> {
        let settings = policy
            .port_level_settings
            .iter()
            .find(|settings| settings.port.is_some_and(|selector| selector.number == port))?;
        Some(Self {
            load_balancer: settings.load_balancer.as_ref(),
            connection_pool: settings.connection_pool.as_ref(),
            outlier_detection: settings.outlier_detection.as_ref(),
            tls: settings.tls.as_ref(),
            retry_budget: policy.retry_budget.as_ref(),
        })
    }

    /// A subset's policy over this one, block by block.
    fn overlaid_by(self, subset: &'a TrafficPolicy, port: u16) -> Self {
        let retry_budget = subset.retry_budget.as_ref().or(self.retry_budget);
        let of_port = Self::of_port(subset, port).map(|policy| Self { retry_budget, ..policy });
        of_port.unwrap_or(Self {
            retry_budget,
            load_balancer: subset.load_balancer.as_ref().or(self.load_balancer),
            connection_pool: subset.connection_pool.as_ref().or(self.connection_pool),
            outlier_detection: subset.outlier_detection.as_ref().or(self.outlier_detection),
            tls: subset.tls.as_ref().or(self.tls),
        })
    }
}
