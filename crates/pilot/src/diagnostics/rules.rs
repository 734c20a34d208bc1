//! VirtualServices, DestinationRules and Gateways: what is not supported, and who gave way.

use std::collections::BTreeMap;

use config::{
    Diagnostic, VirtualService,
    host::{self, CLUSTER_DOMAIN},
    networking::{HttpRoute, LoadBalancerSettings, TrafficPolicy},
    visibility::Visibility,
};

use crate::{
    World,
    route::unsupported_headers,
    virtual_service::{Delegates, Undelegated},
    world::Item,
};

/// Delegates, claims, and hosts that an older rule owns.
pub(super) fn virtual_services(world: &World, findings: &mut Vec<Diagnostic>) {
    let mut owners: BTreeMap<(String, Viewers), &Item<VirtualService>> = BTreeMap::new();
    let delegates = Delegates::new(world);
    for item in &world.virtual_services {
        for (index, rule) in item.spec.http.iter().enumerate() {
            http_rule(item, index, rule, findings);
            for problem in delegates.problems(item, rule) {
                let field = format!("spec.http[{index}].delegate");
                findings.push(item.warning("lost-delegate", field, undelegated(&problem)));
            }
        }
        if item.spec.is_delegate() {
            continue;
        }
        if !item.spec.applies_to_mesh() {
            continue;
        }
        let default = &world.mesh.default_virtual_service_export_to;
        let visibility = Visibility::new(&item.spec.export_to, default, &item.meta.namespace);
        for (index, name) in item.spec.hosts.iter().enumerate() {
            let name = host::resolve_short_name(name, &item.meta.namespace, CLUSTER_DOMAIN);
            let key = (name, viewers(&visibility));
            if let Some(owner) = owners.get(&key) {
                let message = format!(
                    "sidecars have the older VirtualService {} for host {}: this one has no \
                     effect there; merge the two",
                    owner.qualified_name(),
                    key.0
                );
                let field = format!("spec.hosts[{index}]");
                findings.push(item.warning("duplicate-host", field, message));
            } else {
                owners.insert(key, item);
            }
        }
    }
}

fn undelegated(problem: &Undelegated) -> String {
    match problem {
        Undelegated::Missing(name) => {
            format!("there is no VirtualService {name}: the rule is passed over")
        }
        Undelegated::Root(name) => format!(
            "the VirtualService {name} has hosts of its own, which a delegate has not: the rule \
             is passed over"
        ),
        Undelegated::Hidden(name) => format!(
            "the VirtualService {name} is not exported to this namespace: the rule is passed over"
        ),
        Undelegated::Conflict(name, index) => format!(
            "rule {index} of the VirtualService {name} asks for what this rule's match excludes \
             (or has a regular expression where both match): it is left out"
        ),
    }
}

/// Who sees a rule, as a key.
type Viewers = Vec<String>;

fn viewers(visibility: &Visibility) -> Viewers {
    match visibility {
        Visibility::Public => vec!["*".to_owned()],
        Visibility::Namespaces(names) => names.iter().cloned().collect(),
        Visibility::None => Vec::new(),
    }
}

fn http_rule(
    item: &Item<VirtualService>,
    index: usize,
    rule: &HttpRoute,
    findings: &mut Vec<Diagnostic>,
) {
    let field = |name: &str| format!("spec.http[{index}].{name}");
    let mut unsupported = |name: &str, message: &str| {
        findings.push(item.warning("unsupported", field(name), message));
    };
    for (number, block) in rule.matches.iter().enumerate() {
        if let Some(name) = unsupported_headers(block).next() {
            let message = format!(
                "{name} asks for a claim of a token, which is not supported yet: the match is \
                 passed over"
            );
            unsupported(&format!("match[{number}].headers"), &message);
        }
        if !block.stat_prefix.is_empty() {
            let message = "a route's own statistics are not supported: the field has no effect";
            unsupported(&format!("match[{number}].statPrefix"), message);
        }
    }
    let retries = rule.retries.as_ref();
    if retries.is_some_and(|retries| retries.retry_remote_localities == Some(true)) {
        let message = "retries in other localities are not supported yet: the field has no effect";
        unsupported("retries.retryRemoteLocalities", message);
    }
}

