//! The objects of a mesh, indexed: services by host name with their endpoints and workloads, and
//! the rules by kind, each list oldest first. Nothing here depends on which proxy asks.

mod endpoint;
mod item;
mod service;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use config::{
    AuthorizationPolicy, DestinationRule, EnvoyFilter, Gateway, MeshConfig, Object,
    PeerAuthentication, Secret, Spec, Telemetry, VirtualService,
};

pub(crate) use endpoint::ServiceEndpoint;
pub(crate) use item::Item;
pub(crate) use service::{Addressing, Service, ServicePort};
pub(crate) use workload::Workload;

/// The objects of a mesh, indexed for generation.
#[derive(Debug)]
pub struct World {
    pub(crate) mesh: MeshConfig,
    /// Oldest first.
    pub(crate) services: Vec<Arc<Service>>,
    by_hostname: BTreeMap<String, Arc<Service>>,
    /// Other names of a service, by its host name.
    aliases: BTreeMap<String, Vec<Arc<Service>>>,
    endpoints: BTreeMap<String, Vec<ServiceEndpoint>>,
    /// Positions among `services` of those that have an endpoint with an address.
    services_by_ip: BTreeMap<IpAddr, BTreeSet<usize>>,
    services_by_namespace: BTreeMap<String, BTreeSet<usize>>,
    workloads_by_ip: BTreeMap<IpAddr, Arc<Workload>>,
    /// By namespace, then name.
    secrets: BTreeMap<String, BTreeMap<String, Secret>>,
    /// All oldest first.
    pub(crate) virtual_services: Vec<Arc<Item<VirtualService>>>,
    pub(crate) destination_rules: Vec<Arc<Item<DestinationRule>>>,
    pub(crate) gateways: Vec<Arc<Item<Gateway>>>,
    pub(crate) peer_authentications: Vec<Arc<Item<PeerAuthentication>>>,
    pub(crate) authorization_policies: Vec<Arc<Item<AuthorizationPolicy>>>,
    pub(crate) envoy_filters: Vec<Arc<Item<EnvoyFilter>>>,
    pub(crate) telemetries: Vec<Arc<Item<Telemetry>>>,
}

impl World {
    /// Indexes `objects`. Services without an address get one from
    /// [`config::assign_cluster_ips`]; endpoints come from EndpointSlices and learn their labels
    /// and identity from Pods, by `targetRef` or else by address.
    #[must_use]
    pub fn new(objects: impl IntoIterator<Item = Arc<Object>>) -> Self {
        let mut objects: Vec<Arc<Object>> = objects.into_iter().collect();
        objects.sort_by(|a, b| a.by_age(b).then_with(|| a.key().cmp(&b.key())));
        let mesh = MeshConfig::of(&objects);
        let services = service::collect(&objects, &mesh);
        let workloads = workload::Workloads::collect(&objects);
        let by_hostname: BTreeMap<String, Arc<Service>> =
            services.iter().rev().map(|s| (s.hostname.clone(), Arc::clone(s))).collect();
        let endpoints = endpoint::collect(&objects, &by_hostname, &workloads);
        let mut aliases: BTreeMap<String, Vec<Arc<Service>>> = BTreeMap::new();
        let mut services_by_ip: BTreeMap<IpAddr, BTreeSet<usize>> = BTreeMap::new();
        let mut services_by_namespace: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (position, service) in services.iter().enumerate() {
            if let Addressing::Alias(target) = &service.addressing {
                aliases.entry(target.clone()).or_default().push(Arc::clone(service));
            }
            for endpoint in endpoints.get(&service.hostname).into_iter().flatten() {
                services_by_ip.entry(endpoint.ip).or_default().insert(position);
            }
            services_by_namespace.entry(service.namespace.clone()).or_default().insert(position);
        }
        Self {
            services,
            by_hostname,
            aliases,
            endpoints,
            services_by_ip,
            services_by_namespace,
            workloads_by_ip: workloads.by_ip,
            secrets: secrets(&objects),
            virtual_services: select(&objects, |spec| match spec {
                Spec::VirtualService(spec) => Some(spec),
                _ => None,
            }),
            destination_rules: select(&objects, |spec| match spec {
                Spec::DestinationRule(spec) => Some(spec),
                _ => None,
            }),
            gateways: select(&objects, |spec| match spec {
                Spec::Gateway(spec) => Some(spec),
                _ => None,
            }),
            peer_authentications: select(&objects, |spec| match spec {
                Spec::PeerAuthentication(spec) => Some(spec),
                _ => None,
            }),
            authorization_policies: select(&objects, |spec| match spec {
                Spec::AuthorizationPolicy(spec) => Some(spec),
                _ => None,
            }),
            telemetries: select(&objects, |spec| match spec {
                Spec::Telemetry(spec) => Some(spec),
                _ => None,
            }),
            envoy_filters: select(&objects, |spec| match spec {
                Spec::EnvoyFilter(spec) => Some(spec),
                _ => None,
            }),
            mesh,
        }
    }

