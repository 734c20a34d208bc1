//! Services from ServiceEntries: one for each host.

use std::{collections::BTreeMap, net::IpAddr, net::Ipv4Addr};

use config::{
    Kind, MeshConfig, Object, Protocol, ServiceEntry, host,
    networking::{Location, Port},
    value::IntOrString,
    visibility::Visibility,
};
use ipnet::IpNet;

use super::service::{Addressing, Resolution, Service, ServicePort};

/// Allocated addresses, by namespace and host.
pub(super) type Assigned = BTreeMap<(String, String), Ipv4Addr>;

/// The services of a ServiceEntry.
pub(super) fn services(
    object: &Object,
    entry: &ServiceEntry,
    assigned: &Assigned,
    mesh: &MeshConfig,
) -> Vec<Service> {
    entry.hosts.iter().map(|host| service(object, entry, host, (assigned, mesh))).collect()
}

fn service(
    object: &Object,
    entry: &ServiceEntry,
    host: &str,
    (assigned, mesh): (&Assigned, &MeshConfig),
) -> Service {
    let hostname = host.trim_end_matches('.').to_ascii_lowercase();
    let namespace = object.meta.namespace.clone();
    let mut ips: Vec<IpAddr> =
        entry.addresses.iter().filter_map(|text| text.parse().ok()).collect();
    let networks = entry.addresses.iter().filter(|text| text.parse::<IpAddr>().is_err());
    let networks: Vec<IpNet> = networks.filter_map(|text| text.parse().ok()).collect();
    if ips.is_empty() && networks.is_empty() {
        let key = (namespace.clone(), host.to_ascii_lowercase());
        ips.extend(assigned.get(&key).copied().map(IpAddr::from));
    }
    let short = host::split_service_fqdn(&hostname, host::CLUSTER_DOMAIN);
    Service {
        name: short.map_or_else(|| hostname.clone(), |(name, _)| name.to_owned()),
        kind: Kind::ServiceEntry,
        object: object.meta.name.clone(),
        origin: object.origin.clone(),
        addressing: Addressing::Virtual(ips),
        networks,
        resolution: resolution(entry),
        external: entry.location == Location::MeshExternal,
        ports: entry.ports.iter().map(port).collect(),
        selector: entry.workload_selector.as_ref().map(|s| s.labels.clone()).unwrap_or_default(),
        visibility: Visibility::new(&entry.export_to, &mesh.default_service_export_to, &namespace),
        publish_not_ready: false,
        subject_alt_names: entry.subject_alt_names.clone(),
        namespace,
        hostname,
    }
}

/// COMPAT: DYNAMIC_DNS asks for a proxy that resolves the name of each request; here calls go to
/// the address that the client resolved, as with NONE, and the user is told.
fn resolution(entry: &ServiceEntry) -> Resolution {
    match entry.resolution {
        config::networking::Resolution::None | config::networking::Resolution::DynamicDns => {
            Resolution::OriginalDst
        }
        config::networking::Resolution::Static => Resolution::Endpoints,
        config::networking::Resolution::Dns => Resolution::StrictDns,
        config::networking::Resolution::DnsRoundRobin => Resolution::LogicalDns,
    }
}

fn port(spec: &Port) -> ServicePort {
    ServicePort {
        name: spec.name.clone(),
        port: spec.number,
        protocol: Protocol::of_entry(&spec.protocol).unwrap_or(Protocol::Auto),
        target_port: spec.target_port.map(|number| IntOrString::Int(number.into())),
    }
}
