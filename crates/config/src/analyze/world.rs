//! The objects by what refers to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    DestinationRule, Gateway, MeshConfig, Object, ObjectMeta, ServiceEntry, Spec, VirtualService,
    host::{self, CLUSTER_DOMAIN},
    k8s::{PodSpec, Secret},
    label,
    security::MutualTlsMode,
};

/// A Deployment's template or a pod.
pub(super) struct Workload<'a> {
    pub(super) namespace: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) spec: &'a PodSpec,
}

/// Labels of the ingress gateway, which comes with the mesh and is written by nobody.
const INGRESS_GATEWAY: [(&str, &str); 2] =
    [("app", "istio-ingressgateway"), ("istio", "ingressgateway")];

/// A service as those see it that call it.
pub(super) struct Callee<'a> {
    /// Its ports' numbers.
    pub(super) ports: Vec<u16>,
    /// Labels of its workloads.
    pub(super) selector: Option<&'a BTreeMap<String, String>>,
}

impl Callee<'_> {
    /// The port with this number.
    pub(super) fn port(&self, number: u16) -> Option<u16> {
        self.ports.iter().copied().find(|port| *port == number)
    }
}

#[derive(Default)]
pub(super) struct World<'a> {
    pub(super) mesh: MeshConfig,
    /// By full host name.
    pub(super) services: BTreeMap<String, (&'a ObjectMeta, Callee<'a>)>,
    /// Namespaces and labels of WorkloadEntries.
    entries: Vec<(&'a str, &'a BTreeMap<String, String>)>,
    /// With the full host name.
    pub(super) rules: Vec<(String, &'a DestinationRule)>,
    pub(super) gateways: BTreeMap<(&'a str, &'a str), &'a Gateway>,
    pub(super) virtual_services: BTreeMap<(&'a str, &'a str), &'a VirtualService>,
    pub(super) workloads: Vec<Workload<'a>>,
    pub(super) namespaces: BTreeSet<&'a str>,
    pub(super) accounts: BTreeSet<(&'a str, &'a str)>,
    /// The modes of PeerAuthentications without selector, by namespace.
    pub(super) peer_modes: BTreeMap<&'a str, MutualTlsMode>,
    pub(super) secrets: BTreeMap<(&'a str, &'a str), &'a Secret>,
}

impl<'a> World<'a> {
    pub(super) fn new(objects: &[&'a Arc<Object>]) -> Self {
        let mut world = Self { mesh: MeshConfig::of(objects.iter().copied()), ..Self::default() };
        world.accounts.insert(("istio-system", "istio-ingressgateway-service-account"));
        for object in objects {
            world.add(object);
        }
        world
    }

    fn add(&mut self, object: &'a Object) {
        let meta = &object.meta;
        let id = (meta.namespace.as_str(), meta.name.as_str());
        match &object.spec {
            Spec::Service(service) => {
                let host = host::service_fqdn(&meta.name, &meta.namespace, CLUSTER_DOMAIN);
                let ports = service.ports.iter().map(|port| port.port).collect();
                let callee = Callee { ports, selector: Some(&service.selector) };
                self.services.insert(host, (meta, callee));
            }
            Spec::ServiceEntry(entry) => self.add_entry(meta, entry),
            Spec::WorkloadEntry(entry) => self.entries.push((id.0, &entry.labels)),
            Spec::DestinationRule(rule) => {
                let host = host::resolve_short_name(&rule.host, &meta.namespace, CLUSTER_DOMAIN);
                self.rules.push((host, rule));
            }
            Spec::Gateway(gateway) => {
                self.gateways.insert(id, gateway);
            }
            Spec::VirtualService(vs) => {
                self.virtual_services.insert(id, vs);
            }
            Spec::Deployment(deployment) => self.workloads.push(Workload {
                namespace: id.0,
                labels: &deployment.template.metadata.labels,
                spec: &deployment.template.spec,
            }),
            Spec::Pod(pod) => self.workloads.push(Workload {
                namespace: id.0,
                labels: &meta.labels,
                spec: &pod.spec,
            }),
            Spec::Namespace(_) => {
                self.namespaces.insert(id.1);
            }
            Spec::ServiceAccount(_) => {
                self.accounts.insert(id);
            }
            Spec::PeerAuthentication(pa) if pa.selector.is_none() => {
                self.peer_modes.entry(id.0).or_insert(pa.mtls.mode);
            }
            Spec::Secret(secret) => {
                self.secrets.insert(id, secret);
            }
            _ => {}
        }
    }

    /// The Secret of this name.
    pub(super) fn secret(&self, namespace: &str, name: &str) -> Option<&'a Secret> {
        self.secrets.get(&(namespace, name)).copied()
    }

    fn add_entry(&mut self, meta: &'a ObjectMeta, entry: &'a ServiceEntry) {
        for host in &entry.hosts {
            // A Service keeps its name, whichever was read first.
            let squats = self
                .services
                .get(&host.to_ascii_lowercase())
                .is_some_and(|(other, _)| other.namespace == meta.namespace);
            if squats {
                continue;
            }
            let ports = entry.ports.iter().map(|port| port.number).collect();
            let selector = entry.workload_selector.as_ref().map(|selector| &selector.labels);
            self.services.insert(host.to_ascii_lowercase(), (meta, Callee { ports, selector }));
        }
    }

    /// Whether a WorkloadEntry of the namespace has these labels.
    pub(super) fn has_entry(&self, namespace: &str, wanted: &BTreeMap<String, String>) -> bool {
        self.entries
            .iter()
            .any(|(other, labels)| *other == namespace && label::selects(wanted, labels))
    }

    /// The workloads with these labels, of one namespace or of all.
    pub(super) fn selected<'s>(
        &'s self,
        namespace: Option<&'s str>,
        wanted: &'s BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'s Workload<'a>> {
        self.workloads.iter().filter(move |workload| {
            namespace.is_none_or(|namespace| workload.namespace == namespace)
                && label::selects(wanted, workload.labels)
        })
    }

    /// Whether a Gateway's selector means proxies that exist.
    pub(super) fn has_gateway_proxy(&self, wanted: &BTreeMap<String, String>) -> bool {
        let installed = wanted
            .iter()
            .all(|(key, value)| INGRESS_GATEWAY.contains(&(key.as_str(), value.as_str())));
        installed || self.selected(None, wanted).next().is_some()
    }

    /// Whether the namespace was declared, or needs no declaration. Where no Namespace is written
    /// at all nothing can be said.
    pub(super) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.is_empty()
            || self.namespaces.contains(name)
            || matches!(name, "default" | "kube-system" | "kube-public" | "kube-node-lease")
            || name == self.mesh.root_namespace
    }
}
