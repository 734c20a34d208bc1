//! What a proxy must be told before it can ask for the rest: who it is, where its configuration
//! and secrets come from, and which sockets it was given.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    path::PathBuf,
    time::Duration,
};

/// Names of the extensions that this proxy has compiled in, for `node.extensions`: Envoy's names
/// of filters and transport sockets, and Istio's own filters.
pub const EXTENSIONS: &[&str] = &[
    "envoy.access_loggers.file",
    "envoy.filters.http.cors",
    "envoy.filters.http.fault",
    "envoy.filters.http.grpc_stats",
    "envoy.filters.http.peer_metadata",
    "envoy.filters.http.rbac",
    "envoy.filters.http.router",
    "envoy.filters.listener.http_inspector",
    "envoy.filters.listener.original_dst",
    "envoy.filters.listener.tls_inspector",
    "envoy.filters.network.http_connection_manager",
    "envoy.filters.network.rbac",
    "envoy.filters.network.tcp_proxy",
    "envoy.transport_sockets.raw_buffer",
    "envoy.transport_sockets.tls",
    "istio.alpn",
    "istio.metadata_exchange",
    "istio.stats",
];

/// Where a gRPC service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceAddress {
    /// A Unix domain socket.
    Unix(PathBuf),
    /// A TCP address, in plaintext.
    Tcp(SocketAddr),
}

/// A listening socket that was made elsewhere and handed in, such as a gateway's host port.
#[derive(Debug)]
pub struct InheritedListener {
    /// The port of the xDS listener that uses it.
    pub port: u16,
    /// The socket, already listening.
    pub fd: OwnedFd,
}

/// What a proxy is started with.
#[derive(Debug)]
pub struct Bootstrap {
    /// Who it says it is; [`EXTENSIONS`] belong into `extensions`.
    pub node: xds::Node,
    /// The aggregated discovery service: the agent's `xds.sock`.
    pub ads: ServiceAddress,
    /// The secret discovery service: the agent's `sds.sock`. Without one, every listener and
    /// cluster that needs a secret of the agent's stays closed.
    pub sds: Option<ServiceAddress>,
    /// Where the admin interface listens; Istio's place is 127.0.0.1:15000.
    pub admin_address: Option<SocketAddr>,
    /// Where the admin interface listens for tools outside of the network namespace.
    pub admin_socket: Option<PathBuf>,
    /// Where metrics are served in Prometheus' text format; Istio's place is 0.0.0.0:15090.
    pub stats_address: Option<SocketAddr>,
    /// Number of worker threads, at least 1.
    pub concurrency: usize,
    /// `SO_MARK` of every socket towards upstreams, so that capture leaves them alone.
    pub socket_mark: Option<u32>,
    /// Listening sockets that were handed in.
    pub inherited: Vec<InheritedListener>,
    /// How long open connections have to finish after a drain was asked for.
    pub drain_time: Duration,
}

impl Bootstrap {
    /// A sidecar's usual places, with one worker.
    pub fn new(node: xds::Node, ads: ServiceAddress, sds: Option<ServiceAddress>) -> Self {
        Self {
            node,
            ads,
            sds,
            admin_address: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 15000))),
            admin_socket: None,
            stats_address: Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 15090))),
            concurrency: 1,
            socket_mark: None,
            inherited: Vec::new(),
            drain_time: Duration::from_secs(45),
        }
    }
}
