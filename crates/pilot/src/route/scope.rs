//! For whom routes are made: a proxy, on a port, behind some gateways. Conditions on the source are
//! settled here: a proxy is not sent routes that are for others.

use std::collections::BTreeMap;

use config::{
    label,
    networking::{Destination, HttpMatchRequest, L4MatchAttributes, TlsMatchAttributes},
};

use crate::{
    Proxy, PushContext,
    cluster::OutboundName,
    virtual_service::{MESH_GATEWAY, ResolvedVirtualService, resolve_gateway},
};

/// For whom routes are made.
pub(crate) struct RouteScope<'a> {
    pub(crate) push: &'a PushContext,
    pub(crate) proxy: &'a Proxy,
    /// `mesh`, or the gateways that are served.
    gateways: Vec<String>,
    /// The service's port, or the gateway server's.
    pub(crate) port: u16,
}

impl<'a> RouteScope<'a> {
    /// A sidecar's, for calls to a service port.
    pub(crate) fn mesh(push: &'a PushContext, proxy: &'a Proxy, port: u16) -> Self {
        Self { push, proxy, gateways: vec![MESH_GATEWAY.to_owned()], port }
    }

    /// A gateway proxy's.
    pub(crate) fn gateway(
        push: &'a PushContext,
        proxy: &'a Proxy,
        gateway: String,
        port: u16,
    ) -> Self {
        Self { push, proxy, gateways: vec![gateway], port }
    }

    /// Whether the conditions of one match on gateways, source and port hold. Gateways, where named,
    /// stand in place of the conditions on the source.
    pub(crate) fn applies<'m>(
        &self,
        virtual_service: &ResolvedVirtualService,
        matches: impl Into<SourceMatch<'m>>,
    ) -> bool {
        let matches = matches.into();
        if matches.port.is_some_and(|port| port != self.port) {
            return false;
        }
        if !matches.gateways.is_empty() {
            let namespace = &virtual_service.item.meta.namespace;
            let mut names = matches.gateways.iter().map(|name| resolve_gateway(name, namespace));
            return names.any(|name| self.gateways.contains(&name));
        }
        label::selects(matches.labels, &self.proxy.labels)
            && (matches.namespace.is_empty() || matches.namespace == self.proxy.namespace)
    }
}

/// The conditions of a match that are settled here.
pub(crate) struct SourceMatch<'a> {
    gateways: &'a [String],
    labels: &'a BTreeMap<String, String>,
    namespace: &'a str,
    port: Option<u16>,
}

macro_rules! source_match {
    ($($kind:ty),*) => {
        $(impl<'a> From<&'a $kind> for SourceMatch<'a> {
            fn from(matches: &'a $kind) -> Self {
                Self {
                    gateways: &matches.gateways,
                    labels: &matches.source_labels,
                    namespace: &matches.source_namespace,
                    port: matches.port,
                }
            }
        })*
    };
}

source_match!(HttpMatchRequest, TlsMatchAttributes, L4MatchAttributes);

/// The cluster of a destination. Without a port it is the service's only one, else the listener's.
/// A host that nobody declared still names a cluster: the proxy answers 503.
pub(crate) fn destination_cluster(
    scope: &RouteScope<'_>,
    virtual_service: &ResolvedVirtualService,
    destination: &Destination,
) -> String {
    let (host, port) = destination_host(scope, virtual_service, destination);
    OutboundName { port, subset: &destination.subset, host: &host }.to_string()
}

/// The full host name and the port of a destination. A service that is another name for one in the
/// mesh stands for that one.
pub(super) fn destination_host(
    scope: &RouteScope<'_>,
    virtual_service: &ResolvedVirtualService,
    destination: &Destination,
) -> (String, u16) {
    let host = virtual_service.resolve_host(&destination.host);
    let service = scope.push.scope(scope.proxy).service(&host);
    let host = match service.map(|service| &service.addressing) {
        Some(crate::world::Addressing::Alias(target)) => target.clone(),
        _ => host,
    };
    let port = match (destination.port, service.map(|service| service.ports.as_slice())) {
        (Some(selector), _) => selector.number,
        (None, Some([only])) => only.port,
        (None, _) => scope.port,
    };
    (host, port)
}
