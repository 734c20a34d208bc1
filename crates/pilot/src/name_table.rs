//! The names for the DNS proxy beside a proxy: services by their full names, with virtual
//! addresses, or the pods' own for headless services.

use std::{collections::BTreeMap, net::IpAddr};

use xds::{HealthStatus, NameInfo, NameTable};

use crate::{
    Proxy, PushContext,
    sidecar_scope::SidecarScope,
    world::{Addressing, Service, ServiceEndpoint},
};

/// The names that a proxy's workload may look up.
pub(crate) fn name_table(push: &PushContext, proxy: &Proxy) -> NameTable {
    let mut table = BTreeMap::new();
    let scope = push.scope(proxy);
    for service in scope.names() {
        let Some(ips) = addresses(push, scope, service) else { continue };
        if service.is_headless() {
            add_pods(&mut table, push, service);
        }
        table.insert(service.hostname.clone(), info(service, ips));
    }
    NameTable { table }
}

/// The service's addresses; none for an alias of a name outside the mesh: DNS outside answers it.
fn addresses(push: &PushContext, scope: &SidecarScope, service: &Service) -> Option<Vec<IpAddr>> {
    match &service.addressing {
        Addressing::Virtual(ips) if ips.is_empty() => None,
        Addressing::Virtual(ips) => Some(ips.clone()),
        Addressing::Headless => Some(pod_addresses(push, service, None)),
        Addressing::Alias(target) => match scope.service(target) {
            Some(target) if !target.is_alias() => addresses(push, scope, target),
            _ => None,
        },
    }
}

fn pod_addresses(push: &PushContext, service: &Service, hostname: Option<&str>) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = push
        .world
        .endpoints(service)
        .iter()
        .filter(|endpoint| endpoint.health == HealthStatus::Healthy)
        .filter(|endpoint| hostname.is_none_or(|hostname| endpoint.hostname == hostname))
        .filter_map(ServiceEndpoint::ip)
        .collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

/// `<hostname>.<service>` for each pod with a host name.
fn add_pods(table: &mut BTreeMap<String, NameInfo>, push: &PushContext, service: &Service) {
    for endpoint in push.world.endpoints(service) {
        if endpoint.hostname.is_empty() {
            continue;
        }
        let name = format!("{}.{}", endpoint.hostname, service.hostname);
        let ips = pod_addresses(push, service, Some(&endpoint.hostname));
        let mut pod = info(service, ips);
        pod.short_name = format!("{}.{}", endpoint.hostname, service.name);
        table.entry(name).or_insert(pod);
    }
}

fn info(service: &Service, ips: Vec<IpAddr>) -> NameInfo {
    NameInfo {
        ips,
        registry: if service.is_kubernetes() { "Kubernetes" } else { "External" }.to_owned(),
        short_name: service.name.clone(),
        namespace: service.namespace.clone(),
    }
}
