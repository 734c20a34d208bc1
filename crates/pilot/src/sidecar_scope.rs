//! What each proxy knows of the mesh: the services, listeners and rules that its Sidecar brings
//! in, or all that is visible to its namespace when it has none.
//!
//! A scope narrows what is generated. It protects nothing: what is left out is "not declared".

mod build;
mod hosts;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use config::{
    OutboundTrafficPolicyMode, Protocol, Sidecar,
    host::{self, CLUSTER_DOMAIN},
    networking::SidecarOutboundMode,
};

use crate::{
    Proxy, World,
    cluster::{OutboundName, PASSTHROUGH},
    virtual_service::{SidecarRules, VirtualServices},
    world::{Item, Service, ServicePort},
};

/// What one proxy knows of the mesh.
#[derive(Debug)]
pub(crate) struct SidecarScope {
    pub(crate) sidecar: Option<Arc<Item<Sidecar>>>,
    /// Oldest first, one for each host name, aliases included.
    services: Vec<Scoped>,
    /// Positions among `services`.
    by_hostname: BTreeMap<String, usize>,
    /// The listeners out of the workload; only the last may be without a port.
    pub(crate) listeners: Vec<EgressScope>,
}

/// A service, and what of it is known.
#[derive(Debug)]
pub(crate) struct Scoped {
    pub(crate) service: Arc<Service>,
    /// None: all.
    ports: Option<BTreeSet<u16>>,
}

impl Scoped {
    /// The ports that calls can go to.
    pub(crate) fn ports(&self) -> impl Iterator<Item = &ServicePort> {
        self.service.ports.iter().filter(|port| self.has(port.port))
    }

    /// Whether a port is known.
    pub(crate) fn has(&self, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.contains(&port))
    }
}

/// One listener out of the workload: which services it leads to, by which rules.
#[derive(Debug)]
pub(crate) struct EgressScope {
    pub(crate) port: Option<EgressPort>,
    /// One for each host name, oldest first.
    services: Vec<Arc<Service>>,
    /// Positions among `services`.
    by_hostname: BTreeMap<String, usize>,
    pub(crate) rules: SidecarRules,
}

/// The port of a Sidecar's egress listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EgressPort {
    /// 0 for a Unix socket.
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
    pub(crate) bind: Bind,
    /// Whether connections are captured, as opposed to made to the listener itself.
    pub(crate) captured: bool,
}

/// Where an egress listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// At the services' own addresses.
    Services,
    /// At an address.
    Ip(IpAddr),
    /// At a Unix socket.
    Pipe(String),
}

impl EgressScope {
    /// The services that it leads to, without those that are only other names.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().map(Arc::as_ref).filter(|service| !service.is_alias())
    }

    /// The service with this host name, unless it is only another name.
    pub(crate) fn service(&self, hostname: &str) -> Option<&Service> {
        let service = self.services.get(*self.by_hostname.get(hostname)?)?;
        (!service.is_alias()).then_some(service)
    }

    /// Whether the application connects to it, and no original destination is known.
    pub(crate) fn is_bound(&self) -> bool {
        self.port.as_ref().is_some_and(|port| !port.captured)
    }
}

