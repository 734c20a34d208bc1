//! The listeners of one proxy, in Istio's names and shapes.

mod filter;
mod gateway;
mod http;
mod inbound;
mod inbound_port;
mod outbound;
mod tcp;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use xds::{
    FilterChain, Listener, ListenerFilter, ListenerFilterKind, NetworkFilterConfig, RouteSpecifier,
    TrafficDirection,
};

pub(crate) use inbound_port::{InboundPort, inbound_ports, target_ports};

use crate::{Proxy, ProxyType, PushContext, access_log};

/// All listeners of a proxy.
pub(crate) fn listeners(push: &PushContext, proxy: &Proxy) -> Vec<Listener> {
    let mut listeners = match proxy.proxy_type {
        ProxyType::Router => gateway::listeners(push, proxy),
        ProxyType::Sidecar => {
            let mut listeners = outbound::listeners(push, proxy);
            listeners.push(outbound::virtual_outbound(push, proxy));
            listeners.extend(inbound::listeners(push, proxy));
            listeners
        }
    };
    push.telemetries.apply(push, proxy, &mut listeners);
    listeners
}

/// The names of the route configurations that listeners refer to, sorted.
pub(crate) fn route_names(listeners: &[Listener]) -> Vec<String> {
    let chains = listeners.iter().flat_map(|listener| {
        listener.filter_chains.iter().chain(listener.default_filter_chain.as_deref())
    });
    let names: BTreeSet<&str> =
        chains.flat_map(|chain| &chain.filters).filter_map(rds_name).collect();
    names.into_iter().map(str::to_owned).collect()
}

fn rds_name(filter: &xds::NetworkFilter) -> Option<&str> {
    let NetworkFilterConfig::HttpConnectionManager(manager) = &filter.config else { return None };
    match &manager.route_specifier {
        RouteSpecifier::Rds(name) => Some(name),
        RouteSpecifier::Inline(_) => None,
    }
}

/// The unspecified address in the proxy's family.
fn wildcard(proxy: &Proxy) -> IpAddr {
    if proxy.ips.first().is_some_and(IpAddr::is_ipv6) {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// A listener without chains.
fn empty(push: &PushContext, name: String, ip: IpAddr, port: u16) -> Listener {
    Listener {
        name,
        address: xds::Address::socket(ip, port),
        bind_to_port: true,
        use_original_dst: false,
        traffic_direction: TrafficDirection::Outbound,
        listener_filters: Vec::new(),
        listener_filters_timeout: None,
        continue_on_listener_filters_timeout: false,
        filter_chains: Vec::new(),
        default_filter_chain: None,
        access_log: access_log::listener_logs(&push.world.mesh),
    }
}

/// Adds the listener filters that the chains' matches need, and how long they may wait.
fn add_inspectors(push: &PushContext, listener: &mut Listener) {
    let chains = &listener.filter_chains;
    let needs = |wanted: fn(&FilterChain) -> bool| chains.iter().any(wanted);
    let tls = needs(|chain| {
        let matches = &chain.filter_chain_match;
        !matches.server_names.is_empty() || matches.transport_protocol.is_some()
    });
    let http = needs(|chain| {
        chain.filter_chain_match.application_protocols.iter().any(|name| name == "h2c")
    });
    if tls {
        listener.listener_filters.push(ListenerFilterKind::TlsInspector.into());
    }
    if http {
        listener.listener_filters.push(ListenerFilterKind::HttpInspector.into());
    }
    if tls || http {
        set_detection_timeout(push, listener);
    }
}

/// How long protocol detection may wait: for ever, unless the mesh says otherwise.
fn set_detection_timeout(push: &PushContext, listener: &mut Listener) {
    let timeout = push.world.mesh.protocol_detection_timeout.unwrap_or_default();
    listener.listener_filters_timeout = Some(timeout);
    listener.continue_on_listener_filters_timeout = true;
}

/// A listener filter that does not run on some destination ports.
fn except_ports(kind: ListenerFilterKind, ports: impl IntoIterator<Item = u16>) -> ListenerFilter {
    let disabled_ports = ports.into_iter().map(|port| (port, port)).collect();
    ListenerFilter { kind, disabled_ports }
}
