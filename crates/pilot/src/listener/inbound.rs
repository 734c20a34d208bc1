//! The inbound listener of a sidecar: chains for each of the workload's ports by what
//! PeerAuthentication lets in, and chains for the ports that no service is behind.
//!
//! Mesh traffic is told from other TLS by its ALPN names, as Istio does.

use std::collections::BTreeMap;

use config::Protocol;
use xds::{
    FilterChain, FilterChainMatch, Listener, ListenerFilterKind, RouteSpecifier, TrafficDirection,
};

use super::{
    InboundPort, empty, except_ports,
    filter::{self, Place},
    http, inbound_ports, set_detection_timeout, tcp, wildcard,
};
use crate::{
    Proxy, PushContext,
    authorization::WorkloadAuthorization,
    cluster::{BLACK_HOLE, INBOUND_PASSTHROUGH, inbound_name},
    peer_authentication::{MtlsMode, WorkloadMtls},
    route,
    tls::{self, MESH_HTTP_ALPN, MESH_TCP_ALPN, PEER_EXCHANGE, PLAIN_HTTP_ALPN, names},
};

/// The listener that takes all captured connections to the workload, after those that a Sidecar
/// wants connections to be made to.
pub(super) fn listeners(push: &PushContext, proxy: &Proxy) -> Vec<Listener> {
    let ports = inbound_ports(push, proxy);
    let modes = push.peer_authentications.workload(&proxy.namespace, &proxy.labels);
    let bound = ports.values().filter(|port| port.is_bound());
    let mut listeners: Vec<Listener> =
        bound.map(|port| bound_listener(push, proxy, port, &modes)).collect();
    listeners.push(virtual_inbound(push, proxy, &ports, &modes));
    listeners
}

fn bound_listener(
    push: &PushContext,
    proxy: &Proxy,
    port: &InboundPort<'_>,
    modes: &WorkloadMtls,
) -> Listener {
    let authorization = push.authorization_policies.for_proxy(&push.world, proxy);
    let chains = Chains { push, proxy, authorization };
    let ip = port.ingress.and_then(|ingress| ingress.bind.parse().ok());
    let ip = ip.or(proxy.ips.first().copied()).unwrap_or_else(|| wildcard(proxy));
    let name = format!("{ip}_{}", port.target_port);
    let mut listener = empty(push, name, ip, port.target_port);
    listener.traffic_direction = TrafficDirection::Inbound;
    listener.filter_chains = chains.port(port, modes.port(port.target_port));
    for chain in &mut listener.filter_chains {
        chain.filter_chain_match.destination_port = None;
    }
    super::add_inspectors(push, &mut listener);
    listener
}

fn virtual_inbound(
    push: &PushContext,
    proxy: &Proxy,
    ports: &BTreeMap<u16, InboundPort<'_>>,
    modes: &WorkloadMtls,
) -> Listener {
    let authorization = push.authorization_policies.for_proxy(&push.world, proxy);
    let chains = Chains { push, proxy, authorization };
    let own_port = push.world.mesh.proxy_inbound_listen_port;
    let mut listener = empty(push, "virtualInbound".to_owned(), wildcard(proxy), own_port);
    listener.traffic_direction = TrafficDirection::Inbound;
    listener.filter_chains.push(chains.black_hole(own_port));
    listener.filter_chains.extend(chains.passthrough(None, modes.default));
    for port in modes.named_ports().into_iter().filter(|port| !ports.contains_key(port)) {
        listener.filter_chains.extend(chains.passthrough(Some(port), modes.port(port)));
    }
    let captured = || ports.values().filter(|port| !port.is_bound());
    for port in captured() {
        listener.filter_chains.extend(chains.port(port, modes.port(port.target_port)));
    }
    add_listener_filters(push, &mut listener, captured(), modes);
    listener
}

/// The inspectors do not run where nothing is to be found out: a server that speaks first would
/// wait for ever.
fn add_listener_filters<'a>(
    push: &PushContext,
    listener: &mut Listener,
    ports: impl Iterator<Item = &'a InboundPort<'a>> + Clone,
    modes: &WorkloadMtls,
) {
    let declared = |port: &&InboundPort<'_>| port.protocol != Protocol::Auto;
    let without_tls = ports
        .clone()
        .filter(declared)
        .filter(|port| port.protocol.is_tcp() && modes.port(port.target_port) == MtlsMode::Disable);
    let without_tls: Vec<u16> = without_tls.map(|port| port.target_port).collect();
    let without_http: Vec<u16> = ports.filter(declared).map(|port| port.target_port).collect();
    listener.listener_filters = vec![
        ListenerFilterKind::OriginalDst.into(),
        except_ports(ListenerFilterKind::TlsInspector, without_tls),
        except_ports(ListenerFilterKind::HttpInspector, without_http),
    ];
    set_detection_timeout(push, listener);
}

/// What a chain does with the connections it matches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Tcp,
}

/// One way in: a match, whether mesh TLS is terminated, and what is spoken inside.
struct Way {
    kind: Kind,
    mesh_tls: bool,
    transport: Option<&'static str>,
    alpn: Vec<String>,
}

const TLS: Option<&str> = Some("tls");
const RAW: Option<&str> = Some("raw_buffer");