    /// The mesh's settings.
    #[must_use]
    pub fn mesh(&self) -> &MeshConfig {
        &self.mesh
    }

    /// The service with this full host name.
    pub(crate) fn service(&self, hostname: &str) -> Option<&Arc<Service>> {
        self.by_hostname.get(hostname)
    }

    /// The services that are only other names of the one with this host name, oldest first.
    pub(crate) fn aliases(&self, hostname: &str) -> &[Arc<Service>] {
        self.aliases.get(hostname).map_or(&[], Vec::as_slice)
    }

    /// The services that may have a workload in `namespace` with these addresses behind them, oldest
    /// first: those of the namespace, and those with such an endpoint.
    pub(crate) fn candidates(&self, namespace: &str, ips: &[IpAddr]) -> Vec<&Arc<Service>> {
        let by_ip = ips.iter().filter_map(|ip| self.services_by_ip.get(ip));
        let by_namespace = self.services_by_namespace.get(namespace);
        let positions: BTreeSet<usize> = by_ip.chain(by_namespace).flatten().copied().collect();
        positions.into_iter().filter_map(|position| self.services.get(position)).collect()
    }

    /// All endpoints of the service with this host name, by port name and address.
    pub(crate) fn endpoints(&self, hostname: &str) -> &[ServiceEndpoint] {
        self.endpoints.get(hostname).map_or(&[], Vec::as_slice)
    }

    /// The workload that has one of these addresses.
    pub(crate) fn workload_at(&self, ips: &[IpAddr]) -> Option<&Arc<Workload>> {
        ips.iter().find_map(|ip| self.workloads_by_ip.get(ip))
    }

    /// The Secret of this name.
    pub(crate) fn secret(&self, namespace: &str, name: &str) -> Option<&Secret> {
        self.secrets.get(namespace)?.get(name)
    }

    /// The mesh's own namespace.
    pub(crate) fn root_namespace(&self) -> &str {
        &self.mesh.root_namespace
    }

    /// The trust domain and its other names, the trust domain first.
    pub(crate) fn trust_domains(&self) -> Vec<&str> {
        let mut domains = vec![self.mesh.trust_domain.as_str()];
        for alias in &self.mesh.trust_domain_aliases {
            if !domains.contains(&alias.as_str()) {
                domains.push(alias);
            }
        }
        domains
    }
}

fn secrets(objects: &[Arc<Object>]) -> BTreeMap<String, BTreeMap<String, Secret>> {
    let mut secrets: BTreeMap<String, BTreeMap<String, Secret>> = BTreeMap::new();
    for object in objects {
        if let Spec::Secret(secret) = &object.spec {
            let names = secrets.entry(object.meta.namespace.clone()).or_default();
            names.insert(object.meta.name.clone(), secret.clone());
        }
    }
    secrets
}

/// The objects of one kind, in the order given.
fn select<T: Clone>(
    objects: &[Arc<Object>],
    pick: impl Fn(&Spec) -> Option<&T>,
) -> Vec<Arc<Item<T>>> {
    objects
        .iter()
        .filter_map(|object| pick(&object.spec).map(|spec| Arc::new(Item::new(object, spec))))
        .collect()
}
