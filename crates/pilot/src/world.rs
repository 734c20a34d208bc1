//! The objects of a mesh, indexed: services by host name with their endpoints and workloads, and
//! the rules by kind, each list oldest first. Nothing here depends on which proxy asks.

mod endpoint;
mod item;
mod service;
mod service_entry;
mod workload;
mod workload_entry;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use config::{
    AuthorizationPolicy, DestinationRule, EnvoyFilter, Gateway, MeshConfig, Object,
    PeerAuthentication, Secret, ServiceEntry, Sidecar, Spec, Telemetry, VirtualService,
    WorkloadEntry, visibility::Visibility,
};

pub(crate) use endpoint::ServiceEndpoint;
pub(crate) use item::Item;
pub(crate) use service::{Addressing, Resolution, Service, ServicePort};
pub(crate) use workload::Workload;

/// The objects of a mesh, indexed for generation.
#[derive(Debug)]
pub struct World {
    pub(crate) mesh: MeshConfig,
    /// Oldest first.
    pub(crate) services: Vec<Arc<Service>>,
    /// Positions among `services`, oldest first.
    by_hostname: BTreeMap<String, Vec<usize>>,
    /// Other names of a service, by its host name.
    aliases: BTreeMap<String, Vec<Arc<Service>>>,
    endpoints: endpoint::Endpoints,
    /// Every namespace that something is in or that something is for.
    pub(crate) namespaces: BTreeSet<String>,
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
    pub(crate) sidecars: Vec<Arc<Item<Sidecar>>>,
    pub(crate) service_entries: Vec<Arc<Item<ServiceEntry>>>,
    pub(crate) workload_entries: Vec<Arc<Item<WorkloadEntry>>>,
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
        let collected = service::collect(&objects, &mesh);
        let workloads = workload::Workloads::collect(&objects);
        let endpoints = endpoint::collect(&objects, &collected, &workloads);
        let services: Vec<Arc<Service>> =
            collected.into_iter().map(|(service, _)| service).collect();
        let namespaces = namespaces(&objects, &services);
        let mut by_hostname: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut aliases: BTreeMap<String, Vec<Arc<Service>>> = BTreeMap::new();
        let mut services_by_ip: BTreeMap<IpAddr, BTreeSet<usize>> = BTreeMap::new();
        let mut services_by_namespace: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (position, service) in services.iter().enumerate() {
            if let Addressing::Alias(target) = &service.addressing {
                aliases.entry(target.clone()).or_default().push(Arc::clone(service));
            }
            by_hostname.entry(service.hostname.clone()).or_default().push(position);
            let of_host = endpoints.get(&service.hostname);
            let own = of_host.and_then(|namespaces| namespaces.get(&service.namespace));
            for ip in own.into_iter().flatten().filter_map(ServiceEndpoint::ip) {
                services_by_ip.entry(ip).or_default().insert(position);
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
            namespaces,
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
            sidecars: select(&objects, |spec| match spec {
                Spec::Sidecar(spec) => Some(spec),
                _ => None,
            }),
            service_entries: select(&objects, |spec| match spec {
                Spec::ServiceEntry(spec) => Some(spec),
                _ => None,
            }),
            workload_entries: select(&objects, |spec| match spec {
                Spec::WorkloadEntry(spec) => Some(spec),
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

    /// The services with this host name, each of another namespace, with their positions: oldest
    /// first.
    pub(crate) fn named(&self, hostname: &str) -> impl Iterator<Item = (usize, &Arc<Service>)> {
        let positions = self.by_hostname.get(hostname).map_or(&[][..], Vec::as_slice);
        positions.iter().filter_map(|position| Some((*position, self.services.get(*position)?)))
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

    /// All endpoints of a service, by port name and address.
    pub(crate) fn endpoints(&self, service: &Service) -> &[ServiceEndpoint] {
        let namespaces = self.endpoints.get(&service.hostname);
        let own = namespaces.and_then(|namespaces| namespaces.get(&service.namespace));
        own.map_or(&[], Vec::as_slice)
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

fn namespaces(objects: &[Arc<Object>], services: &[Arc<Service>]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for object in objects {
        names.insert(object.meta.namespace.clone());
        let export_to: &[String] = match &object.spec {
            Spec::Namespace(_) => {
                names.insert(object.meta.name.clone());
                continue;
            }
            Spec::VirtualService(spec) => &spec.export_to,
            _ => continue,
        };
        names.extend(export_to.iter().cloned());
    }
    for service in services {
        if let Visibility::Namespaces(viewers) = &service.visibility {
            names.extend(viewers.iter().cloned());
        }
    }
    names
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
