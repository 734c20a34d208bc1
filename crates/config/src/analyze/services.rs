//! Services, Deployments and DestinationRules: what selects nothing and what is not declared.

use super::{
    Findings, did_you_mean,
    world::{Callee, World},
};
use crate::{
    DestinationRule, Object,
    host::{self, CLUSTER_DOMAIN},
    k8s::{Deployment, Service, ServiceType},
    value::IntOrString,
    yaml::{Path, excerpt},
};

pub(super) fn service(
    object: &Object,
    service: &Service,
    world: &World<'_>,
    findings: &mut Findings,
) {
    namespace(object, world, findings);
    if service.selector.is_empty() || service.service_type == ServiceType::ExternalName {
        return;
    }
    let spec = Path::Root.field("spec");
    let selected: Vec<_> =
        world.selected(Some(&object.meta.namespace), &service.selector).collect();
    if selected.is_empty() && world.has_entry(&object.meta.namespace, &service.selector) {
        return;
    }
    if selected.is_empty() {
        let message = format!(
            "the Service selects nothing: no Deployment or Pod in {} has these labels",
            object.meta.namespace
        );
        findings.warning((object, &spec.field("selector")), "selects-nothing", message, None);
        return;
    }
    let list = spec.field("ports");
    for (index, port) in service.ports.iter().enumerate() {
        let Some(IntOrString::String(name)) = &port.target_port else { continue };
        let containers = || selected.iter().flat_map(|workload| &workload.spec.containers);
        let names = || containers().flat_map(|container| &container.ports).map(|port| &*port.name);
        if !names().any(|other| other == name) {
            let message = format!("no container port is named \"{}\"", excerpt(name));
            let help = did_you_mean(name, names());
            let path = list.index(index);
            let path = path.field("targetPort");
            findings.error((object, &path), "port-not-found", message, help);
        }
    }
}

pub(super) fn deployment(
    object: &Object,
    deployment: &Deployment,
    world: &World<'_>,
    findings: &mut Findings,
) {
    namespace(object, world, findings);
    let account = deployment.template.spec.service_account();
    let here = object.meta.namespace.as_str();
    if account != "default" && !world.accounts.contains(&(here, account)) {
        let spec = Path::Root.field("spec");
        let template = spec.field("template");
        let pod = template.field("spec");
        let message = format!("there is no ServiceAccount {here}/{}", excerpt(account));
        let known = world.accounts.iter().filter(|(namespace, _)| *namespace == here);
        let help = did_you_mean(account, known.map(|(_, name)| *name));
        let path = pod.field("serviceAccountName");
        findings.warning((object, &path), "service-account-not-found", message, help);
    }
}

/// Kubernetes takes no object of a namespace that does not exist.
fn namespace(object: &Object, world: &World<'_>, findings: &mut Findings) {
    let name = object.meta.namespace.as_str();
    if world.has_namespace(name) {
        return;
    }
    let metadata = Path::Root.field("metadata");
    let message = format!("there is no Namespace {}", excerpt(name));
    let help = did_you_mean(name, world.namespaces.iter().copied());
    findings.warning((object, &metadata.field("namespace")), "namespace-not-found", message, help);
}

pub(super) fn destination_rule(
    object: &Object,
    rule: &DestinationRule,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let full = host::resolve_short_name(&rule.host, &object.meta.namespace, CLUSTER_DOMAIN);
    let spec = Path::Root.field("spec");
    if host::is_wildcard(&full) {
        return;
    }
    let Some((meta, service)) = world.services.get(&full) else {
        let message = format!("there is no service {full}: the rule has no effect");
        let names = world.services.values().map(|(meta, _)| meta.name.as_str());
        let help = did_you_mean(&rule.host, names);
        findings.warning((object, &spec.field("host")), "host-not-found", message, help);
        return;
    };
    let list = spec.field("subsets");
    for (index, subset) in rule.subsets.iter().enumerate() {
        let mut labels = service.selector.cloned().unwrap_or_default();
        if labels.is_empty() || subset.labels.is_empty() {
            continue;
        }
        let service_matches = world.selected(Some(&meta.namespace), &labels).next().is_some();
        labels.extend(subset.labels.clone());
        if service_matches
            && !world.has_entry(&meta.namespace, &labels)
            && world.selected(Some(&meta.namespace), &labels).next().is_none()
        {
            let message = format!(
                "the subset selects nothing: no workload of {full} has these labels, and calls to \
                 it would be answered with 503"
            );
            let path = list.index(index);
            findings.warning((object, &path.field("labels")), "selects-nothing", message, None);
        }
    }
    port_levels(object, rule, service, findings);
}

fn port_levels(
    object: &Object,
    rule: &DestinationRule,
    service: &Callee<'_>,
    findings: &mut Findings,
) {
    let spec = Path::Root.field("spec");
    let policy_path = spec.field("trafficPolicy");
    let list = policy_path.field("portLevelSettings");
    let Some(policy) = &rule.traffic_policy else { return };
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let number = settings.port.map_or(0, |port| port.number);
        if service.port(number).is_none() && !service.ports.is_empty() {
            let message = format!("{} has no port {number}: no effect", rule.host);
            let path = list.index(index);
            let path = path.field("port");
            findings.warning((object, &path.field("number")), "port-not-found", message, None);
        }
    }
}
