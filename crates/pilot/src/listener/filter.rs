//! HTTP and network filters in Istio's order. What only Istio's proxies have is sent only to a
//! proxy that says it has it.

use xds::{
    AlpnOverride, HttpFault, HttpFilter, HttpFilterConfig, NetworkFilter, NetworkFilterConfig,
    PeerMetadata, Router, StatsConfig, UpstreamProtocol,
};

use crate::{
    Proxy,
    authorization::WorkloadAuthorization,
    tls::{PEER_EXCHANGE, names},
};

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into a sidecar's workload.
    SidecarInbound,
    /// Out of a sidecar's workload.
    SidecarOutbound,
    /// Through a gateway.
    Gateway,
}

/// The HTTP filters; `authorization` is none where no policy is enforced (outbound).
pub(super) fn http_filters(
    proxy: &Proxy,
    place: Place,
    authorization: Option<&WorkloadAuthorization>,
) -> Vec<HttpFilter> {
    let mut filters = Vec::new();
    let mut add = |name: &str, config| filters.push(HttpFilter { name: name.to_owned(), config });
    if proxy.has_peer_metadata() {
        add("istio.metadata_exchange", HttpFilterConfig::PeerMetadata(peer_metadata(place)));
    }
    for filter in authorization.into_iter().flat_map(WorkloadAuthorization::http_filters) {
        add("envoy.filters.http.rbac", HttpFilterConfig::Rbac(filter));
    }
    add("envoy.filters.http.grpc_stats", HttpFilterConfig::GrpcStats { emit_filter_state: true });
    if proxy.has_alpn() && place != Place::SidecarInbound {
        add("istio.alpn", HttpFilterConfig::Alpn(alpn_overrides()));
    }
    add("envoy.filters.http.fault", HttpFilterConfig::Fault(HttpFault::default()));
    add("envoy.filters.http.cors", HttpFilterConfig::Cors);
    if proxy.has_stats() {
        add("istio.stats", HttpFilterConfig::Stats(stats(place)));
    }
    add("envoy.filters.http.router", HttpFilterConfig::Router(Router::default()));
    filters
}

/// The network filters before the one that ends the chain.
pub(super) fn network_filters(
    proxy: &Proxy,
    place: Place,
    authorization: Option<&WorkloadAuthorization>,
) -> Vec<NetworkFilter> {
    let mut filters = Vec::new();
    let mut add =
        |name: &str, config| filters.push(NetworkFilter { name: name.to_owned(), config });
    if proxy.has_metadata_exchange() && place == Place::SidecarInbound {
        let protocol = PEER_EXCHANGE.to_owned();
        add("istio.metadata_exchange", NetworkFilterConfig::MetadataExchange { protocol });
    }
    for filter in authorization.into_iter().flat_map(WorkloadAuthorization::tcp_filters) {
        add("envoy.filters.network.rbac", NetworkFilterConfig::Rbac(filter));
    }
    if proxy.has_stats() {
        add("istio.stats", NetworkFilterConfig::Stats(stats(place)));
    }
    filters
}

fn stats(place: Place) -> StatsConfig {
    StatsConfig {
        // Who calls must not be able to choose the name that the server's metrics count under.
        disable_host_header_fallback: place != Place::SidecarOutbound,
        tcp_reporting_duration: None,
    }
}

fn peer_metadata(place: Place) -> PeerMetadata {
    let inbound = place == Place::SidecarInbound;
    PeerMetadata {
        downstream_discovery: inbound,
        downstream_propagation: inbound,
        upstream_discovery: !inbound,
        upstream_propagation: !inbound,
        skip_external_clusters: !inbound,
    }
}

/// By these names the server tells HTTP of the mesh from other bytes.
fn alpn_overrides() -> Vec<AlpnOverride> {
    let versions = [
        (UpstreamProtocol::Http10, ["istio-http/1.0", "istio", "http/1.0"]),
        (UpstreamProtocol::Http11, ["istio-http/1.1", "istio", "http/1.1"]),
        (UpstreamProtocol::Http2, ["istio-h2", "istio", "h2"]),
    ];
    versions
        .into_iter()
        .map(|(upstream_protocol, alpn)| AlpnOverride { upstream_protocol, alpn: names(&alpn) })
        .collect()
}
