//! The API group `telemetry.istio.io`: which metrics, access logs and traces a workload gives.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    label::LabelSelector,
    security::PolicyTargetReference,
    value::{Unsupported, duration},
};

/// `telemetry.istio.io` Telemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// The workloads of the namespace; absent: all (of the mesh, in the root namespace).
    pub selector: Option<LabelSelector>,
    /// Deprecated form of `target_refs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// Gateways or services in place of the selector.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Traces.
    pub tracing: Option<Unsupported>,
    /// Metrics.
    pub metrics: Vec<Metrics>,
    /// Access logs.
    pub access_logging: Vec<AccessLogging>,
}

impl Telemetry {
    /// Whether it is for all workloads of its namespace.
    #[must_use]
    pub fn is_for_namespace(&self) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.match_labels.is_empty())
    }
}

/// A provider by its name in MeshConfig, or a built-in one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderRef {
    /// The name.
    pub name: String,
}

/// The side of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadMode {
    /// Not said: both.
    #[default]
    Undefined,
    /// Both.
    ClientAndServer,
    /// What it calls.
    Client,
    /// What calls it.
    Server,
}

impl WorkloadMode {
    /// Whether the client's side is meant.
    #[must_use]
    pub fn has_client(self) -> bool {
        self != Self::Server
    }

    /// Whether the server's side is meant.
    #[must_use]
    pub fn has_server(self) -> bool {
        self != Self::Client
    }
}

/// What metrics are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metrics {
    /// Who gets them.
    pub providers: Vec<ProviderRef>,
    /// Changes, applied in order.
    pub overrides: Vec<MetricsOverrides>,
    /// How often metrics of open connections are reported; 5 s.
    #[serde(deserialize_with = "duration::option")]
    pub reporting_interval: Option<std::time::Duration>,
}

/// A change of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsOverrides {
    /// Which metrics.
    #[serde(rename = "match")]
    pub matches: MetricSelector,
    /// Not made at all.
    pub disabled: Option<bool>,
    /// Changes of labels, by the label's name.
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// Metrics of one name or all, of one side or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSelector {
    /// One of Istio's own.
    pub metric: Option<IstioMetric>,
    /// Another one.
    pub custom_metric: String,
    /// The side.
    pub mode: WorkloadMode,
}

/// Istio's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IstioMetric {
    /// All of them.
    AllMetrics,
    /// `istio_requests_total`
    RequestCount,
    /// `istio_request_duration_milliseconds`
    RequestDuration,
    /// `istio_request_bytes`
    RequestSize,
    /// `istio_response_bytes`
    ResponseSize,
    /// `istio_tcp_connections_opened_total`
    TcpOpenedConnections,
    /// `istio_tcp_connections_closed_total`
    TcpClosedConnections,
    /// `istio_tcp_sent_bytes_total`
    TcpSentBytes,
    /// `istio_tcp_received_bytes_total`
    TcpReceivedBytes,
    /// `istio_request_messages_total`
    GrpcRequestMessages,
    /// `istio_response_messages_total`
    GrpcResponseMessages,
}

/// A change of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TagOverride {
    /// What is done.
    pub operation: TagOperation,
    /// The new value, a CEL expression.
    pub value: String,
}

/// What is done to a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TagOperation {
    /// Added or changed.
    #[default]
    Upsert,
    /// Taken away.
    Remove,
}

/// An access log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogging {
    /// Which side.
    #[serde(rename = "match")]
    pub matches: LogSelector,
    /// Where lines go; empty: as the parent says, or MeshConfig's default.
    pub providers: Vec<ProviderRef>,
    /// No log.
    pub disabled: Option<bool>,
    /// Which requests.
    pub filter: Option<AccessLogFilter>,
}

/// The side that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogSelector {
    /// The side.
    pub mode: WorkloadMode,
}

/// Which requests are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogFilter {
    /// A CEL expression.
    pub expression: String,
}
