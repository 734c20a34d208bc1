//! What is computed once for all proxies, and the entry points of generation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use config::Diagnostic;
use xds::{
    Cluster, Listener, LoadAssignment, NameTable, RouteConfiguration, Secret, patch::Patches,
};

use crate::{
    Proxy, World,
    authorization::AuthorizationPolicies,
    cluster,
    destination_rule::DestinationRules,
    diagnostics, endpoint,
    envoy_filter::EnvoyFilters,
    listener, name_table,
    peer_authentication::{MtlsMode, PeerAuthentications},
    route, secret,
    sidecar_scope::{Scopes, SidecarScope},
    telemetry::Telemetries,
    virtual_service::VirtualServices,
    world::{Service, ServiceEndpoint},
};

/// A world with all that is derived from it for generation. Immutable: a new world has a new one.
#[derive(Debug)]
pub struct PushContext {
    pub(crate) world: Arc<World>,
    pub(crate) destination_rules: DestinationRules,
    pub(crate) virtual_services: VirtualServices,
    pub(crate) peer_authentications: PeerAuthentications,
    pub(crate) authorization_policies: AuthorizationPolicies,
    pub(crate) envoy_filters: EnvoyFilters,
    pub(crate) telemetries: Telemetries,
    scopes: Scopes,
    /// The names that each service's servers may prove, by host name and namespace.
    identities: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    diagnostics: Vec<Diagnostic>,
}

impl PushContext {
    /// Computes what all proxies share.
    #[must_use]
    pub fn new(world: Arc<World>) -> Self {
        let destination_rules = DestinationRules::new(&world);
        let virtual_services = VirtualServices::new(&world);
        let peer_authentications = PeerAuthentications::new(&world);
        let authorization_policies = AuthorizationPolicies::new(&world);
        let identities = identities(&world);
        let (envoy_filters, refused) = EnvoyFilters::new(&world);
        let telemetries = Telemetries::new(&world);
        let mut diagnostics = diagnostics::collect(&world);
        diagnostics.extend(refused);
        diagnostics.sort();
        let scopes = Scopes::new(&world);
        Self {
            world,
            destination_rules,
            virtual_services,
            peer_authentications,
            authorization_policies,
            envoy_filters,
            telemetries,
            scopes,
            identities,
            diagnostics,
        }
    }

    /// What a proxy knows of the mesh.
    pub(crate) fn scope(&self, proxy: &Proxy) -> &SidecarScope {
        self.scopes.of(proxy, &self.world, &self.virtual_services)
    }

    /// The services that calls of a proxy can go to, oldest first.
    pub(crate) fn services(&self, proxy: &Proxy) -> impl Iterator<Item = &Service> {
        self.scope(proxy).services().map(|scoped| scoped.service.as_ref())
    }

    /// Whether an endpoint takes mutual TLS: its workload has a sidecar, and no policy turns it off on
    /// the port.
    pub(crate) fn takes_mtls(&self, endpoint: &ServiceEndpoint) -> bool {
        endpoint.workload.as_ref().is_some_and(|workload| {
            workload.takes_mtls()
                && self
                    .peer_authentications
                    .workload(&workload.namespace, &workload.labels)
                    .port(endpoint.port())
                    != MtlsMode::Disable
        })
    }

    /// The SPIFFE names of a service's workloads, in every name of the trust domain, and the other
    /// names that it may prove, sorted.
    pub(crate) fn identities(&self, service: &Service) -> &[String] {
        let namespaces = self.identities.get(&service.hostname);
        let own = namespaces.and_then(|namespaces| namespaces.get(&service.namespace));
        own.map_or(&[], Vec::as_slice)
    }

    /// The world that this is derived from.
    #[must_use]
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The clusters (CDS), sorted by Istio's order: outbound, then inbound, then the fixed ones.
    #[must_use]
    pub fn clusters(&self, proxy: &Proxy) -> Vec<Cluster> {
        cluster::clusters(self, proxy)
    }

    /// The endpoints (EDS) of the cluster `name`; none when the proxy has no such EDS cluster.
    #[must_use]
    pub fn load_assignment(&self, proxy: &Proxy, name: &str) -> Option<LoadAssignment> {
        endpoint::load_assignment(self, proxy, name)
    }

    /// The listeners (LDS).
    #[must_use]
    pub fn listeners(&self, proxy: &Proxy) -> Vec<Listener> {
        listener::listeners(self, proxy)
    }

    /// The route configuration (RDS) `name`; none when no listener of the proxy can refer to it. An
    /// ADS server answers such a name with an empty route configuration, as Istio does.
    #[must_use]
    pub fn route_configuration(&self, proxy: &Proxy, name: &str) -> Option<RouteConfiguration> {
        route::route_configuration(self, proxy, name)
    }

    /// The names of the route configurations that the proxy's listeners refer to, sorted.
    #[must_use]
    pub fn route_names(&self, proxy: &Proxy) -> Vec<String> {
        listener::route_names(&self.listeners(proxy))
    }

    /// The patches of EnvoyFilters for a proxy. They change resources after these are encoded: see
    /// [`xds::patch`].
    #[must_use]
    pub fn patches(&self, proxy: &Proxy) -> Patches {
        self.envoy_filters.patches(self, proxy)
    }

    /// The names (NDS) for the DNS proxy beside the proxy.
    #[must_use]
    pub fn name_table(&self, proxy: &Proxy) -> NameTable {
        name_table::name_table(self, proxy)
    }

    /// The secret (SDS) `name`, from the Secrets of the namespace that the proxy has proved to be
    /// of; none when it has no such Secret.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        secret::secret(&self.world, namespace, name)
    }

    /// What was found in the world while it was taken apart: conflicts that were settled, and
    /// features that are not supported.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

fn identities(world: &World) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let trust_domains = world.trust_domains();
    let mut all: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for service in &world.services {
        let workloads = world.endpoints(service).iter().filter_map(|e| e.workload.as_deref());
        let mut names: BTreeSet<String> = workloads
            .filter(|workload| !workload.service_account.is_empty())
            .flat_map(|workload| trust_domains.iter().map(|domain| workload.identity(domain)))
            .collect();
        names.extend(service.subject_alt_names.iter().cloned());
        let namespaces = all.entry(service.hostname.clone()).or_default();
        namespaces.insert(service.namespace.clone(), names.into_iter().collect());
    }
    all
}