impl SidecarScope {
    /// The services, without those that are only other names.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Scoped> {
        self.services.iter().filter(|scoped| !scoped.service.is_alias())
    }

    /// All of them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().map(|scoped| scoped.service.as_ref())
    }

    /// The service with this host name.
    pub(crate) fn find(&self, hostname: &str) -> Option<&Scoped> {
        self.services.get(*self.by_hostname.get(hostname)?)
    }

    /// The same, without what is known of it.
    pub(crate) fn service(&self, hostname: &str) -> Option<&Service> {
        self.find(hostname).map(|scoped| scoped.service.as_ref())
    }

    /// The listener that calls to a port go through.
    pub(crate) fn listener_of_port(&self, number: u16) -> Option<&EgressScope> {
        let own = |listener: &&EgressScope| {
            listener.port.as_ref().is_some_and(|port| port.number == number)
        };
        self.listeners
            .iter()
            .find(own)
            .or_else(|| self.listeners.iter().find(|listener| listener.port.is_none()))
    }

    /// The listener at a Unix socket.
    pub(crate) fn listener_of_pipe(&self, path: &str) -> Option<&EgressScope> {
        self.listeners.iter().find(|listener| {
            listener.port.as_ref().is_some_and(|port| port.bind == Bind::Pipe(path.to_owned()))
        })
    }

    /// Where calls go that nobody declared; none: nowhere.
    pub(crate) fn unmatched(&self, world: &World) -> Option<String> {
        let item = self.sidecar.as_ref();
        let own = item.and_then(|item| Some((item, item.spec.outbound_traffic_policy.as_ref()?)));
        let Some((item, policy)) = own else {
            return match world.mesh.outbound_traffic_policy.mode {
                OutboundTrafficPolicyMode::AllowAny => Some(PASSTHROUGH.to_owned()),
                OutboundTrafficPolicyMode::RegistryOnly => None,
            };
        };
        match (policy.mode, &policy.egress_proxy) {
            (SidecarOutboundMode::RegistryOnly, _) => None,
            (SidecarOutboundMode::AllowAny, None) => Some(PASSTHROUGH.to_owned()),
            (SidecarOutboundMode::AllowAny, Some(proxy)) => {
                let namespace = &item.meta.namespace;
                let host = host::resolve_short_name(&proxy.host, namespace, CLUSTER_DOMAIN);
                let port = proxy.port.map_or(0, |port| port.number);
                let name = OutboundName { port, subset: &proxy.subset, host: &host };
                Some(name.to_string())
            }
        }
    }
}

/// The scopes of all proxies, made when they are first asked for.
#[derive(Debug)]
pub(crate) struct Scopes {
    namespaces: BTreeMap<String, NamespaceScopes>,
    /// Of namespaces that the world does not mention.
    elsewhere: NamespaceScopes,
    /// The root namespace's Sidecar without a selector.
    root: Option<Arc<Item<Sidecar>>>,
}

#[derive(Debug, Default)]
struct NamespaceScopes {
    /// Without any Sidecar.
    whole: OnceLock<SidecarScope>,
    /// By the root namespace's.
    by_root: OnceLock<SidecarScope>,
    /// By the namespace's own, those with a selector first, each oldest first.
    own: Vec<(Arc<Item<Sidecar>>, OnceLock<SidecarScope>)>,
}

impl Scopes {
    pub(crate) fn new(world: &World) -> Self {
        let root = world.root_namespace();
        let mut namespaces: BTreeMap<String, NamespaceScopes> = world
            .namespaces
            .iter()
            .map(|name| (name.clone(), NamespaceScopes::default()))
            .collect();
        let (selecting, general): (Vec<_>, Vec<_>) =
            world.sidecars.iter().partition(|item| item.spec.selector().is_some());
        let in_root = general.iter().find(|item| item.meta.namespace == root);
        let in_root = in_root.map(|item| Arc::clone(item));
        for item in selecting.into_iter().chain(general) {
            let scopes = namespaces.entry(item.meta.namespace.clone()).or_default();
            scopes.own.push((Arc::clone(item), OnceLock::new()));
        }
        Self { namespaces, elsewhere: NamespaceScopes::default(), root: in_root }
    }

    /// The scope of a proxy. Gateways know everything.
    pub(crate) fn of(
        &self,
        proxy: &Proxy,
        world: &World,
        virtual_services: &VirtualServices,
    ) -> &SidecarScope {
        let scopes = self.namespaces.get(&proxy.namespace).unwrap_or(&self.elsewhere);
        let namespace = match self.namespaces.contains_key(&proxy.namespace) {
            true => proxy.namespace.as_str(),
            false => "",
        };
        let input = build::Input { world, virtual_services, namespace };
        if proxy.is_router() {
            return scopes.whole.get_or_init(|| input.build(None));
        }
        let own = scopes.own.iter().find(|(item, _)| {
            item.spec.selector().is_none_or(|selector| selector.matches(&proxy.labels))
        });
        match (own, &self.root) {
            (Some((item, scope)), _) => scope.get_or_init(|| input.build(Some(item))),
            (None, Some(item)) => scopes.by_root.get_or_init(|| input.build(Some(item))),
            (None, None) => scopes.whole.get_or_init(|| input.build(None)),
        }
    }
}
