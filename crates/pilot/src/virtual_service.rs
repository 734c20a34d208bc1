//! VirtualServices with their hosts and gateways resolved, and which of them hold for a proxy.

mod delegate;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use config::{
    VirtualService,
    host::{self, CLUSTER_DOMAIN},
    networking::HttpRoute,
    visibility::Visibility,
};

pub(crate) use delegate::{Delegates, Undelegated};

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
    /// The rules with those of delegates in their places, where it has any.
    delegated: Option<Vec<HttpRoute>>,
}

impl ResolvedVirtualService {
    fn new(
        item: &Arc<Item<VirtualService>>,
        default_export: &[String],
        delegates: &Delegates<'_>,
    ) -> Self {
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
            delegated: delegates.merged(item),
        }
    }

    /// The HTTP rules, in their order.
    pub(crate) fn http(&self) -> &[HttpRoute] {
        self.delegated.as_deref().unwrap_or(&self.item.spec.http)
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

/// All VirtualServices, oldest first; delegates are in the roots that name them.
#[derive(Debug)]
pub(crate) struct VirtualServices {
    all: Vec<Arc<ResolvedVirtualService>>,
    /// Positions among `all`, by gateway.
    by_gateway: BTreeMap<String, Vec<usize>>,
}

impl VirtualServices {
    pub(crate) fn new(world: &World) -> Self {
        let default_export = &world.mesh.default_virtual_service_export_to;
        let all = world.virtual_services.iter().filter(|item| !item.spec.is_delegate());
        let delegates = Delegates::new(world);
        let resolve = |item| ResolvedVirtualService::new(item, default_export, &delegates);
        let all: Vec<_> = all.map(|item| Arc::new(resolve(item))).collect();
        let mut by_gateway: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (position, service) in all.iter().enumerate() {
            for gateway in &service.gateways {
                let positions = by_gateway.entry(gateway.clone()).or_default();
                if positions.last() != Some(&position) {
                    positions.push(position);
                }
            }
        }
        Self { all, by_gateway }
    }

    /// Those that are bound to a gateway, oldest first.
    fn bound_to(&self, gateway: &str) -> impl Iterator<Item = &Arc<ResolvedVirtualService>> {
        let positions = self.by_gateway.get(gateway).into_iter().flatten();
        positions.filter_map(|position| self.all.get(*position))
    }

    /// Those that hold for sidecars in `namespace`: private ones of the namespace, then those
    /// exported to it by name, then public ones; each oldest first.
    pub(crate) fn for_sidecars(&self, namespace: &str) -> Vec<Arc<ResolvedVirtualService>> {
        let visible = self.bound_to(MESH_GATEWAY).filter(|rule| rule.is_visible_in(namespace));
        let mut found: Vec<_> = visible.cloned().collect();
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
        self.bound_to(gateway).filter(move |service| service.is_visible_in(namespace))
    }
}

/// What holds for the calls of a sidecar, by host.
#[derive(Debug)]
pub(crate) struct SidecarRules {
    /// In the order in which they claim hosts.
    pub(crate) rules: Vec<Arc<ResolvedVirtualService>>,
    /// Positions among `rules`.
    by_host: BTreeMap<String, Vec<usize>>,
    /// The same for wildcards, longest first.
    wildcards: Vec<(String, Vec<usize>)>,
}

impl SidecarRules {
    pub(crate) fn new(rules: Vec<Arc<ResolvedVirtualService>>) -> Self {
        let mut by_host: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (position, rule) in rules.iter().enumerate() {
            for host in &rule.hosts {
                by_host.entry(host.clone()).or_default().push(position);
            }
        }
        let wildcards = by_host.iter().filter(|(host, _)| host::is_wildcard(host));
        let mut wildcards: Vec<_> =
            wildcards.map(|(host, positions)| (host.clone(), positions.clone())).collect();
        wildcards.sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
        Self { rules, by_host, wildcards }
    }

    /// The rules for a service, the one to be taken first: those with its name, then those with the
    /// most specific wildcard.
    pub(crate) fn for_service(
        &self,
        hostname: &str,
    ) -> impl Iterator<Item = &ResolvedVirtualService> {
        let exact = self.by_host.get(hostname).into_iter();
        let wildcards = self.wildcards.iter().filter(move |(host, _)| host::covers(host, hostname));
        let positions = exact.chain(wildcards.map(|(_, positions)| positions)).flatten();
        positions.filter_map(|position| self.rules.get(*position)).map(AsRef::as_ref)
    }

    /// The rules that speak of a service at all, in the order in which they claim hosts.
    pub(crate) fn about_service(
        &self,
        hostname: &str,
    ) -> impl Iterator<Item = &ResolvedVirtualService> {
        let exact = self.by_host.get(hostname).into_iter();
        let wildcards = self.wildcards.iter().filter(|(host, _)| host::covers(host, hostname));
        let positions: BTreeSet<usize> =
            exact.chain(wildcards.map(|(_, positions)| positions)).flatten().copied().collect();
        positions.into_iter().filter_map(|position| self.rules.get(position)).map(AsRef::as_ref)
    }
}