/// The ways into a port, by what it speaks and what is let in.
fn ways(protocol: Protocol, mode: MtlsMode) -> Vec<Way> {
    let way = |kind, mesh_tls, transport, alpn: &[&str]| Way {
        kind,
        mesh_tls,
        transport,
        alpn: names(alpn),
    };
    let all_mesh =
        [MESH_TCP_ALPN[1], MESH_TCP_ALPN[0], "istio-http/1.0", "istio-http/1.1", "istio-h2"];
    let (http, tcp) = (Kind::Http, Kind::Tcp);
    let any: &[&str] = &[];
    match (protocol, mode) {
        (Protocol::Auto, MtlsMode::Permissive) => vec![
            way(http, true, TLS, &MESH_HTTP_ALPN),
            way(http, false, RAW, &PLAIN_HTTP_ALPN),
            way(tcp, true, TLS, &MESH_TCP_ALPN),
            way(tcp, false, RAW, any),
            way(tcp, false, TLS, any),
        ],
        (Protocol::Auto, MtlsMode::Strict) => {
            vec![way(http, true, TLS, &MESH_HTTP_ALPN), way(tcp, true, TLS, any)]
        }
        (Protocol::Auto, MtlsMode::Disable) => {
            vec![way(http, false, RAW, &PLAIN_HTTP_ALPN), way(tcp, false, None, any)]
        }
        (protocol, MtlsMode::Permissive) if protocol.is_http() => {
            vec![way(http, true, TLS, &all_mesh), way(http, false, RAW, any)]
        }
        (protocol, MtlsMode::Strict) if protocol.is_http() => vec![way(http, true, TLS, any)],
        (protocol, MtlsMode::Disable) if protocol.is_http() => vec![way(http, false, RAW, any)],
        (_, MtlsMode::Permissive) => vec![
            way(tcp, true, TLS, &all_mesh),
            way(tcp, false, RAW, any),
            way(tcp, false, TLS, any),
        ],
        (_, MtlsMode::Strict) => vec![way(tcp, true, TLS, any)],
        (_, MtlsMode::Disable) => vec![way(tcp, false, None, any)],
    }
}

/// Where a chain's calls go.
struct Destination<'a> {
    name: &'a str,
    cluster: &'a str,
    /// The service's host name and port, for HTTP.
    service: Option<(&'a str, u16)>,
    grpc: bool,
}

struct Chains<'a> {
    push: &'a PushContext,
    proxy: &'a Proxy,
    authorization: WorkloadAuthorization,
}

impl Chains<'_> {
    /// A connection to the listener itself must not be forwarded to itself.
    fn black_hole(&self, port: u16) -> FilterChain {
        let mut filters = filter::network_filters(self.proxy, Place::SidecarInbound, None);
        filters.push(tcp::proxy_filter(self.push, tcp::only(BLACK_HOLE), None));
        let matches =
            FilterChainMatch { destination_port: Some(port), ..FilterChainMatch::default() };
        tcp::plain_chain("virtualInbound-blackhole".to_owned(), matches, filters)
    }

    /// Chains for ports that no service is behind; `port` is none for all of them.
    fn passthrough(&self, port: Option<u16>, mode: MtlsMode) -> Vec<FilterChain> {
        let chain = |way: Way| {
            let name = match way.kind {
                Kind::Http => "virtualInbound-catchall-http",
                Kind::Tcp => "virtualInbound",
            };
            let cluster = INBOUND_PASSTHROUGH;
            let destination = Destination { name, cluster, service: None, grpc: false };
            self.chain(port, way, &destination)
        };
        ways(Protocol::Auto, mode).into_iter().map(chain).collect()
    }

    fn port(&self, inbound: &InboundPort<'_>, mode: MtlsMode) -> Vec<FilterChain> {
        let protocol = inbound.protocol;
        let destination = Destination {
            name: &format!("{}_{}", wildcard(self.proxy), inbound.target_port),
            cluster: &inbound_name(inbound.target_port),
            service: Some(inbound.service()),
            grpc: matches!(protocol, Protocol::Grpc | Protocol::GrpcWeb),
        };
        let port = Some(inbound.target_port);
        ways(protocol, mode).into_iter().map(|way| self.chain(port, way, &destination)).collect()
    }

    fn chain(&self, port: Option<u16>, way: Way, destination: &Destination<'_>) -> FilterChain {
        let trust_domains = self.push.world.trust_domains();
        let alpn: &[&str] = match way.kind {
            Kind::Http => &["h2", "http/1.1"],
            Kind::Tcp if self.proxy.has_metadata_exchange() => &[PEER_EXCHANGE, "h2", "http/1.1"],
            Kind::Tcp => &["h2", "http/1.1"],
        };
        let filters = match way.kind {
            Kind::Http => vec![self.http(destination)],
            Kind::Tcp => self.tcp(destination),
        };
        FilterChain {
            name: destination.name.to_owned(),
            filter_chain_match: FilterChainMatch {
                destination_port: port,
                transport_protocol: way.transport.map(str::to_owned),
                application_protocols: way.alpn,
                ..FilterChainMatch::default()
            },
            transport_socket: way.mesh_tls.then(|| tls::mesh_server(&trust_domains, alpn)),
            transport_socket_connect_timeout: None,
            filters,
        }
    }

    fn http(&self, destination: &Destination<'_>) -> xds::NetworkFilter {
        let place = Place::SidecarInbound;
        let routes = route::inbound(destination.cluster, destination.service, destination.grpc);
        http::connection_manager(
            &self.push.world.mesh,
            place,
            match destination.service {
                Some(_) => format!("inbound_{};", destination.name),
                None => destination.cluster.to_owned(),
            },
            RouteSpecifier::Inline(Box::new(routes)),
            filter::http_filters(self.proxy, place, Some(&self.authorization)),
        )
    }

    fn tcp(&self, destination: &Destination<'_>) -> Vec<xds::NetworkFilter> {
        let mut filters =
            filter::network_filters(self.proxy, Place::SidecarInbound, Some(&self.authorization));
        filters.push(tcp::proxy_filter(self.push, tcp::only(destination.cluster), None));
        filters
    }
}
