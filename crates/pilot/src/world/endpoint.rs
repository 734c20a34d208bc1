//! Endpoints: the addresses behind services, from EndpointSlices, WorkloadEntries and
//! ServiceEntries.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use config::{
    Object, ObjectMeta, Spec,
    host::{CLUSTER_DOMAIN, service_fqdn},
    k8s::{AddressType, Endpoint, EndpointSlice, Transport},
};
use xds::{Address, HealthStatus, Locality};

use super::{Service, Workload, service::Collected, workload::Workloads, workload_entry::Entries};

/// One address and port behind a port of a service.
#[derive(Debug)]
pub(crate) struct ServiceEndpoint {
    /// The service port's name.
    pub(crate) port_name: String,
    pub(crate) address: Address,
    pub(crate) health: HealthStatus,
    /// Its name under a headless service; empty: none.
    pub(crate) hostname: String,
    pub(crate) locality: Locality,
    /// Its share of calls.
    pub(crate) weight: u32,
    /// The pod or WorkloadEntry, when it is known.
    pub(crate) workload: Option<Arc<Workload>>,
}

impl ServiceEndpoint {
    /// The IP address; none for a DNS name or a Unix socket.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self.address {
            Address::Socket { ip, .. } => Some(ip),
            Address::Hostname { .. } | Address::Pipe(_) => None,
        }
    }

    /// The port; 0 for a Unix socket.
    pub(crate) fn port(&self) -> u16 {
        self.address.port().unwrap_or(0)
    }
}

/// The endpoints of services, by host name and namespace, each in the order of port name and
/// address.
pub(super) type Endpoints = BTreeMap<String, BTreeMap<String, Vec<ServiceEndpoint>>>;

pub(super) fn collect(
    objects: &[Arc<Object>],
    services: &[Collected],
    workloads: &Workloads,
) -> Endpoints {
    let mut all = Endpoints::new();
    let kubernetes: BTreeMap<&str, &Arc<Service>> = services
        .iter()
        .filter(|(service, _)| service.is_kubernetes())
        .map(|(service, _)| (service.hostname.as_str(), service))
        .collect();
    for object in objects {
        let Spec::EndpointSlice(slice) = &object.spec else { continue };
        let Some(name) = object.meta.labels.get("kubernetes.io/service-name") else { continue };
        let hostname = service_fqdn(name, &object.meta.namespace, CLUSTER_DOMAIN);
        let Some(service) = kubernetes.get(hostname.as_str()) else { continue };
        let endpoints = of(&mut all, service);
        for endpoint in &slice.endpoints {
            endpoints.extend(addresses(&object.meta, slice, endpoint, (service, workloads)));
        }
    }
    let entries = Entries::collect(objects);
    for (service, object) in services {
        let found = entries.endpoints(service, object.as_deref(), workloads);
        if !found.is_empty() {
            of(&mut all, service).extend(found);
        }
    }
    for endpoints in all.values_mut().flat_map(BTreeMap::values_mut) {
        endpoints.sort_by(|a, b| {
            (&a.port_name, &a.address, rank(a)).cmp(&(&b.port_name, &b.address, rank(b)))
        });
        endpoints.dedup_by(|b, a| (&a.port_name, &a.address) == (&b.port_name, &b.address));
    }
    all
}

fn of<'a>(all: &'a mut Endpoints, service: &Service) -> &'a mut Vec<ServiceEndpoint> {
    let namespaces = all.entry(service.hostname.clone()).or_default();
    namespaces.entry(service.namespace.clone()).or_default()
}

/// Of two that claim the same address and port the usable one is kept.
fn rank(endpoint: &ServiceEndpoint) -> u8 {
    u8::from(endpoint.health != HealthStatus::Healthy)
}

fn addresses(
    meta: &ObjectMeta,
    slice: &EndpointSlice,
    endpoint: &Endpoint,
    (service, workloads): (&Service, &Workloads),
) -> Vec<ServiceEndpoint> {
    if slice.address_type == AddressType::Fqdn {
        return Vec::new();
    }
    let Some(ip) = endpoint.addresses.first().and_then(|text| text.parse().ok()) else {
        return Vec::new();
    };
    let Some(health) = health(endpoint, service) else { return Vec::new() };
    let workload = workload(meta, endpoint, ip, workloads);
    let locality = workload.as_ref().map(|w| w.locality.clone()).unwrap_or_default();
    let locality = if locality == Locality::default() && !endpoint.zone.is_empty() {
        Locality { zone: endpoint.zone.clone(), ..Locality::default() }
    } else {
        locality
    };
    ports(slice, service)
        .into_iter()
        .map(|(port_name, port)| ServiceEndpoint {
            port_name,
            address: Address::socket(ip, port),
            health,
            weight: 1,
            hostname: endpoint.hostname.clone(),
            locality: locality.clone(),
            workload: workload.clone(),
        })
        .collect()
}

/// Health as Istio takes it from the conditions; a terminating endpoint is left out.
fn health(endpoint: &Endpoint, service: &Service) -> Option<HealthStatus> {
    let conditions = endpoint.conditions;
    if conditions.is_ready() || service.publish_not_ready {
        Some(HealthStatus::Healthy)
    } else if conditions.terminating == Some(true) {
        None
    } else {
        Some(HealthStatus::Unhealthy)
    }
}

fn workload(
    meta: &ObjectMeta,
    endpoint: &Endpoint,
    ip: IpAddr,
    workloads: &Workloads,
) -> Option<Arc<Workload>> {
    let named = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod");
    let found = match named {
        // A reference decides alone: an address that some other pod now has must not lend its
        // identity.
        Some(target) => {
            let own = &meta.namespace;
            let namespace = if target.namespace.is_empty() { own } else { &target.namespace };
            workloads.named(namespace, &target.name)
        }
        None => workloads.by_ip.get(&ip).filter(|w| w.namespace == meta.namespace),
    };
    found.cloned()
}

/// Name and number of each TCP port; a slice port without number stands for all of the service's.
fn ports(slice: &EndpointSlice, service: &Service) -> Vec<(String, u16)> {
    let mut ports = Vec::new();
    for port in slice.ports.iter().filter(|port| port.protocol == Transport::Tcp) {
        match port.port {
            Some(number) => ports.push((port.name.clone(), number)),
            None => ports.extend(service.ports.iter().map(|p| (p.name.clone(), p.port))),
        }
    }
    ports
}
