//! Services as the mesh sees them: a host name, addresses, and ports with their protocols.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use config::{
    MeshConfig, Object, Origin, Protocol, Spec,
    host::{CLUSTER_DOMAIN, service_fqdn},
    k8s::ServiceType,
    label,
    value::IntOrString,
    visibility::Visibility,
};

use super::Workload;

/// A service that calls can go to.
#[derive(Debug)]
pub(crate) struct Service {
    /// `<name>.<namespace>.svc.<domain>`.
    pub(crate) hostname: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) origin: Origin,
    pub(crate) addressing: Addressing,
    pub(crate) ports: Vec<ServicePort>,
    /// Labels of its pods; empty: it selects none.
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) visibility: Visibility,
    /// Endpoints count as ready at once.
    pub(crate) publish_not_ready: bool,
}

/// How a service's name is turned into addresses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Addressing {
    /// A virtual address stands for all endpoints.
    Virtual(Vec<IpAddr>),
    /// Clients connect to the pods' own addresses.
    Headless,
    /// Another name for this DNS name.
    Alias(String),
}

/// One port of a service.
#[derive(Debug)]
pub(crate) struct ServicePort {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    target_port: Option<IntOrString>,
}

impl ServicePort {
    /// The workload's port behind it; none when it is named and the workload has no such port.
    pub(crate) fn target_port(&self, workload: Option<&Workload>) -> Option<u16> {
        match &self.target_port {
            None => Some(self.port),
            Some(IntOrString::Int(0)) => Some(self.port),
            Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
            Some(IntOrString::String(name)) => workload?.container_ports.get(name).copied(),
        }
    }
}

impl Service {
    /// The virtual addresses.
    pub(crate) fn virtual_ips(&self) -> &[IpAddr] {
        match &self.addressing {
            Addressing::Virtual(ips) => ips,
            Addressing::Headless | Addressing::Alias(_) => &[],
        }
    }

    pub(crate) fn is_headless(&self) -> bool {
        self.addressing == Addressing::Headless
    }

    /// The port with this number.
    pub(crate) fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.port == number)
    }

    /// Whether its selector selects a workload with these labels in `namespace`.
    pub(crate) fn selects(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        !self.selector.is_empty()
            && self.namespace == namespace
            && label::selects(&self.selector, labels)
    }
}

/// The services among `objects`, in the order given.
pub(super) fn collect(objects: &[Arc<Object>], mesh: &MeshConfig) -> Vec<Arc<Service>> {
    let specs = || {
        objects.iter().filter_map(|object| match &object.spec {
            Spec::Service(spec) => Some((object, spec)),
            _ => None,
        })
    };
    let assigned = config::assign_cluster_ips(
        specs().map(|(object, spec)| (&*object.meta.namespace, &*object.meta.name, spec)),
    );
    specs().map(|(object, spec)| Arc::new(service(object, spec, &assigned, mesh))).collect()
}

fn service(
    object: &Object,
    spec: &config::Service,
    assigned: &BTreeMap<(String, String), Ipv4Addr>,
    mesh: &MeshConfig,
) -> Service {
    let (name, namespace) = (object.meta.name.clone(), object.meta.namespace.clone());
    let addressing = if spec.service_type == ServiceType::ExternalName {
        Addressing::Alias(spec.external_name.trim_end_matches('.').to_ascii_lowercase())
    } else if spec.is_headless() {
        Addressing::Headless
    } else {
        let assigned = assigned.get(&(namespace.clone(), name.clone())).copied();
        Addressing::Virtual(virtual_ips(spec, assigned))
    };
    let export_to: Vec<String> = object
        .meta
        .annotations
        .get("networking.istio.io/exportTo")
        .map(|text| text.split(',').map(|entry| entry.trim().to_owned()).collect())
        .unwrap_or_default();
    Service {
        hostname: service_fqdn(&name, &namespace, CLUSTER_DOMAIN),
        origin: object.origin.clone(),
        addressing,
        ports: spec.ports.iter().map(port).collect(),
        selector: spec.selector.clone(),
        visibility: Visibility::new(&export_to, &mesh.default_service_export_to, &namespace),
        publish_not_ready: spec.publish_not_ready_addresses,
        name,
        namespace,
    }
}

fn port(spec: &config::k8s::ServicePort) -> ServicePort {
    ServicePort {
        name: spec.name.clone(),
        port: spec.port,
        protocol: match spec.protocol {
            config::k8s::Transport::Sctp => Protocol::Udp,
            _ => spec.application_protocol(),
        },
        target_port: spec.target_port.clone(),
    }
}

/// What the Service says, else what was assigned.
fn virtual_ips(spec: &config::Service, assigned: Option<Ipv4Addr>) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = Vec::new();
    let written = std::iter::once(&spec.cluster_ip).chain(&spec.cluster_ips);
    for ip in written.filter_map(|text| text.parse().ok()) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    if ips.is_empty() {
        ips.extend(assigned.map(IpAddr::from));
    }
    ips
}
