//! Network filters: what happens to the bytes of a connection.

use std::time::Duration;

use crate::{AccessLog, HttpConnectionManager, Opaque, RbacFilter, StatsConfig};

/// A network filter with the name under which it stands in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkFilter {
    /// The name in the chain, such as `envoy.filters.network.tcp_proxy`.
    pub name: String,
    /// What it does.
    pub config: NetworkFilterConfig,
}

/// The network filters that Mizzen knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetworkFilterConfig {
    /// Speaks HTTP (terminal).
    HttpConnectionManager(Box<HttpConnectionManager>),
    /// Forwards bytes to a cluster (terminal).
    TcpProxy(TcpProxy),
    /// Allows or denies by policy.
    Rbac(RbacFilter),
    /// Istio's metrics for TCP (`istio.stats`).
    Stats(StatsConfig),
    /// Istio's exchange of peer metadata on connections with the ALPN `istio-peer-exchange`.
    MetadataExchange {
        /// The ALPN name that starts the exchange.
        protocol: String,
    },
    /// One that Mizzen does not know; a proxy of ours refuses it.
    Opaque(Opaque),
}

/// Forwards bytes to a cluster (`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpProxy {
    /// Prefix of its statistics.
    pub stat_prefix: String,
    /// Where to, by weight; one cluster stands alone with weight 1.
    pub clusters: Vec<TcpClusterWeight>,
    /// How long a connection may be idle; none: Envoy's 1 h; zero: forever.
    pub idle_timeout: Option<Duration>,
    /// How long a connection may live at all.
    pub max_downstream_connection_duration: Option<Duration>,
    /// Where finished connections are logged.
    pub access_log: Vec<AccessLog>,
}

/// One cluster of a [`TcpProxy`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpClusterWeight {
    /// The cluster's name.
    pub name: String,
    /// Its share of connections.
    pub weight: u32,
}
