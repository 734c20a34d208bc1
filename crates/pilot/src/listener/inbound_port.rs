//! The ports of a workload that services are behind, each with the service that owns it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use config::Protocol;

use crate::{
    Proxy, PushContext, World,
    world::{Service, ServicePort, Workload},
};

/// One of the workload's ports.
#[derive(Debug)]
pub(crate) struct InboundPort<'a> {
    /// The workload's port.
    pub(crate) target_port: u16,
    /// The oldest service with it decides what it speaks.
    pub(crate) service: &'a Service,
    /// That service's port.
    pub(crate) port: &'a ServicePort,
    /// All services with it.
    pub(crate) services: Vec<&'a Service>,
}

/// The ports of a sidecar's workload by number; those of the sidecar itself are left out.
pub(crate) fn inbound_ports<'a>(
    push: &'a PushContext,
    proxy: &Proxy,
) -> BTreeMap<u16, InboundPort<'a>> {
    let mesh = &push.world.mesh;
    let own = [mesh.proxy_listen_port, mesh.proxy_inbound_listen_port, 15008, 15021, 15090];
    let mut ports: BTreeMap<u16, InboundPort<'a>> = BTreeMap::new();
    for (target_port, service, port) in target_ports(&push.world, proxy) {
        if port.protocol == Protocol::Udp || own.contains(&target_port) {
            continue;
        }
        let entry = ports.entry(target_port).or_insert_with(|| InboundPort {
            target_port,
            service,
            port,
            services: Vec::new(),
        });
        if !entry.services.iter().any(|known| known.hostname == service.hostname) {
            entry.services.push(service);
        }
    }
    ports
}

/// The ports of all services that a proxy's workload is behind, as (workload's port, service,
/// service port), oldest service first.
pub(crate) fn target_ports<'a>(
    world: &'a World,
    proxy: &Proxy,
) -> Vec<(u16, &'a Service, &'a ServicePort)> {
    let workload = world.workload_at(&proxy.ips).map(AsRef::as_ref);
    let mut found = Vec::new();
    for service in world.candidates(&proxy.namespace, &proxy.ips) {
        let selected = service.selects(&proxy.namespace, &proxy.labels);
        for port in &service.ports {
            for target in targets(world, service, port, (selected, workload), &proxy.ips) {
                found.push((target, service.as_ref(), port));
            }
        }
    }
    found
}

/// The workload's ports behind a service port: what its endpoints say, else the target port.
fn targets(
    world: &World,
    service: &Service,
    port: &ServicePort,
    (selected, workload): (bool, Option<&Workload>),
    ips: &[IpAddr],
) -> BTreeSet<u16> {
    let mut targets: BTreeSet<u16> = world
        .endpoints(&service.hostname)
        .iter()
        .filter(|endpoint| endpoint.port_name == port.name && ips.contains(&endpoint.ip))
        .map(|endpoint| endpoint.port)
        .collect();
    if targets.is_empty() && selected {
        targets.extend(port.target_port(workload));
    }
    targets
}
