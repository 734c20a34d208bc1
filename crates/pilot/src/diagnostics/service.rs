//! Services: ports that two of them claim at one workload, and ports that cannot be reached.

use std::collections::BTreeMap;

use config::{Diagnostic, ObjectKey, Protocol};

use super::warning;
use crate::{
    World,
    world::{Service, ServicePort},
};

pub(super) fn collect(world: &World, findings: &mut Vec<Diagnostic>) {
    reserved_ports(world, findings);
    inbound_conflicts(world, findings);
    outbound_conflicts(world, findings);
}

fn about(service: &Service, code: &'static str, port: &ServicePort, message: String) -> Diagnostic {
    let key = ObjectKey::new(service.kind, service.namespace.clone(), service.object.clone());
    let index = service.ports.iter().position(|known| known.port == port.port).unwrap_or(0);
    warning(key, &service.origin, code, format!("spec.ports[{index}]"), message)
}

fn reserved_ports(world: &World, findings: &mut Vec<Diagnostic>) {
    let reserved =
        [world.mesh.proxy_listen_port, world.mesh.proxy_inbound_listen_port, 15021, 15090];
    for service in &world.services {
        for port in service.ports.iter().filter(|port| reserved.contains(&port.port)) {
            if port.protocol.is_http() {
                let message = format!(
                    "port {} is one of the sidecar's own: the service cannot be reached on it \
                     from inside of the mesh; choose another port",
                    port.port
                );
                findings.push(about(service, "reserved-port", port, message));
            }
        }
    }
}

/// Two services with one workload port and different protocols: the older one decides.
fn inbound_conflicts(world: &World, findings: &mut Vec<Diagnostic>) {
    let mut owners: BTreeMap<(std::net::IpAddr, u16), (&Service, Protocol)> = BTreeMap::new();
    for service in &world.services {
        // What is outside has no sidecar that would have to decide.
        for endpoint in world.endpoints(service).iter().filter(|_| !service.external) {
            let Some(port) = service.ports.iter().find(|port| port.name == endpoint.port_name)
            else {
                continue;
            };
            let Some(ip) = endpoint.ip() else { continue };
            let (owner, protocol) =
                *owners.entry((ip, endpoint.port())).or_insert((service.as_ref(), port.protocol));
            if protocol != port.protocol {
                let message = format!(
                    "the workload's port {} is {} by the older {} {}/{}, and so it is not \
                     served as {} here; give both ports the same protocol",
                    endpoint.port(),
                    protocol,
                    owner.kind.name(),
                    owner.namespace,
                    owner.object,
                    port.protocol
                );
                findings.push(about(service, "conflicting-inbound-port", port, message));
            }
        }
    }
}

/// TCP ports without an address of their own: connections to them cannot be told apart.
fn outbound_conflicts(world: &World, findings: &mut Vec<Diagnostic>) {
    let mut owners: BTreeMap<u16, &Service> = BTreeMap::new();
    for service in &world.services {
        let without_address = service.virtual_ips().is_empty()
            && !service.is_headless()
            && service.networks.is_empty()
            && !service.is_alias();
        // TLS is told apart by its server name.
        let by_port = |port: &&ServicePort| port.protocol.is_tcp() && !port.protocol.is_tls();
        for port in service.ports.iter().filter(|port| without_address && by_port(port)) {
            let owner = owners.entry(port.port).or_insert(service.as_ref());
            if owner.hostname != service.hostname {
                let message = format!(
                    "TCP connections to port {} go to the older {} {}/{}: neither has an \
                     address of its own",
                    port.port,
                    owner.kind.name(),
                    owner.namespace,
                    owner.object
                );
                findings.push(about(service, "conflicting-outbound-port", port, message));
            }
        }
    }
}
