//! ServiceEntries, WorkloadEntries and Sidecars: what is not supported.

use config::{
    Diagnostic,
    networking::{Resolution, WorkloadEntry},
};

use crate::{World, world::Item};

pub(super) fn collect(world: &World, findings: &mut Vec<Diagnostic>) {
    for item in &world.service_entries {
        if item.spec.resolution == Resolution::DynamicDns {
            let message = "the proxy does not resolve the names of requests yet: calls go to the \
                           address that the client resolved, as with NONE";
            findings.push(item.warning("unsupported", "spec.resolution", message));
        }
        for (index, endpoint) in item.spec.endpoints.iter().enumerate() {
            network(item, endpoint, &format!("spec.endpoints[{index}].network"), findings);
        }
    }
    for item in &world.workload_entries {
        network(item, &item.spec, "spec.network", findings);
    }
    for item in &world.sidecars {
        for (index, listener) in item.spec.ingress.iter().enumerate() {
            if listener.tls.is_some() {
                let message = "TLS is not terminated by a Sidecar's own settings (in Istio neither, \
                               by default): PeerAuthentication decides";
                let field = format!("spec.ingress[{index}].tls");
                findings.push(item.warning("unsupported", field, message));
            }
        }
        for (index, listener) in item.spec.egress.iter().flatten().enumerate() {
            if listener.bind.starts_with("unix://") {
                let message = "only a stock Envoy listens on a Unix socket: Mizzen's own proxy does \
                               not yet";
                let field = format!("spec.egress[{index}].bind");
                findings.push(item.warning("unsupported", field, message));
            }
        }
    }
}

fn network<T>(item: &Item<T>, entry: &WorkloadEntry, field: &str, findings: &mut Vec<Diagnostic>) {
    if !entry.network.is_empty() {
        let rest = match entry.address.as_str() {
            "" => "without an address the entry has no effect",
            _ => "its address is called directly",
        };
        let message = format!("networks are not told apart yet: {rest}");
        findings.push(item.warning("unsupported", field, message));
    }
}
