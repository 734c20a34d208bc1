//! Outbound listeners of a sidecar: one for each port of HTTP services, one for each virtual
//! address and port of TCP services, and the one that takes all captured connections.

use std::{collections::BTreeMap, net::IpAddr};

use config::{OutboundTrafficPolicyMode, Protocol};
use xds::{FilterChain, FilterChainMatch, Listener, RouteSpecifier};

use super::{
    add_inspectors, empty,
    filter::{self, Place},
    http, tcp, wildcard,
};
use crate::{
    Proxy, PushContext,
    cluster::{BLACK_HOLE, PASSTHROUGH},
    tls::{PLAIN_HTTP_ALPN, names},
    world::{Service, ServicePort},
};

/// What is served on one address and port.
#[derive(Default)]
struct Entry {
    /// The name of the route configuration, where HTTP is served.
    routes: Option<String>,
    /// Chains for other bytes.
    tcp: Vec<FilterChain>,
}

/// The listeners for services, by address and port; HTTP services share the wildcard address.
pub(super) fn listeners(push: &PushContext, proxy: &Proxy) -> Vec<Listener> {
    let mut entries: BTreeMap<(IpAddr, u16), Entry> = BTreeMap::new();
    for service in push.services(proxy) {
        for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            for ip in addresses(push, proxy, service, port) {
                if ip == wildcard(proxy) && is_reserved(push, port.port) {
                    continue;
                }
                let entry = entries.entry((ip, port.port)).or_default();
                add(entry, push, proxy, (service, port), ip == wildcard(proxy));
            }
        }
    }
    entries.into_iter().map(|((ip, port), entry)| listener(push, proxy, ip, port, entry)).collect()
}

/// Ports on which a wildcard listener would take connections of the sidecar itself.
fn is_reserved(push: &PushContext, port: u16) -> bool {
    let mesh = &push.world.mesh;
    [mesh.proxy_listen_port, mesh.proxy_inbound_listen_port, 15021, 15090].contains(&port)
}

/// The addresses at which a port of a service is recognised.
fn addresses(
    push: &PushContext,
    proxy: &Proxy,
    service: &Service,
    port: &ServicePort,
) -> Vec<IpAddr> {
    if port.protocol.is_http() {
        return vec![wildcard(proxy)];
    }
    if service.is_headless() {
        let endpoints = push.world.endpoints(&service.hostname).iter();
        let mut ips: Vec<IpAddr> = endpoints
            .filter(|endpoint| endpoint.port_name == port.name)
            .map(|endpoint| endpoint.ip)
            .filter(|ip| !proxy.ips.contains(ip))
            .collect();
        ips.dedup();
        return ips;
    }
    match service.virtual_ips() {
        [] => vec![wildcard(proxy)],
        ips => ips.to_vec(),
    }
}

/// Adds a service's port. Services come oldest first: what is there already stays.
fn add(
    entry: &mut Entry,
    push: &PushContext,
    proxy: &Proxy,
    (service, port): (&Service, &ServicePort),
    is_wildcard: bool,
) {
    let auto = port.protocol == Protocol::Auto;
    if port.protocol.is_http() || auto {
        let name = if is_wildcard {
            port.port.to_string()
        } else {
            format!("{}:{}", service.hostname, port.port)
        };
        entry.routes.get_or_insert(name);
    }
    if port.protocol.is_http() {
        return;
    }
    let idle_timeout = tcp::idle_timeout(push, proxy, service, port.port);
    for forward in tcp::service_forwards(push, proxy, service, port) {
        if entry.tcp.iter().any(|chain| chain.filter_chain_match == forward.matches) {
            continue;
        }
        let mut filters = filter::network_filters(proxy, Place::SidecarOutbound, None);
        let name = forward.clusters.first().map(|first| first.name.clone()).unwrap_or_default();
        filters.push(tcp::proxy_filter(push, forward.clusters, idle_timeout));
        entry.tcp.push(tcp::plain_chain(name, forward.matches, filters));
    }
}

fn listener(push: &PushContext, proxy: &Proxy, ip: IpAddr, port: u16, entry: Entry) -> Listener {
    let name = format!("{ip}_{port}");
    let mut listener = empty(push, name.clone(), ip, port);
    listener.bind_to_port = false;
    // The chain for what no other matches stands apart, so that protocol detection decides first.
    let (rest, chains): (Vec<_>, Vec<_>) = entry
        .tcp
        .into_iter()
        .partition(|chain| chain.filter_chain_match == FilterChainMatch::default());
    listener.filter_chains = chains;
    let rest = rest.into_iter().next();
    match entry.routes {
        Some(routes) => {
            listener.filter_chains.push(http_chain(push, proxy, &name, routes));
            let rest = rest.unwrap_or_else(|| catch_all(push, proxy));
            listener.default_filter_chain = Some(Box::new(rest));
        }
        None => listener.filter_chains.extend(rest),
    }
    add_inspectors(push, &mut listener);
    listener
}

fn http_chain(push: &PushContext, proxy: &Proxy, listener: &str, routes: String) -> FilterChain {
    let place = Place::SidecarOutbound;
    let manager = http::connection_manager(
        &push.world.mesh,
        place,
        format!("outbound_{listener};"),
        RouteSpecifier::Rds(routes),
        filter::http_filters(proxy, place, None),
    );
    let filter_chain_match = FilterChainMatch {
        transport_protocol: Some("raw_buffer".to_owned()),
        application_protocols: names(&PLAIN_HTTP_ALPN),
        ..FilterChainMatch::default()
    };
    tcp::plain_chain(listener.to_owned(), filter_chain_match, vec![manager])
}

/// What happens to connections that nobody declared.
fn catch_all(push: &PushContext, proxy: &Proxy) -> FilterChain {
    let cluster = match push.world.mesh.outbound_traffic_policy.mode {
        OutboundTrafficPolicyMode::AllowAny => PASSTHROUGH,
        OutboundTrafficPolicyMode::RegistryOnly => BLACK_HOLE,
    };
    let name = "virtualOutbound-catchall-tcp";
    tcp::forward_chain(push, proxy, name, FilterChainMatch::default(), cluster)
}

/// The listener that takes all captured connections and hands each to the one for its destination.
pub(super) fn virtual_outbound(push: &PushContext, proxy: &Proxy) -> Listener {
    let port = push.world.mesh.proxy_listen_port;
    let mut listener = empty(push, "virtualOutbound".to_owned(), wildcard(proxy), port);
    listener.use_original_dst = true;
    // A connection to the listener itself would be forwarded to itself for ever.
    let own_port = FilterChainMatch { destination_port: Some(port), ..FilterChainMatch::default() };
    let name = "virtualOutbound-blackhole";
    listener.filter_chains.push(tcp::forward_chain(push, proxy, name, own_port, BLACK_HOLE));
    listener.default_filter_chain = Some(Box::new(catch_all(push, proxy)));
    listener
}
