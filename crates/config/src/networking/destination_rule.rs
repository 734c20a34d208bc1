//! DestinationRule: how clients treat a service: subsets, pools, ejection and TLS.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{load_balancer::LoadBalancerSettings, virtual_service::PortSelector};
use crate::{
    label::WorkloadSelector,
    value::{Percentage, duration},
};

/// `networking.istio.io` DestinationRule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// The service; a short name is resolved in the rule's namespace.
    pub host: String,
    /// For all ports and subsets.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of the service's endpoints.
    pub subsets: Vec<Subset>,
    /// Namespaces that may see it; empty: the mesh's default.
    pub export_to: Vec<String>,
    /// Only for these clients (of the same namespace).
    pub workload_selector: Option<WorkloadSelector>,
}

/// A named part of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// The name that routes use.
    pub name: String,
    /// Labels that the endpoints have.
    pub labels: BTreeMap<String, String>,
    /// Overlays the rule's policy, block by block.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// How connections and requests to the destination are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits and timeouts.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to the destination; any value here turns automatic mTLS off for it.
    pub tls: Option<ClientTlsSettings>,
    /// Per service port: replaces the four blocks above as a whole.
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// Tunnel TCP through a proxy.
    pub tunnel: Option<TunnelSettings>,
    /// Send a PROXY protocol header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Bound retries by share of active requests.
    pub retry_budget: Option<RetryBudget>,
}

/// A policy for one port of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortTrafficPolicy {
    /// The port.
    pub port: Option<PortSelector>,
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits and timeouts.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to the destination.
    pub tls: Option<ClientTlsSettings>,
}

/// Limits and timeouts of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPoolSettings {
    /// For all connections.
    pub tcp: Option<TcpSettings>,
    /// For HTTP.
    pub http: Option<HttpSettings>,
}

/// Limits of TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpSettings {
    /// Most connections; absent or 0: 2^32-1.
    pub max_connections: Option<u32>,
    /// Absent: MeshConfig's (10 s).
    #[serde(deserialize_with = "duration::option")]
    pub connect_timeout: Option<Duration>,
    /// Keepalive probes; absent: MeshConfig's.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Longest life of a connection; absent: no limit.
    #[serde(deserialize_with = "duration::option")]
    pub max_connection_duration: Option<Duration>,
    /// Absent: 1 h; 0: never.
    #[serde(deserialize_with = "duration::option")]
    pub idle_timeout: Option<Duration>,
}

/// TCP keepalive probes; what is absent is the operating system's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// Probes without answer until the connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    #[serde(deserialize_with = "duration::option")]
    pub time: Option<Duration>,
    /// Time between probes.
    #[serde(deserialize_with = "duration::option")]
    pub interval: Option<Duration>,
}

/// Limits of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpSettings {
    /// Requests that wait for a connection; absent or 0: 2^32-1.
    pub http1_max_pending_requests: Option<u32>,
    /// Active requests; absent or 0: 2^32-1.
    pub http2_max_requests: Option<u32>,
    /// Requests a connection may carry; absent or 0: no limit.
    pub max_requests_per_connection: Option<u32>,
    /// Retries at once; absent or 0: 2^32-1.
    pub max_retries: Option<u32>,
    /// Absent: TCP's idle timeout, then 1 h.
    #[serde(deserialize_with = "duration::option")]
    pub idle_timeout: Option<Duration>,
    /// Whether HTTP/1.1 is upgraded to HTTP/2.
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Speak the client's protocol.
    pub use_client_protocol: bool,
    /// Streams in one HTTP/2 connection; absent or 0: 2^31-1.
    pub max_concurrent_streams: Option<u32>,
    /// HTTP/2 pings.
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// HTTP/2 pings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Http2KeepAlive {
    /// Time between pings.
    #[serde(deserialize_with = "duration::option")]
    pub interval: Option<Duration>,
    /// How long to wait for the answer.
    #[serde(deserialize_with = "duration::option")]
    pub timeout: Option<Duration>,
}

/// Whether HTTP/1.1 is upgraded to HTTP/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2UpgradePolicy {
    /// As the mesh says.
    #[default]
    Default,
    /// No.
    DoNotUpgrade,
    /// Yes.
    Upgrade,
}

/// Ejection of failing endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Deprecated: use `consecutive_5xx_errors`.
    pub consecutive_errors: Option<u32>,
    /// Count failures of our own (connect, reset) apart.
    pub split_external_local_origin_errors: bool,
    /// Absent: 5.
    pub consecutive_local_origin_failures: Option<u32>,
    /// 502, 503, 504 in a row; absent or 0: off.
    pub consecutive_gateway_errors: Option<u32>,
    /// Any 5xx in a row; absent: 5; 0: off.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// Time between sweeps; absent: 10 s.
    #[serde(deserialize_with = "duration::option")]
    pub interval: Option<Duration>,
    /// First ejection's length; absent: 30 s.
    #[serde(deserialize_with = "duration::option")]
    pub base_ejection_time: Option<Duration>,
    /// Most of the endpoints that may be ejected; 0: 10 %.
    pub max_ejection_percent: u32,
    /// Below this share of healthy endpoints detection stops; 0: never.
    pub min_health_percent: u32,
    /// Status codes that count as errors in place of 5xx.
    pub outlier_detection_http_error_codes: Vec<u32>,
}

/// TLS to the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTlsSettings {
    /// What is done.
    pub mode: ClientTlsMode,
    /// File of the client's certificate (MUTUAL).
    pub client_certificate: String,
    /// File of its key (MUTUAL).
    pub private_key: String,
    /// File of the CA; empty: the system's.
    pub ca_certificates: String,
    /// Secret in place of the files.
    pub credential_name: String,
    /// Names that the server's certificate must have one of.
    pub subject_alt_names: Vec<String>,
    /// Server name to send.
    pub sni: String,
    /// Do not verify the server.
    pub insecure_skip_verify: Option<bool>,
    /// File of a revocation list.
    pub ca_crl: String,
}

/// What TLS is done to a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    /// None.
    #[default]
    Disable,
    /// The server proves itself.
    Simple,
    /// Both do, with the certificates named here.
    Mutual,
    /// Both do, with the mesh's identities.
    IstioMutual,
}

/// Tunnel TCP connections through the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelSettings {
    /// `CONNECT` (when empty) or `POST`.
    pub protocol: String,
    /// The host beyond.
    pub target_host: String,
    /// Its port.
    pub target_port: u16,
}

/// A PROXY protocol header to the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocol {
    /// The version.
    pub version: ProxyProtocolVersion,
}

/// PROXY protocol's version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ProxyProtocolVersion {
    /// Text.
    #[default]
    V1,
    /// Binary.
    V2,
}

/// Retries bounded by the share of active requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryBudget {
    /// Absent: 20 %.
    pub percent: Option<Percentage>,
    /// Retries always allowed; absent: 3.
    pub min_retry_concurrency: Option<u32>,
    /// Absent: 0.
    #[serde(deserialize_with = "duration::option")]
    pub budget_interval: Option<Duration>,
}
