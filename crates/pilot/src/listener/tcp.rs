//! Filter chains that forward bytes: to one cluster, or as TCP and TLS routes of VirtualServices
//! say.

use std::time::Duration;

use config::networking::RouteDestination;
use ipnet::IpNet;
use xds::{
    FilterChain, FilterChainMatch, NetworkFilter, NetworkFilterConfig, TcpClusterWeight, TcpProxy,
};

use super::filter::{self, Place};
use crate::{
    Proxy, PushContext, access_log, network,
    route::{RouteScope, destination_cluster},
    virtual_service::{ResolvedVirtualService, SidecarRules},
    world::{Service, ServicePort},
};

/// The filter that forwards to `clusters`.
pub(super) fn proxy_filter(
    push: &PushContext,
    clusters: Vec<TcpClusterWeight>,
    idle_timeout: Option<Duration>,
) -> NetworkFilter {
    let stat_prefix = clusters.first().map(|first| first.name.clone()).unwrap_or_default();
    NetworkFilter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config: NetworkFilterConfig::TcpProxy(TcpProxy {
            stat_prefix,
            clusters,
            idle_timeout,
            max_downstream_connection_duration: None,
            access_log: access_log::access_logs(&push.world.mesh),
        }),
    }
}

/// One cluster for all connections.
pub(super) fn only(name: impl Into<String>) -> Vec<TcpClusterWeight> {
    vec![TcpClusterWeight { name: name.into(), weight: 1 }]
}

/// A chain out of a sidecar that forwards everything it matches to one cluster.
pub(super) fn forward_chain(
    push: &PushContext,
    proxy: &Proxy,
    name: &str,
    filter_chain_match: FilterChainMatch,
    cluster: &str,
) -> FilterChain {
    let mut filters = filter::network_filters(proxy, Place::SidecarOutbound, None);
    filters.push(proxy_filter(push, only(cluster), None));
    plain_chain(name.to_owned(), filter_chain_match, filters)
}

/// A chain without TLS of its own.
pub(super) fn plain_chain(
    name: String,
    filter_chain_match: FilterChainMatch,
    filters: Vec<NetworkFilter>,
) -> FilterChain {
    FilterChain {
        name,
        filter_chain_match,
        transport_socket: None,
        transport_socket_connect_timeout: None,
        filters,
    }
}

/// A chain's match and the clusters behind it.
pub(super) struct Forward {
    pub(super) matches: FilterChainMatch,
    pub(super) clusters: Vec<TcpClusterWeight>,
}

/// What the rules say about one TCP port of a service, ending with what takes the rest. TLS to a
/// service without an address is known by its server name.
pub(super) fn service_forwards(
    push: &PushContext,
    proxy: &Proxy,
    rules: &SidecarRules,
    (service, port): (&Service, &ServicePort),
) -> Vec<Forward> {
    let scope = RouteScope::mesh(push, proxy, port.port);
    let mut forwards = Vec::new();
    for rule in rules.about_service(&service.hostname) {
        if port.protocol.is_tls() {
            add_tls_routes(&mut forwards, &scope, rule);
        }
        add_tcp_routes(&mut forwards, &scope, rule);
    }
    if !forwards.iter().any(|forward| forward.matches == FilterChainMatch::default()) {
        let name =
            crate::cluster::OutboundName { port: port.port, subset: "", host: &service.hostname };
        let nowhere = service.virtual_ips().is_empty()
            && service.networks.is_empty()
            && !service.is_headless();
        let mut matches = FilterChainMatch::default();
        if nowhere && port.protocol.is_tls() {
            matches.server_names.push(service.hostname.clone());
        }
        if !forwards.iter().any(|forward| forward.matches == matches) {
            forwards.push(Forward { matches, clusters: only(name.to_string()) });
        }
    }
    for forward in &mut forwards {
        if forward.matches.prefix_ranges.is_empty() {
            forward.matches.prefix_ranges.clone_from(&service.networks);
        }
    }
    forwards
}

/// Adds the TLS routes of one VirtualService; of the same match the first stays.
pub(super) fn add_tls_routes(
    forwards: &mut Vec<Forward>,
    scope: &RouteScope<'_>,
    virtual_service: &ResolvedVirtualService,
) {
    for route in &virtual_service.item.spec.tls {
        for matches in route.matches.iter().filter(|m| scope.applies(virtual_service, *m)) {
            let matches = FilterChainMatch {
                server_names: server_names(matches.sni_hosts.iter().map(String::as_str)),
                prefix_ranges: networks(&matches.destination_subnets),
                ..FilterChainMatch::default()
            };
            add(forwards, matches, || clusters(scope, virtual_service, &route.route));
        }
    }
}

/// Adds the TCP routes of one VirtualService; of the same match the first stays.
pub(super) fn add_tcp_routes(
    forwards: &mut Vec<Forward>,
    scope: &RouteScope<'_>,
    virtual_service: &ResolvedVirtualService,
) {
    for route in &virtual_service.item.spec.tcp {
        let to = || clusters(scope, virtual_service, &route.route);
        if route.matches.is_empty() {
            add(forwards, FilterChainMatch::default(), to);
        }
        for matches in route.matches.iter().filter(|m| scope.applies(virtual_service, *m)) {
            let prefix_ranges = networks(&matches.destination_subnets);
            add(forwards, FilterChainMatch { prefix_ranges, ..FilterChainMatch::default() }, to);
        }
    }
}

/// The server names of a match, in lower case; with `*` among them, none: any name matches.
pub(super) fn server_names<'a>(hosts: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    if hosts.clone().any(|host| host == "*") {
        return Vec::new();
    }
    hosts.map(str::to_ascii_lowercase).collect()
}

fn add(
    forwards: &mut Vec<Forward>,
    matches: FilterChainMatch,
    clusters: impl FnOnce() -> Vec<TcpClusterWeight>,
) {
    if !forwards.iter().any(|known| known.matches == matches) {
        forwards.push(Forward { matches, clusters: clusters() });
    }
}

fn clusters(
    scope: &RouteScope<'_>,
    virtual_service: &ResolvedVirtualService,
    route: &[RouteDestination],
) -> Vec<TcpClusterWeight> {
    let single = route.len() == 1;
    route
        .iter()
        .filter(|destination| single || destination.weight > 0)
        .map(|destination| TcpClusterWeight {
            name: destination_cluster(scope, virtual_service, &destination.destination),
            weight: if single { 1 } else { destination.weight },
        })
        .collect()
}

/// Networks from addresses and CIDRs; what is neither was refused when it was validated.
fn networks(texts: &[String]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| network::parse(text)).collect()
}

/// The idle timeout of connections to a service, from its DestinationRule.
pub(super) fn idle_timeout(
    push: &PushContext,
    proxy: &Proxy,
    service: &Service,
    port: u16,
) -> Option<Duration> {
    let rule = push.destination_rules.find(proxy, service)?;
    rule.policy(port, None).connection_pool?.tcp.as_ref()?.idle_timeout
}
