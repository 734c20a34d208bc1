//! EndpointSlice: the addresses behind a Service.

use serde::Deserialize;

use super::service::Transport;
use crate::value::Accepted;

/// `discovery.k8s.io/v1` EndpointSlice. Its Service is named by the label
/// `kubernetes.io/service-name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// What the addresses are.
    pub address_type: AddressType,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The ports, the same on each endpoint.
    pub ports: Vec<EndpointPort>,
}

/// What an EndpointSlice's addresses are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum AddressType {
    /// IPv4 addresses.
    #[default]
    IPv4,
    /// IPv6 addresses.
    IPv6,
    /// DNS names.
    #[serde(rename = "FQDN")]
    Fqdn,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Its addresses; the first is used.
    pub addresses: Vec<String>,
    /// Whether calls may go to it.
    pub conditions: EndpointConditions,
    /// Its host name under a headless Service.
    pub hostname: String,
    /// The pod.
    pub target_ref: Option<ObjectReference>,
    /// The node.
    pub node_name: String,
    /// The zone.
    pub zone: String,
    /// Not used.
    pub hints: Accepted,
    /// Not used.
    pub deprecated_topology: Accepted,
}

/// An endpoint's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointConditions {
    /// Absent means ready.
    pub ready: Option<bool>,
    /// Absent means the same as ready.
    pub serving: Option<bool>,
    /// Absent means not terminating.
    pub terminating: Option<bool>,
}

impl EndpointConditions {
    /// Whether new calls may go there.
    #[must_use]
    pub fn is_ready(self) -> bool {
        self.ready.unwrap_or(true)
    }
}

/// One port of the slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// The Service port's name.
    pub name: String,
    /// The number; absent: all ports.
    pub port: Option<u16>,
    /// The transport.
    pub protocol: Transport,
    /// The application protocol.
    pub app_protocol: Option<String>,
}

/// A reference to another object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// `Pod`, mostly.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Not used.
    pub uid: Accepted,
    /// Not used.
    pub api_version: Accepted,
    /// Not used.
    pub resource_version: Accepted,
    /// Not used.
    pub field_path: Accepted,
}
