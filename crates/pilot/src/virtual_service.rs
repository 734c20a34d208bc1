//! VirtualServices with their hosts and gateways resolved, and which of them hold for a proxy.

use std::{collections::BTreeMap, sync::Arc};

use config::{
    VirtualService,
    host::{self, CLUSTER_DOMAIN},
    visibility::Visibility,
};

use crate::{World, world::Item};

/// The reserved name for all sidecars.
pub(crate) const MESH_GATEWAY: &str = "mesh";

/// A VirtualService with its names resolved.
#[derive(Debug)]
pub(crate) struct ResolvedVirtualService {
    pub(crate) item: Arc<Item<VirtualService>>,
    /// Full host names, in lower case.
    pub(crate) hosts: Vec<String>,
    /// `mesh` or `namespace/name`.
    pub(crate) gateways: Vec<String>,
    visibility: Visibility,
}

impl ResolvedVirtualService {
    fn new(item: &Arc<Item<VirtualService>>, default_export: &[String]) -> Self {
        let namespace = &item.meta.namespace;
        let spec = &item.spec;
        Self {
            item: Arc::clone(item),
            hosts: spec
                .hosts
                .iter()
                .map(|name| host::resolve_short_name(name, namespace, CLUSTER_DOMAIN))
                .collect(),
            gateways: spec
                .gateways_or_mesh()
                .into_iter()
                .map(|name| resolve_gateway(name, namespace))
                .collect(),
            visibility: Visibility::new(&spec.export_to, default_export, namespace),
        }
    }

    /// Whether it is bound to this gateway.
    pub(crate) fn is_bound_to(&self, gateway: &str) -> bool {
        self.gateways.iter().any(|name| name == gateway)
    }

    /// Whether a proxy in `namespace` sees it.
    pub(crate) fn is_visible_in(&self, namespace: &str) -> bool {
        self.visibility.includes(namespace)
    }

    /// The full name of a destination's host.
    pub(crate) fn resolve_host(&self, name: &str) -> String {
        host::resolve_short_name(name, &self.item.meta.namespace, CLUSTER_DOMAIN)
    }
}

/// `namespace/name` of a gateway as a VirtualService in `namespace` names it; `mesh` stays.
pub(crate) fn resolve_gateway(name: &str, namespace: &str) -> String {
    if name == MESH_GATEWAY {
        return name.to_owned();
    }
    match name.split_once('/') {
        Some((".", name)) => format!("{namespace}/{name}"),
        Some(_) => name.to_owned(),
        // The legacy form `name.namespace…`: a gateway's own name has no dots.
        None => match name.split_once('.') {
            Some((name, rest)) => {
                let namespace = rest.split('.').next().unwrap_or(rest);
                format!("{namespace}/{name}")
            }
            None => format!("{namespace}/{name}"),
        },
    }
}

/// All VirtualServices, oldest first; delegates are left out.
#[derive(Debug)]
pub(crate) struct VirtualServices {
    all: Vec<Arc<ResolvedVirtualService>>,
}

impl VirtualServices {
    pub(crate) fn new(world: &World) -> Self {
        let default_export = &world.mesh.default_virtual_service_export_to;
        let all = world.virtual_services.iter().filter(|item| !item.spec.is_delegate());
        Self {
            all: all.map(|i| Arc::new(ResolvedVirtualService::new(i, default_export))).collect(),
        }
    }

    /// Those that hold for sidecars in `namespace`: private ones of the namespace, then those
    /// exported to it by name, then public ones; each oldest first.
    pub(crate) fn for_sidecars(&self, namespace: &str) -> Vec<&Arc<ResolvedVirtualService>> {
        let mut found: Vec<_> = self
            .all
            .iter()
            .filter(|service| service.is_visible_in(namespace) && service.is_bound_to(MESH_GATEWAY))
            .collect();
        found.sort_by_key(|service| match &service.visibility {
            Visibility::Public => 2,
            _ if service.item.meta.namespace != namespace => 1,
            _ => 0,
        });
        found
    }

    /// Those bound to a gateway that a gateway proxy in `namespace` serves.
    pub(crate) fn for_gateway<'a>(
        &'a self,
        namespace: &'a str,
        gateway: &'a str,
    ) -> impl Iterator<Item = &'a Arc<ResolvedVirtualService>> {
        self.all
            .iter()
            .filter(move |service| service.is_visible_in(namespace) && service.is_bound_to(gateway))
    }
}

/// What holds for the sidecars of one namespace, by host.
pub(crate) struct SidecarRules<'a> {
    /// In the order in which they claim hosts.
    pub(crate) rules: Vec<&'a Arc<ResolvedVirtualService>>,
    by_host: BTreeMap<&'a str, &'a ResolvedVirtualService>,
    /// Longest first.
    wildcards: Vec<(&'a str, &'a ResolvedVirtualService)>,
}

impl<'a> SidecarRules<'a> {
    pub(crate) fn new(services: &'a VirtualServices, namespace: &str) -> Self {
        let rules = services.for_sidecars(namespace);
        let mut by_host: BTreeMap<&str, &ResolvedVirtualService> = BTreeMap::new();
        for &rule in &rules {
            for host in &rule.hosts {
                by_host.entry(host).or_insert(rule);
            }
        }
        let wildcards = by_host.iter().filter(|(host, _)| host::is_wildcard(host));
        let mut wildcards: Vec<_> = wildcards.map(|(host, rule)| (*host, *rule)).collect();
        wildcards.sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
        Self { rules, by_host, wildcards }
    }

    /// The rule for a service: the first with its name, else the first with the most specific
    /// wildcard.
    pub(crate) fn for_service(&self, hostname: &str) -> Option<&'a ResolvedVirtualService> {
        let wildcard = || self.wildcards.iter().find(|(host, _)| host::covers(host, hostname));
        self.by_host.get(hostname).copied().or_else(|| wildcard().map(|(_, rule)| *rule))
    }
}
