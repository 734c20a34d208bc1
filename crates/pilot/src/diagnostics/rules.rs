//! VirtualServices, DestinationRules and Gateways: what is not supported, and who gave way.

use std::collections::BTreeMap;

use config::{
    Diagnostic, VirtualService,
    host::{self, CLUSTER_DOMAIN},
    networking::{HttpRoute, LoadBalancerSettings, ServerTlsMode, TrafficPolicy},
    visibility::Visibility,
};

use crate::{
    World,
    gateway::{self, PortClass, Unserved},
    route::unsupported_headers,
    world::Item,
};

/// Delegates, claims, and hosts that an older rule owns.
pub(super) fn virtual_services(world: &World, findings: &mut Vec<Diagnostic>) {
    let mut owners: BTreeMap<(String, Viewers), &Item<VirtualService>> = BTreeMap::new();
    for item in &world.virtual_services {
        if item.spec.is_delegate() {
            let message = "a VirtualService without hosts is a delegate, which is not supported \
                           yet: its routes have no effect";
            findings.push(item.warning("unsupported", "spec.hosts", message));
            continue;
        }
        for (index, rule) in item.spec.http.iter().enumerate() {
            http_rule(item, index, rule, findings);
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
    if rule.delegate.is_some() {
        unsupported("delegate", "delegates are not supported yet: the rule is passed over");
    }
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
        let mut unsupported = |field: String, message: String| {
            findings.push(item.warning("unsupported", field, message));
        };
        if let Some(policy) = &item.spec.traffic_policy {
            traffic_policy("spec.trafficPolicy", policy, &mut unsupported);
        }
        for (index, subset) in item.spec.subsets.iter().enumerate() {
            if let Some(policy) = &subset.traffic_policy {
                let field = format!("spec.subsets[{index}].trafficPolicy");
                traffic_policy(&field, policy, &mut unsupported);
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
    without_effect(policy.retry_budget.is_some(), "retryBudget");
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
    for (name, tls) in tls {
        let Some(tls) = tls else { continue };
        without_effect(!tls.credential_name.is_empty(), &format!("{name}.credentialName"));
        without_effect(!tls.ca_crl.is_empty(), &format!("{name}.caCrl"));
    }
}

fn unsupported_balancing(balancer: &LoadBalancerSettings) -> Vec<&'static str> {
    let locality = balancer.locality_lb_setting.as_ref();
    [
        (locality.is_some_and(|l| !l.distribute.is_empty()), "localityLbSetting.distribute"),
        (locality.is_some_and(|l| !l.failover.is_empty()), "localityLbSetting.failover"),
        (
            locality.is_some_and(|l| !l.failover_priority.is_empty()),
            "localityLbSetting.failoverPriority",
        ),
        (balancer.zone_aware_lb_setting.is_some(), "zoneAwareLbSetting"),
        (balancer.warmup.is_some(), "warmup"),
        (balancer.warmup_duration_secs.is_some(), "warmupDurationSecs"),
    ]
    .into_iter()
    .filter_map(|(present, name)| present.then_some(name))
    .collect()
}

/// A selector and a port number.
type GatewayPort<'a> = (&'a BTreeMap<String, String>, u16);

/// Servers that are not served, and fields that have no effect.
pub(super) fn gateways(world: &World, findings: &mut Vec<Diagnostic>) {
    let mut owners: BTreeMap<GatewayPort<'_>, (PortClass, String)> = BTreeMap::new();
    for item in &world.gateways {
        for (index, server) in item.spec.servers.iter().enumerate() {
            let field = |name: &str| format!("spec.servers[{index}].{name}");
            match (gateway::class(server), &server.port) {
                (Err(reason), _) => {
                    let (name, message) = unserved(reason);
                    findings.push(item.warning("unsupported", field(name), message));
                }
                (Ok(class), Some(port)) => {
                    let key = (&item.spec.selector, port.number);
                    let (owner_class, owner) =
                        owners.entry(key).or_insert_with(|| (class, item.qualified_name()));
                    if *owner_class != class {
                        let message = format!(
                            "port {} has another protocol by the older Gateway {owner}: this \
                             server is not served",
                            port.number
                        );
                        findings.push(item.warning("conflicting-port", field("port"), message));
                    }
                }
                (Ok(_), None) => {}
            }
            let Some(tls) = &server.tls else { continue };
            if !tls.ca_crl.is_empty() {
                let message = "revocation lists are not supported yet: the field has no effect";
                findings.push(item.warning("unsupported", field("tls.caCrl"), message));
            }
            let pinned =
                !tls.verify_certificate_spki.is_empty() || !tls.verify_certificate_hash.is_empty();
            if pinned && tls.mode != ServerTlsMode::Passthrough {
                let message = "certificates cannot be pinned yet: the field has no effect";
                findings.push(item.warning("unsupported", field("tls"), message));
            }
        }
    }
}

fn unserved(reason: Unserved) -> (&'static str, &'static str) {
    match reason {
        Unserved::Credential => (
            "tls.credentialName",
            "certificates from Secrets are not supported yet: the server is not served; name \
             files, or use mode ISTIO_MUTUAL or PASSTHROUGH",
        ),
        Unserved::Mode => ("tls.mode", "the mode is not supported yet: the server is not served"),
        Unserved::TerminatedTcp => (
            "tls.mode",
            "TLS with bytes inside cannot be terminated yet: the server is not served; use \
             protocol HTTPS, or mode PASSTHROUGH",
        ),
        Unserved::Bind => ("bind", "addresses cannot be chosen yet: the server is not served"),
        Unserved::Port => ("port", "the port or its protocol is missing: the server is not served"),
    }
}
