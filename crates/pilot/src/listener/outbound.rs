//! Outbound listeners of a sidecar: one for each port of HTTP services, one for each virtual
//! address and port of TCP services, those that its Sidecar asks for, and the one that takes all
//! captured connections.

use std::{collections::BTreeMap, net::IpAddr};

use config::Protocol;
use xds::{Address, FilterChain, FilterChainMatch, Listener, RouteSpecifier};

use super::{
    add_inspectors, empty,
    filter::{self, Place},
    http, tcp, wildcard,
};
use crate::{
    Proxy, PushContext,
    cluster::BLACK_HOLE,
    sidecar_scope::{Bind, EgressScope},
    tls::{PLAIN_HTTP_ALPN, names},
    world::{Resolution, Service, ServiceEndpoint, ServicePort},
};

/// What is served on one address.
struct Entry {
    /// Whose it is: a Sidecar's own port is not shared with what takes the rest.
    listener: usize,
    /// Whether connections come to it by capture.
    captured: bool,
    /// The name of the route configuration, where HTTP is served.
    routes: Option<String>,
    /// Chains for other bytes.
    tcp: Vec<FilterChain>,
}

/// The listeners for services, by address; HTTP services share the wildcard address.
pub(super) fn listeners(push: &PushContext, proxy: &Proxy) -> Vec<Listener> {
    let scope = push.scope(proxy);
    let mut entries: BTreeMap<Address, Entry> = BTreeMap::new();
    for (index, egress) in scope.listeners.iter().enumerate() {
        let outbound = Outbound { push, proxy, egress };
        for service in egress.services() {
            for port in service.ports.iter().filter(|port| outbound.serves(service, port)) {
                let port = outbound.as_listened(port);
                for address in outbound.addresses(service, &port) {
                    if address == Address::socket(wildcard(proxy), port.port)
                        && is_reserved(push, port.port)
                    {
                        continue;
                    }
                    let entry = entries.entry(address.clone()).or_insert_with(|| Entry {
                        listener: index,
                        captured: !egress.is_bound(),
                        routes: None,
                        tcp: Vec::new(),
                    });
                    if entry.listener == index || scope.listeners[entry.listener].port.is_none() {
                        outbound.add(entry, &address, service, &port);
                    }
                }
            }
        }
    }
    let entries = entries.into_iter();
    entries.map(|(address, entry)| listener(push, proxy, address, entry)).collect()
}

/// Ports on which a wildcard listener would take connections of the sidecar itself.
fn is_reserved(push: &PushContext, port: u16) -> bool {
    let mesh = &push.world.mesh;
    [mesh.proxy_listen_port, mesh.proxy_inbound_listen_port, 15021, 15090].contains(&port)
}

/// One of a Sidecar's listeners, or the one for everything.
#[derive(Clone, Copy)]
struct Outbound<'a> {
    push: &'a PushContext,
    proxy: &'a Proxy,
    egress: &'a EgressScope,
}

