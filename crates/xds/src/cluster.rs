//! Clusters (`envoy.config.cluster.v3`).

use std::{collections::BTreeMap, time::Duration};

use crate::{BindConfig, LoadAssignment, Metadata, NetworkFilter, TcpKeepalive, UpstreamTls};

/// Endpoints that serve the same, and how they are used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// Its name: the resource's name, such as `outbound|9080|v1|reviews.bookinfo.svc.cluster.local`.
    pub name: String,
    /// The name in statistics; empty: the name.
    pub alt_stat_name: String,
    /// Where endpoints come from.
    pub discovery: Discovery,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How an endpoint is chosen.
    pub lb_policy: LbPolicy,
    /// Below this share of healthy endpoints, in percent, health is disregarded; none: Envoy's 50.
    pub healthy_panic_threshold: Option<u32>,
    /// Whether localities of one priority share the load by their weights
    /// (`locality_weighted_lb_config`).
    pub locality_weighted: bool,
    /// Limits of what may be open at once.
    pub circuit_breakers: CircuitBreakers,
    /// When endpoints are ejected; none: never.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to every endpoint without a match below; none: plaintext.
    pub transport_socket: Option<UpstreamTls>,
    /// Transports by the endpoint's metadata `envoy.transport_socket_match`; the first match wins.
    pub transport_socket_matches: Vec<TransportSocketMatch>,
    /// How HTTP is spoken.
    pub http: UpstreamHttp,
    /// How sockets are bound.
    pub bind: Option<BindConfig>,
    /// TCP keep-alive.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Network filters of upstream connections (Istio's metadata exchange).
    pub filters: Vec<NetworkFilter>,
    /// `istio`/`services`, `istio`/`config`, …
    pub metadata: Metadata,
}

/// Where endpoints come from (`Cluster.DiscoveryType`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Discovery {
    /// Given with the cluster.
    Static(LoadAssignment),
    /// Over ADS, under this name (empty: the cluster's).
    Eds {
        /// The name of the load assignment.
        service_name: String,
    },
    /// Every address that the names resolve to.
    StrictDns(LoadAssignment),
    /// One address that the name resolves to.
    LogicalDns(LoadAssignment),
    /// Where the connection was going.
    OriginalDst,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LbPolicy {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest open requests of some chosen at random.
    LeastRequest {
        /// How many are compared; none: 2.
        choice_count: Option<u32>,
    },
    /// At random.
    Random,
    /// Consistent hashing on a ring.
    RingHash {
        /// Smallest number of entries; none: 1024.
        minimum_ring_size: Option<u64>,
    },
    /// Consistent hashing by a Maglev table.
    Maglev {
        /// The table's size, a prime; none: 65537.
        table_size: Option<u64>,
    },
    /// As the cluster's discovery decides (original destination).
    ClusterProvided,
}

/// Limits at default priority (`CircuitBreakers.Thresholds`); none: Envoy's default (1024, retries 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CircuitBreakers {
    /// Open connections.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection.
    pub max_pending_requests: Option<u32>,
    /// Open requests.
    pub max_requests: Option<u32>,
    /// Open retries.
    pub max_retries: Option<u32>,
    /// Open retries by what is open at all, in place of `max_retries`.
    pub retry_budget: Option<RetryBudget>,
}

/// How many retries may be open at once (`CircuitBreakers.Thresholds.RetryBudget`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RetryBudget {
    /// The share of open and waiting requests, in millionths.
    pub share: u32,
    /// As many are always allowed; none: Envoy's 3.
    pub min_retry_concurrency: Option<u32>,
}

/// When endpoints are ejected (`envoy.config.cluster.v3.OutlierDetection`); none: Envoy's default.
/// Success-rate and failure-percentage ejection are off, as Istio leaves them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OutlierDetection {
    /// 5xx answers (and local failures) in a row; none: 5.
    pub consecutive_5xx: Option<u32>,
    /// Share of ejections that are carried out for it, in percent; none: 100.
    pub enforcing_consecutive_5xx: Option<u32>,
    /// 502, 503 and 504 answers in a row; none: 5.
    pub consecutive_gateway_failure: Option<u32>,
    /// Share of ejections that are carried out for it, in percent; none: 0.
    pub enforcing_consecutive_gateway_failure: Option<u32>,
    /// Failures to connect in a row, when told apart; none: 5.
    pub consecutive_local_origin_failure: Option<u32>,
    /// Share of ejections that are carried out for it, in percent; none: 100.
    pub enforcing_consecutive_local_origin_failure: Option<u32>,
    /// Tell failures to connect from answers.
    pub split_external_local_origin_errors: bool,
    /// How often ejections end; none: 10 s.
    pub interval: Option<Duration>,
    /// How long the first ejection lasts; the n-th lasts n times as long; none: 30 s.
    pub base_ejection_time: Option<Duration>,
    /// The longest ejection; none: 300 s.
    pub max_ejection_time: Option<Duration>,
    /// The most endpoints that are ejected at once, in percent; none: 10.
    pub max_ejection_percent: Option<u32>,
}

/// A transport for endpoints with certain metadata (`Cluster.TransportSocketMatch`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransportSocketMatch {
    /// Its name, such as `tlsMode-istio`.
    pub name: String,
    /// What the endpoint's `envoy.transport_socket_match` must contain.
    pub criteria: BTreeMap<String, String>,
    /// TLS; none: plaintext.
    pub transport_socket: Option<UpstreamTls>,
}

/// How HTTP is spoken upstream (`envoy.extensions.upstreams.http.v3.HttpProtocolOptions`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamHttp {
    /// Which version.
    pub protocol: UpstreamHttpProtocol,
    /// How long idle connections are kept; none: Envoy's 1 h; zero: forever.
    pub idle_timeout: Option<Duration>,
    /// How long connections live at most; none: no limit.
    pub max_connection_duration: Option<Duration>,
    /// How many requests a connection takes; none: no limit.
    pub max_requests_per_connection: Option<u32>,
    /// How many streams are opened on an HTTP/2 connection; none: Envoy's default.
    pub max_concurrent_streams: Option<u32>,
    /// HTTP/2 PING to see whether a connection lives.
    pub keepalive: Option<Http2Keepalive>,
    /// Use the request's host as TLS server name.
    pub auto_sni: bool,
    /// Verify the request's host against the certificate.
    pub auto_san_validation: bool,
}

/// HTTP/2 PING (`KeepaliveSettings`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Http2Keepalive {
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Which HTTP version is spoken upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamHttpProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
    /// The downstream connection's.
    UseDownstream,
    /// As ALPN says.
    Auto,
}
