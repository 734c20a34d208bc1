//! WorkloadEntry and WorkloadGroup: workloads that are no pods.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    k8s::{ExecAction, GrpcAction, HttpHeader},
    label,
};

/// `networking.istio.io` WorkloadEntry; also an endpoint within a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// An address, a DNS name (with DNS resolution) or `unix://` and a path.
    pub address: String,
    /// Ports by the service port's name; absent: the target port, else the service's.
    pub ports: BTreeMap<String, u16>,
    /// Labels, by which subsets and policies know it.
    pub labels: BTreeMap<String, String>,
    /// The network that the address is in.
    pub network: String,
    /// `region/zone/subzone`.
    pub locality: String,
    /// Its share of calls; 0 (when absent) counts as 1.
    pub weight: u32,
    /// The account of the same namespace whose identity it has; empty: none.
    pub service_account: String,
}

/// The selector of ServiceEntry and Sidecar: `{labels: {...}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadLabels {
    /// Labels that a workload must have, all of them.
    pub labels: BTreeMap<String, String>,
}

impl WorkloadLabels {
    /// Whether a workload with `labels` is selected; without any label nothing is.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.labels.is_empty() && label::selects(&self.labels, labels)
    }
}

/// `networking.istio.io` WorkloadGroup: what workloads have that join by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroup {
    /// Metadata of the WorkloadEntries that come of it.
    pub metadata: WorkloadGroupMeta,
    /// What each of them says.
    pub template: Option<WorkloadEntry>,
    /// How their health is found out.
    pub probe: Option<ReadinessProbe>,
}

/// Metadata that a WorkloadGroup gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroupMeta {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A health probe of a WorkloadGroup: exactly one of the methods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessProbe {
    /// Absent: 0.
    pub initial_delay_seconds: Option<i32>,
    /// Absent: 1.
    pub timeout_seconds: Option<i32>,
    /// Absent: 10.
    pub period_seconds: Option<i32>,
    /// Absent: 1.
    pub success_threshold: Option<i32>,
    /// Absent: 3.
    pub failure_threshold: Option<i32>,
    /// An HTTP GET that must answer 2xx or 3xx.
    pub http_get: Option<HttpHealthCheck>,
    /// A connection that must be accepted.
    pub tcp_socket: Option<TcpHealthCheck>,
    /// A command that must exit with 0.
    pub exec: Option<ExecAction>,
    /// A gRPC health check.
    pub grpc: Option<GrpcAction>,
}

/// An HTTP health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHealthCheck {
    /// Empty: `/`.
    pub path: String,
    /// The port.
    pub port: u16,
    /// Empty: the workload's address.
    pub host: String,
    /// `HTTP` (when empty) or `HTTPS`.
    pub scheme: String,
    /// Headers to send.
    pub http_headers: Vec<HttpHeader>,
}

/// A TCP health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpHealthCheck {
    /// Empty: `localhost`.
    pub host: String,
    /// The port.
    pub port: u16,
}
