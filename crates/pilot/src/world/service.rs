//! Services as the mesh sees them: a host name, addresses, and ports with their protocols.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use config::{
    Kind, MeshConfig, Object, Origin, Protocol, Spec,
    host::{CLUSTER_DOMAIN, service_fqdn},
    k8s::ServiceType,
    label,
    value::IntOrString,
    visibility::Visibility,
};

use ipnet::IpNet;

use super::{Workload, service_entry};

/// A service that calls can go to.
#[derive(Debug)]
pub(crate) struct Service {
    /// `<name>.<namespace>.svc.<domain>`, or a ServiceEntry's host.
    pub(crate) hostname: String,
    /// The Service's name; a ServiceEntry's host, or the first part of one in the mesh's domain.
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// Service or ServiceEntry.
    pub(crate) kind: Kind,
    /// The object's name.
    pub(crate) object: String,
    pub(crate) origin: Origin,
    pub(crate) addressing: Addressing,
    /// Networks that stand for it, besides virtual addresses.
    pub(crate) networks: Vec<IpNet>,
    pub(crate) resolution: Resolution,
    /// Not part of the mesh: no automatic mutual TLS.
    pub(crate) external: bool,
    pub(crate) ports: Vec<ServicePort>,
    /// Labels of its pods; empty: it selects none.
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) visibility: Visibility,
    /// Endpoints count as ready at once.
    pub(crate) publish_not_ready: bool,
    /// Names that its servers may prove, besides their identities.
    pub(crate) subject_alt_names: Vec<String>,
}

/// How a proxy finds a service's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The control plane tells them.
    Endpoints,
    /// Where the connection was going.
    OriginalDst,
    /// Every address that names resolve to.
    StrictDns,
    /// One address that a name resolves to.
    LogicalDns,
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
#[derive(Clone, Debug)]
pub(crate) struct ServicePort {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(super) target_port: Option<IntOrString>,
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

    /// Whether it is only another name for something else.
    pub(crate) fn is_alias(&self) -> bool {
        matches!(self.addressing, Addressing::Alias(_))
    }

    /// Whether Kubernetes has it.
    pub(crate) fn is_kubernetes(&self) -> bool {
        self.kind == Kind::Service
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

/// A service, and the ServiceEntry that it comes from.
pub(super) type Collected = (Arc<Service>, Option<Arc<Object>>);

/// The services among `objects`, in the order given. Of one host name in one namespace a Service
/// stands before a ServiceEntry, and then the first; the names that such a ServiceEntry expects of
/// servers count for the Service.
pub(super) fn collect(objects: &[Arc<Object>], mesh: &MeshConfig) -> Vec<Collected> {
    let specs = objects.iter().filter_map(|object| match &object.spec {
        Spec::Service(spec) => Some((object, spec)),
        _ => None,
    });
    let assigned = config::assign_cluster_ips(
        specs.map(|(object, spec)| (&*object.meta.namespace, &*object.meta.name, spec)),
    );
    let allocated = config::assign_entry_ips(objects.iter().map(Arc::as_ref));
    let mut all: Vec<(Service, Option<Arc<Object>>)> = Vec::new();
    for object in objects {
        match &object.spec {
            Spec::Service(spec) => all.push((service(object, spec, &assigned, mesh), None)),
            Spec::ServiceEntry(entry) => all.extend(
                service_entry::services(object, entry, &allocated, mesh)
                    .into_iter()
                    .map(|service| (service, Some(Arc::clone(object)))),
            ),
            _ => {}
        }
    }
    unique(all)
}

fn unique(mut all: Vec<(Service, Option<Arc<Object>>)>) -> Vec<Collected> {
    let key = |service: &Service| (service.hostname.clone(), service.namespace.clone());
    let mut owners: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (index, (service, _)) in all.iter().enumerate() {
        match owners.get(&key(service)) {
            Some(owner) if all[*owner].0.is_kubernetes() || !service.is_kubernetes() => {}
            _ => {
                owners.insert(key(service), index);
            }
        }
    }
    for index in 0..all.len() {
        let owner = owners.get(&key(&all[index].0)).copied().unwrap_or(index);
        if owner != index && all[owner].0.is_kubernetes() {
            let names = std::mem::take(&mut all[index].0.subject_alt_names);
            all[owner].0.subject_alt_names.extend(names);
        }
    }
    all.into_iter()
        .enumerate()
        .filter(|(index, (service, _))| owners.get(&key(service)) == Some(index))
        .map(|(_, (service, object))| (Arc::new(service), object))
        .collect()
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
        kind: Kind::Service,
        object: name.clone(),
        networks: Vec::new(),
        resolution: Resolution::Endpoints,
        external: false,
        subject_alt_names: Vec::new(),
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