/// Blocks that have no effect yet, and subsets that are named twice.
pub(super) fn destination_rules(world: &World, findings: &mut Vec<Diagnostic>) {
    let mut subsets: BTreeMap<(String, String, String), String> = BTreeMap::new();
    let mut policies: BTreeMap<(String, String, Viewers), String> = BTreeMap::new();
    for item in &world.destination_rules {
        let namespace = &item.meta.namespace;
        let selected = item.spec.workload_selector.is_some();
        let mut unsupported = |field: String, message: String| {
            findings.push(item.warning("unsupported", field, message));
        };
        if let Some(policy) = &item.spec.traffic_policy {
            traffic_policy("spec.trafficPolicy", policy, selected, &mut unsupported);
        }
        for (index, subset) in item.spec.subsets.iter().enumerate() {
            if let Some(policy) = &subset.traffic_policy {
                let field = format!("spec.subsets[{index}].trafficPolicy");
                traffic_policy(&field, policy, selected, &mut unsupported);
            }
        }
        let host = host::resolve_short_name(&item.spec.host, namespace, CLUSTER_DOMAIN);
        if item.spec.traffic_policy.is_some() && item.spec.workload_selector.is_none() {
            let default = &world.mesh.default_destination_rule_export_to;
            let visibility = Visibility::new(&item.spec.export_to, default, namespace);
            let key = (namespace.clone(), host.clone(), viewers(&visibility));
            let owner = policies.entry(key).or_insert_with(|| item.qualified_name());
            if *owner != item.qualified_name() {
                let message = format!(
                    "the older DestinationRule {owner} has the policy for {host}: this one has \
                     no effect; merge the two"
                );
                findings.push(item.warning("duplicate-policy", "spec.trafficPolicy", message));
            }
        }
        for (index, subset) in item.spec.subsets.iter().enumerate() {
            let key = (namespace.clone(), host.clone(), subset.name.clone());
            let owner = subsets.entry(key).or_insert_with(|| item.qualified_name());
            if *owner != item.qualified_name() {
                let message = format!(
                    "subset {} of {host} is defined by the older DestinationRule {owner}: this \
                     one has no effect",
                    subset.name
                );
                let field = format!("spec.subsets[{index}].name");
                findings.push(item.warning("duplicate-subset", field, message));
            }
        }
    }
}

fn traffic_policy(
    field: &str,
    policy: &TrafficPolicy,
    selected: bool,
    unsupported: &mut impl FnMut(String, String),
) {
    let mut without_effect = |present: bool, name: &str| {
        if present {
            let message = "not supported yet: the field has no effect";
            unsupported(format!("{field}.{name}"), message.to_owned());
        }
    };
    without_effect(policy.tunnel.is_some(), "tunnel");
    without_effect(policy.proxy_protocol.is_some(), "proxyProtocol");
    // What is open counts, not what has ended in an interval.
    let interval = policy.retry_budget.as_ref().and_then(|budget| budget.budget_interval);
    without_effect(interval.is_some_and(|i| !i.is_zero()), "retryBudget.budgetInterval");
    let balancers = std::iter::once(("loadBalancer".to_owned(), &policy.load_balancer)).chain(
        policy.port_level_settings.iter().enumerate().map(|(index, settings)| {
            (format!("portLevelSettings[{index}].loadBalancer"), &settings.load_balancer)
        }),
    );
    for (name, balancer) in balancers {
        let Some(balancer) = balancer else { continue };
        for part in unsupported_balancing(balancer) {
            without_effect(true, &format!("{name}.{part}"));
        }
    }
    let detection = policy.outlier_detection.as_ref();
    let codes = detection.is_some_and(|d| !d.outlier_detection_http_error_codes.is_empty());
    without_effect(codes, "outlierDetection.outlierDetectionHttpErrorCodes");
    let tls =
        std::iter::once(("tls".to_owned(), &policy.tls)).chain(
            policy.port_level_settings.iter().enumerate().map(|(index, settings)| {
                (format!("portLevelSettings[{index}].tls"), &settings.tls)
            }),
        );
    let tls: Vec<_> = tls.filter_map(|(name, tls)| Some((name, tls.as_ref()?))).collect();
    for (name, tls) in &tls {
        without_effect(!tls.ca_crl.is_empty(), &format!("{name}.caCrl"));
    }
    for (name, _) in tls.iter().filter(|(_, tls)| !tls.credential_name.is_empty() && !selected) {
        let message = "sidecars are not given Secrets by a rule without workloadSelector: the \
                       field has an effect at gateways only";
        unsupported(format!("{field}.{name}.credentialName"), message.to_owned());
    }
}

fn unsupported_balancing(balancer: &LoadBalancerSettings) -> Vec<&'static str> {
    [
        (balancer.zone_aware_lb_setting.is_some(), "zoneAwareLbSetting"),
        (balancer.warmup.is_some(), "warmup"),
        (balancer.warmup_duration_secs.is_some(), "warmupDurationSecs"),
    ]
    .into_iter()
    .filter_map(|(present, name)| present.then_some(name))
    .collect()
}
