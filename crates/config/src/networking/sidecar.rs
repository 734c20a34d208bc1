//! Sidecar: what a workload's proxy serves, and what of the mesh it knows.

use serde::Deserialize;

use super::{
    destination_rule::ConnectionPoolSettings,
    gateway::{Port, ServerTlsSettings},
    virtual_service::Destination,
    workload_entry::WorkloadLabels,
};

/// `networking.istio.io` Sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// The workloads of the namespace; absent: all (in the root namespace: of every namespace that
    /// has none of its own).
    pub workload_selector: Option<WorkloadLabels>,
    /// Inbound listeners in place of those that services ask for; empty: those.
    pub ingress: Vec<IngressListener>,
    /// What calls can go to; absent: everything.
    pub egress: Option<Vec<EgressListener>>,
    /// Limits of connections to the workload, on all ports.
    pub inbound_connection_pool: Option<ConnectionPoolSettings>,
    /// Calls to hosts that nobody declared; absent: as the mesh says.
    pub outbound_traffic_policy: Option<SidecarOutboundTrafficPolicy>,
}

impl Sidecar {
    /// The labels of its workloads; none: all of the namespace.
    #[must_use]
    pub fn selector(&self) -> Option<&WorkloadLabels> {
        self.workload_selector.as_ref().filter(|selector| !selector.labels.is_empty())
    }
}

/// A way into the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressListener {
    /// The port.
    pub port: Option<Port>,
    /// An address to listen on; empty: the workload's.
    pub bind: String,
    /// Whether connections are captured.
    pub capture_mode: CaptureMode,
    /// Where the application is: `127.0.0.1:PORT`, `[::1]:PORT`, `0.0.0.0:PORT` (the workload's
    /// address) or `unix://PATH`; empty: where the call was going.
    pub default_endpoint: String,
    /// TLS that is terminated. COMPAT: as with Istio's defaults it has no effect.
    pub tls: Option<ServerTlsSettings>,
    /// Limits of connections to this port.
    pub connection_pool: Option<ConnectionPoolSettings>,
}

/// A way out of the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressListener {
    /// The port; absent: all that no other listener has.
    pub port: Option<Port>,
    /// An address, or `unix://` and a path, to listen on; empty: the services' own addresses.
    pub bind: String,
    /// Whether connections are captured.
    pub capture_mode: CaptureMode,
    /// `namespace/name` of services: namespace `*` (all), `.` (the own) or `~` (none); a `~` before
    /// the namespace leaves out what another entry brings in.
    pub hosts: Vec<String>,
}

/// How connections come to a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CaptureMode {
    /// As the proxy is set up.
    #[default]
    Default,
    /// Captured.
    Iptables,
    /// The application connects to it.
    None,
}

/// Calls to hosts that nobody declared, from some workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarOutboundTrafficPolicy {
    /// Pass or refuse; absent: refuse, the first of the API's values.
    pub mode: SidecarOutboundMode,
    /// Where calls are passed to.
    pub egress_proxy: Option<Destination>,
}

/// Pass or refuse calls to hosts that nobody declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SidecarOutboundMode {
    /// Refuse them.
    #[default]
    RegistryOnly,
    /// Pass them on.
    AllowAny,
}
