//! ServiceEntry: a service that no Kubernetes Service stands for, inside or outside of the mesh.

use serde::Deserialize;

use super::{
    gateway::Port,
    workload_entry::{WorkloadEntry, WorkloadLabels},
};

/// `networking.istio.io` ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// The names; a wildcard only where the proxy need not know the endpoints.
    pub hosts: Vec<String>,
    /// Virtual addresses or networks; empty: one is allocated (see
    /// [`crate::assign_entry_ips`]).
    pub addresses: Vec<String>,
    /// The ports. An empty protocol is detected.
    pub ports: Vec<Port>,
    /// Whether it is part of the mesh.
    pub location: Location,
    /// How the proxy finds endpoints.
    pub resolution: Resolution,
    /// The endpoints; DNS resolution without any resolves the hosts.
    pub endpoints: Vec<WorkloadEntry>,
    /// WorkloadEntries and Pods of the same namespace in place of `endpoints`.
    pub workload_selector: Option<WorkloadLabels>,
    /// Namespaces that may see it; empty: the mesh's default.
    pub export_to: Vec<String>,
    /// Names that a server may prove, besides the identities of the endpoints' accounts.
    pub subject_alt_names: Vec<String>,
}

/// Whether a service is part of the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// No: no automatic mutual TLS, no exchange of peer metadata.
    #[default]
    MeshExternal,
    /// Yes.
    MeshInternal,
}

/// How the proxy finds a service's endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// Where the connection was going.
    #[default]
    None,
    /// The endpoints as they are written.
    Static,
    /// Every address that the names resolve to.
    Dns,
    /// One address that the name resolves to.
    DnsRoundRobin,
    /// The name that each request asks for, resolved when it comes.
    DynamicDns,
}

impl Resolution {
    /// The name as in YAML.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Static => "STATIC",
            Self::Dns => "DNS",
            Self::DnsRoundRobin => "DNS_ROUND_ROBIN",
            Self::DynamicDns => "DYNAMIC_DNS",
        }
    }
}
