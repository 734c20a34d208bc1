//! The ports of a workload that services are behind, each with the service that owns it, or those
//! that its Sidecar asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use config::{
    Protocol,
    networking::{CaptureMode, IngressListener},
};

use crate::{
    Proxy, PushContext, World,
    world::{Service, ServiceEndpoint, ServicePort, Workload},
};

/// One of the workload's ports.
#[derive(Debug)]
pub(crate) struct InboundPort<'a> {
    /// The workload's port.
    pub(crate) target_port: u16,
    /// What it speaks: as the Sidecar says, else as the owner does.
    pub(crate) protocol: Protocol,
    /// The oldest service with it, and that service's port.
    pub(crate) owner: Option<(&'a Service, &'a ServicePort)>,
    /// All services with it.
    pub(crate) services: Vec<&'a Service>,
    /// The Sidecar's listener.
    pub(crate) ingress: Option<&'a IngressListener>,
}

impl InboundPort<'_> {
    /// Whether the application's clients connect to the listener itself.
    pub(crate) fn is_bound(&self) -> bool {
        self.ingress.is_some_and(|ingress| ingress.capture_mode == CaptureMode::None)
    }

    /// The owner's host name and port; without an owner the workload's port alone.
    pub(crate) fn service(&self) -> (&str, u16) {
        match self.owner {
            Some((service, port)) => (&service.hostname, port.port),
            None => ("", self.target_port),
        }
    }
}

/// The ports of a sidecar's workload by number: those that its Sidecar names, if it names any, else
/// those of services. Those of the sidecar itself are left out.
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
            protocol: port.protocol,
            owner: Some((service, port)),
            services: Vec::new(),
            ingress: None,
        });
        if !entry.services.iter().any(|known| known.hostname == service.hostname) {
            entry.services.push(service);
        }
    }
    let sidecar = push.scope(proxy).sidecar.as_deref();
    match sidecar.map(|item| item.spec.ingress.as_slice()) {
        None | Some([]) => ports,
        Some(ingress) => by_sidecar(ingress, ports, &own),
    }
}

fn by_sidecar<'a>(
    ingress: &'a [IngressListener],
    mut services: BTreeMap<u16, InboundPort<'a>>,
    own: &[u16],
) -> BTreeMap<u16, InboundPort<'a>> {
    let mut ports = BTreeMap::new();
    for listener in ingress {
        let Some(port) = &listener.port else { continue };
        let protocol = Protocol::of_entry(&port.protocol).unwrap_or(Protocol::Auto);
        if protocol == Protocol::Udp || own.contains(&port.number) {
            continue;
        }
        let found = services.remove(&port.number);
        let entry = InboundPort {
            target_port: port.number,
            protocol,
            owner: found.as_ref().and_then(|found| found.owner),
            services: found.map(|found| found.services).unwrap_or_default(),
            ingress: Some(listener),
        };
        ports.entry(port.number).or_insert(entry);
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
        // Whoever writes a ServiceEntry elsewhere must not decide what this workload speaks.
        if !service.is_kubernetes() && service.namespace != proxy.namespace {
            continue;
        }
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
        .endpoints(service)
        .iter()
        .filter(|endpoint| endpoint.port_name == port.name)
        .filter(|endpoint| endpoint.ip().is_some_and(|ip| ips.contains(&ip)))
        .map(ServiceEndpoint::port)
        .collect();
    if targets.is_empty() && selected {
        targets.extend(port.target_port(workload));
    }
    targets
}
