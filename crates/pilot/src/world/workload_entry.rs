//! Endpoints that are no pods' by themselves: WorkloadEntries, and what ServiceEntries name or
//! select.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use config::{Object, ServiceEntry, Spec, WorkloadEntry, value::IntOrString};
use xds::{Address, HealthStatus};

use super::{
    ServiceEndpoint, Workload,
    service::{Resolution, Service, ServicePort},
    workload::Workloads,
};

/// All WorkloadEntries, by namespace.
pub(super) struct Entries<'a> {
    by_namespace: BTreeMap<&'a str, Vec<(&'a WorkloadEntry, Arc<Workload>)>>,
}

impl<'a> Entries<'a> {
    /// The WorkloadEntries among `objects`. Their own labels count, and those of the object.
    pub(super) fn collect(objects: &'a [Arc<Object>]) -> Self {
        let mut by_namespace: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for object in objects {
            let Spec::WorkloadEntry(entry) = &object.spec else { continue };
            let (namespace, name) = (object.meta.namespace.as_str(), object.meta.name.as_str());
            let mut labels = object.meta.labels.clone();
            labels.extend(entry.labels.clone());
            let workload = Arc::new(Workload::of_entry(namespace, name, labels, entry));
            by_namespace.entry(namespace).or_default().push((entry, workload));
        }
        Self { by_namespace }
    }

    /// The endpoints of a service that no EndpointSlice tells.
    pub(super) fn endpoints(
        &self,
        service: &Service,
        object: Option<&Object>,
        workloads: &Workloads,
    ) -> Vec<ServiceEndpoint> {
        let mut found = Vec::new();
        if let Some(Spec::ServiceEntry(entry)) = object.map(|object| &object.spec) {
            if service.resolution == Resolution::OriginalDst {
                return found;
            }
            self.written(service, entry, &mut found);
            for (ip, pod) in &workloads.ready {
                if service.selects(&pod.namespace, &pod.labels) {
                    pod_endpoints(service, *ip, pod, &mut found);
                }
            }
        }
        let own = self.by_namespace.get(service.namespace.as_str());
        for (entry, workload) in own.into_iter().flatten() {
            if service.selects(&service.namespace, &workload.labels) {
                entry_endpoints(service, entry, workload, &mut found);
            }
        }
        found
    }

    /// What a ServiceEntry names itself; with DNS resolution and no endpoints, its host.
    fn written(&self, service: &Service, entry: &ServiceEntry, found: &mut Vec<ServiceEndpoint>) {
        for endpoint in &entry.endpoints {
            let labels = endpoint.labels.clone();
            let workload =
                Workload::of_entry(&service.namespace, &service.object, labels, endpoint);
            entry_endpoints(service, endpoint, &Arc::new(workload), found);
        }
        let by_name = matches!(service.resolution, Resolution::StrictDns | Resolution::LogicalDns);
        if by_name && entry.endpoints.is_empty() && entry.workload_selector.is_none() {
            let host =
                WorkloadEntry { address: service.hostname.clone(), ..WorkloadEntry::default() };
            for port in &service.ports {
                found.extend(endpoint(service, port, &host, None));
            }
        }
    }
}

fn entry_endpoints(
    service: &Service,
    entry: &WorkloadEntry,
    workload: &Arc<Workload>,
    found: &mut Vec<ServiceEndpoint>,
) {
    for port in &service.ports {
        found.extend(endpoint(service, port, entry, Some(workload)));
    }
}

fn endpoint(
    service: &Service,
    port: &ServicePort,
    entry: &WorkloadEntry,
    workload: Option<&Arc<Workload>>,
) -> Option<ServiceEndpoint> {
    let number = entry_port(port, entry)?;
    Some(ServiceEndpoint {
        port_name: port.name.clone(),
        address: address(service, &entry.address, number)?,
        health: HealthStatus::Healthy,
        hostname: String::new(),
        locality: workload.map(|workload| workload.locality.clone()).unwrap_or_default(),
        weight: entry.weight.max(1),
        workload: workload.cloned(),
    })
}

/// The workload's port: by the service port's name, by the target port, else the service's.
fn entry_port(port: &ServicePort, entry: &WorkloadEntry) -> Option<u16> {
    if let Some(number) = entry.ports.get(&port.name) {
        return Some(*number);
    }
    match &port.target_port {
        Some(IntOrString::String(name)) => entry.ports.get(name).copied(),
        _ => port.target_port(None),
    }
}

/// Where it is. Names are only for those that resolve them.
fn address(service: &Service, text: &str, port: u16) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix://") {
        return Some(Address::Pipe(path.to_owned()));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Address::socket(ip, port));
    }
    let by_name = matches!(service.resolution, Resolution::StrictDns | Resolution::LogicalDns);
    (by_name && !text.is_empty())
        .then(|| Address::Hostname { host: text.trim_end_matches('.').to_owned(), port })
}

fn pod_endpoints(
    service: &Service,
    ip: IpAddr,
    pod: &Arc<Workload>,
    found: &mut Vec<ServiceEndpoint>,
) {
    for port in &service.ports {
        let Some(number) = port.target_port(Some(pod)) else { continue };
        found.push(ServiceEndpoint {
            port_name: port.name.clone(),
            address: Address::socket(ip, number),
            health: HealthStatus::Healthy,
            hostname: String::new(),
            locality: pod.locality.clone(),
            weight: 1,
            workload: Some(Arc::clone(pod)),
        });
    }
}
