//! The objects of a mesh, indexed: services by host name with their endpoints and workloads, and
//! the rules by kind, each list oldest first. Nothing here depends on which proxy asks.

mod endpoint;
mod item;
mod service;
mod workload;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use config::{
    AuthorizationPolicy, DestinationRule, Gateway, MeshConfig, Object, PeerAuthentication, Spec,
    VirtualService,
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
    endpoints: BTreeMap<String, Vec<ServiceEndpoint>>,
    workloads_by_ip: BTreeMap<IpAddr, Arc<Workload>>,
    /// All oldest first.
    pub(crate) virtual_services: Vec<Arc<Item<VirtualService>>>,
    pub(crate) destination_rules: Vec<Arc<Item<DestinationRule>>>,
    pub(crate) gateways: Vec<Arc<Item<Gateway>>>,
    pub(crate) peer_authentications: Vec<Arc<Item<PeerAuthentication>>>,
    pub(crate) authorization_policies: Vec<Arc<Item<AuthorizationPolicy>>>,
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
        Self {
            services,
            by_hostname,
            endpoints,
            workloads_by_ip: workloads.by_ip,
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

    /// All endpoints of the service with this host name, by port name and address.
    pub(crate) fn endpoints(&self, hostname: &str) -> &[ServiceEndpoint] {
        self.endpoints.get(hostname).map_or(&[], Vec::as_slice)
    }

    /// The workload that has one of these addresses.
    pub(crate) fn workload_at(&self, ips: &[IpAddr]) -> Option<&Arc<Workload>> {
        ips.iter().find_map(|ip| self.workloads_by_ip.get(ip))
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