impl Outbound<'_> {
    /// Whether a port of a service belongs here. A listener that the application connects to knows
    /// no original destination.
    fn serves(self, service: &Service, port: &ServicePort) -> bool {
        let fits = match &self.egress.port {
            Some(own) => {
                let own_number = own.number == port.port || own.number == 0;
                let forbidden = !own.captured
                    && own.number != 0
                    && own.number < 1024
                    && self.proxy.is_unprivileged();
                own_number && !forbidden
            }
            None => true,
        };
        let original = service.resolution == Resolution::OriginalDst || service.is_headless();
        fits && port.protocol != Protocol::Udp && !(self.egress.is_bound() && original)
    }

    /// The port, with the protocol that the listener says.
    fn as_listened(self, port: &ServicePort) -> ServicePort {
        let mut port = port.clone();
        if let Some(own) = &self.egress.port {
            port.protocol = own.protocol;
        }
        port
    }

    /// The addresses at which a port of a service is recognised.
    fn addresses(self, service: &Service, port: &ServicePort) -> Vec<Address> {
        let here = |ip: IpAddr| Address::socket(ip, port.port);
        match self.egress.port.as_ref().map(|own| &own.bind) {
            Some(Bind::Ip(ip)) => return vec![here(*ip)],
            Some(Bind::Pipe(path)) => return vec![Address::Pipe(path.clone())],
            Some(Bind::Services) | None => {}
        }
        if port.protocol.is_http() {
            return vec![here(wildcard(self.proxy))];
        }
        if service.is_headless() {
            let endpoints = self.push.world.endpoints(service).iter();
            let mut ips: Vec<IpAddr> = endpoints
                .filter(|endpoint| endpoint.port_name == port.name)
                .filter_map(ServiceEndpoint::ip)
                .filter(|ip| !self.proxy.ips.contains(ip))
                .collect();
            ips.dedup();
            return ips.into_iter().map(here).collect();
        }
        let mut ips = service.virtual_ips().to_vec();
        if ips.is_empty() || !service.networks.is_empty() {
            ips.push(wildcard(self.proxy));
        }
        ips.into_iter().map(here).collect()
    }

    /// Adds a service's port. Services come oldest first: what is there already stays.
    fn add(self, entry: &mut Entry, address: &Address, service: &Service, port: &ServicePort) {
        let Self { push, proxy, egress } = self;
        let auto = port.protocol == Protocol::Auto;
        if port.protocol.is_http() || auto {
            let shared =
                egress.port.is_some() || *address == Address::socket(wildcard(proxy), port.port);
            let name = match address {
                Address::Pipe(path) => path.clone(),
                _ if shared => port.port.to_string(),
                _ => format!("{}:{}", service.hostname, port.port),
            };
            entry.routes.get_or_insert(name);
        }
        if port.protocol.is_http() {
            return;
        }
        let idle_timeout = tcp::idle_timeout(push, proxy, service, port.port);
        let at_own_address = match address {
            Address::Socket { ip, .. } => service.virtual_ips().contains(ip),
            _ => false,
        };
        let rules = &egress.rules;
        for mut forward in tcp::service_forwards(push, proxy, rules, (service, port)) {
            if at_own_address && forward.matches.prefix_ranges == service.networks {
                forward.matches.prefix_ranges.clear();
            }
            if entry.tcp.iter().any(|chain| chain.filter_chain_match == forward.matches) {
                continue;
            }
            let mut filters = filter::network_filters(proxy, Place::SidecarOutbound, None);
            let name = forward.clusters.first().map(|first| first.name.clone()).unwrap_or_default();
            filters.push(tcp::proxy_filter(push, forward.clusters, idle_timeout));
            entry.tcp.push(tcp::plain_chain(name, forward.matches, filters));
        }
    }
}

fn listener(push: &PushContext, proxy: &Proxy, address: Address, entry: Entry) -> Listener {
    let name = match &address {
        Address::Socket { ip, port } => format!("{ip}_{port}"),
        other => other.to_string(),
    };
    let mut listener = empty(push, name.clone(), wildcard(proxy), 0);
    listener.address = address;
    listener.bind_to_port = !entry.captured;
    // The chain for what no other matches stands apart, so that protocol detection decides first.
    let (rest, chains): (Vec<_>, Vec<_>) = entry
        .tcp
        .into_iter()
        .partition(|chain| chain.filter_chain_match == FilterChainMatch::default());
    listener.filter_chains = chains;
    let rest = rest.into_iter().next();
    let only_names = !listener.filter_chains.is_empty() && rest.is_none();
    match entry.routes {
        Some(routes) if !entry.captured && rest.is_none() => {
            let mut chain = http_chain(push, proxy, &name, routes);
            chain.filter_chain_match = FilterChainMatch::default();
            listener.filter_chains.push(chain);
        }
        Some(routes) => {
            listener.filter_chains.push(http_chain(push, proxy, &name, routes));
            let rest = rest.unwrap_or_else(|| catch_all(push, proxy));
            listener.default_filter_chain = Some(Box::new(rest));
        }
        None if only_names && entry.captured => {
            listener.default_filter_chain = Some(Box::new(catch_all(push, proxy)));
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
    let cluster = push.scope(proxy).unmatched(&push.world);
    let cluster = cluster.as_deref().unwrap_or(BLACK_HOLE);
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
