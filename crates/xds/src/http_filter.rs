//! HTTP filters.

use std::time::Duration;

use crate::{FractionalPercent, HeaderMatcher, Opaque, RbacFilter};

/// An HTTP filter with the name under which it stands in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpFilter {
    /// The name in the chain, which per-route configurations refer to.
    pub name: String,
    /// What it does.
    pub config: HttpFilterConfig,
}

/// The HTTP filters that Mizzen knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HttpFilterConfig {
    /// Sends requests upstream; ends the chain.
    Router(Router),
    /// Delays and aborts requests; the policy may come from the route.
    Fault(HttpFault),
    /// Cross-origin resource sharing; the policy comes from the route.
    Cors,
    /// Allows or denies by policy.
    Rbac(RbacFilter),
    /// Counts gRPC messages and statuses.
    GrpcStats {
        /// Put the counts into filter state for other filters.
        emit_filter_state: bool,
    },
    /// Sets the ALPN names of the upstream connection (`istio.alpn`).
    Alpn(Vec<AlpnOverride>),
    /// Istio's standard metrics (`istio.stats`).
    Stats(StatsConfig),
    /// Istio's exchange of peer metadata by headers.
    PeerMetadata(PeerMetadata),
    /// One that Mizzen does not know; a proxy of ours refuses it.
    Opaque(Opaque),
}

/// The router's options (`envoy.extensions.filters.http.router.v3.Router`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Router {
    /// Leave out `x-envoy-*` headers that the router would add.
    pub suppress_envoy_headers: bool,
}

/// Faults to inject (`envoy.extensions.filters.http.fault.v3.HTTPFault`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpFault {
    /// A delay before the request goes on.
    pub delay: Option<FaultDelay>,
    /// An answer instead of the upstream's.
    pub abort: Option<FaultAbort>,
    /// Only requests with all of these headers.
    pub headers: Vec<HeaderMatcher>,
}

/// A fixed delay for a share of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FaultDelay {
    /// How long.
    pub fixed_delay: Duration,
    /// Which share.
    pub percentage: FractionalPercent,
}

/// An abort for a share of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FaultAbort {
    /// What is answered.
    pub status: FaultStatus,
    /// Which share.
    pub percentage: FractionalPercent,
}

/// The answer of a [`FaultAbort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultStatus {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status.
    Grpc(u32),
}

/// ALPN names for one upstream protocol (`istio.alpn`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlpnOverride {
    /// The protocol spoken upstream.
    pub upstream_protocol: UpstreamProtocol,
    /// The names offered then.
    pub alpn: Vec<String>,
}

/// The HTTP version of an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// Istio's metrics (`istio.stats`), for HTTP and TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatsConfig {
    /// Do not take the destination's name from the `Host` header when nothing else tells it.
    pub disable_host_header_fallback: bool,
    /// How often metrics of open TCP connections are reported; none: 5 s.
    pub tcp_reporting_duration: Option<Duration>,
}

/// Which side's peer metadata is read and told by headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerMetadata {
    /// Read the client's from the request.
    pub downstream_discovery: bool,
    /// Read the server's from the response.
    pub upstream_discovery: bool,
    /// Tell the client ours in the response.
    pub downstream_propagation: bool,
    /// Tell the server ours in the request.
    pub upstream_propagation: bool,
    /// Do not tell servers outside of the mesh.
    pub skip_external_clusters: bool,
}
