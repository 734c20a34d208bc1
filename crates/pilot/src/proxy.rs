//! One proxy: who asks for resources, as its node says. The caller has verified its identity; what
//! is read here is where it stands and what it can do.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use xds::{Locality, Node, Struct, Value};

/// What a proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyType {
    /// Beside a workload.
    Sidecar,
    /// A gateway.
    Router,
}

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// The node's id.
    pub id: String,
    /// What it is.
    pub proxy_type: ProxyType,
    /// Its addresses; the first is its main one.
    pub ips: Vec<IpAddr>,
    /// Its pod's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its pod's labels.
    pub labels: BTreeMap<String, String>,
    /// Its service account; empty when the node does not say it.
    pub service_account: String,
    /// Where it runs.
    pub locality: Locality,
    /// Istio's node metadata.
    pub metadata: Struct,
    /// What the proxy calls itself: `envoy`, or `mizzen`.
    pub user_agent: String,
    /// Names of the extensions that are compiled in.
    pub extensions: BTreeSet<String>,
    /// The mark that its own sockets must carry to pass capture by, where capture goes by mark.
    pub socket_mark: Option<u32>,
}

/// Why a node is not a proxy that can be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The id is not of the form `type~ip~pod.namespace~domain`.
    #[error("node id {0:?} is not of the form type~ip~pod.namespace~domain")]
    Id(String),
    /// The type is not one that is served.
    #[error("node id {id:?}: proxy type {proxy_type:?} is not served; expected sidecar or router")]
    Type {
        /// The whole id.
        id: String,
        /// Its first part.
        proxy_type: String,
    },
    /// The node has no usable address.
    #[error("node {0:?} has no valid IP address, neither in its id nor in INSTANCE_IPS")]
    Address(String),
    /// The node does not say its namespace.
    #[error("node {0:?} has no namespace, neither in its id nor in NAMESPACE")]
    Namespace(String),
    /// `SOCKET_MARK` is not a number.
    #[error("node {id:?}: SOCKET_MARK {mark:?} is not an unsigned 32-bit number")]
    SocketMark {
        /// The whole id.
        id: String,
        /// The metadata's value.
        mark: String,
    },
}

impl Proxy {
    /// The proxy that a node describes.
    ///
    /// # Errors
    /// When the id or the metadata lack what generation stands on.
    pub fn from_node(node: &Node) -> Result<Self, NodeError> {
        let id = &node.id;
        let parts: Vec<&str> = id.split('~').collect();
        let [proxy_type, ip, pod, _domain] = parts[..] else {
            return Err(NodeError::Id(id.clone()));
        };
        let (name, id_namespace) = pod.rsplit_once('.').unwrap_or((pod, ""));
        let namespace = node.metadata_str("NAMESPACE").unwrap_or(id_namespace).to_owned();
        if namespace.is_empty() {
            return Err(NodeError::Namespace(id.clone()));
        }
        Ok(Self {
            id: id.clone(),
            proxy_type: parse_type(id, proxy_type)?,
            ips: addresses(node, ip)?,
            name: node.metadata_str("NAME").unwrap_or(name).to_owned(),
            namespace,
            labels: labels(node),
            service_account: node.metadata_str("SERVICE_ACCOUNT").unwrap_or_default().to_owned(),
            locality: node.locality.clone(),
            metadata: node.metadata.clone(),
            user_agent: node.user_agent_name.clone(),
            extensions: node.extensions.iter().cloned().collect(),
            socket_mark: socket_mark(node)?,
        })
    }

    /// Whether the proxy has an extension with this name compiled in.
    #[must_use]
    pub fn has_extension(&self, name: &str) -> bool {
        self.extensions.contains(name)
    }

    /// Whether it knows Istio's metrics filter.
    pub(crate) fn has_stats(&self) -> bool {
        self.has_extension("istio.stats")
    }

    /// Whether it knows Istio's ALPN filter.
    pub(crate) fn has_alpn(&self) -> bool {
        self.has_extension("istio.alpn")
    }

    /// Whether it exchanges peer metadata over HTTP headers.
    pub(crate) fn has_peer_metadata(&self) -> bool {
        self.has_extension("envoy.filters.http.peer_metadata")
    }

    /// Whether it exchanges peer metadata on connections.
    pub(crate) fn has_metadata_exchange(&self) -> bool {
        self.has_extension("istio.metadata_exchange")
            || self.has_extension("envoy.filters.network.metadata_exchange")
    }

    /// Whether it is a gateway.
    pub(crate) fn is_router(&self) -> bool {
        self.proxy_type == ProxyType::Router
    }

    /// Whether it may not bind ports below 1024.
    pub(crate) fn is_unprivileged(&self) -> bool {
        self.metadata.get("UNPRIVILEGED_POD").and_then(Value::as_str) == Some("true")
    }
}

fn parse_type(id: &str, text: &str) -> Result<ProxyType, NodeError> {
    match text {
        "sidecar" => Ok(ProxyType::Sidecar),
        "router" => Ok(ProxyType::Router),
        _ => Err(NodeError::Type { id: id.to_owned(), proxy_type: text.to_owned() }),
    }
}

/// The id's address, then those of `INSTANCE_IPS`.
fn addresses(node: &Node, ip: &str) -> Result<Vec<IpAddr>, NodeError> {
    let more = node.metadata_str("INSTANCE_IPS").unwrap_or_default();
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in std::iter::once(ip).chain(more.split(',')).filter_map(|text| text.trim().parse().ok())
    {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    if ips.is_empty() { Err(NodeError::Address(node.id.clone())) } else { Ok(ips) }
}

fn labels(node: &Node) -> BTreeMap<String, String> {
    let fields = node.metadata.get("LABELS").and_then(Value::as_struct);
    fields
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn socket_mark(node: &Node) -> Result<Option<u32>, NodeError> {
    let Some(value) = node.metadata.get("SOCKET_MARK") else { return Ok(None) };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(bits) => f64::from_bits(*bits).to_string(),
        _ => String::new(),
    };
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse() {
        Ok(mark) => Ok(Some(mark)),
        Err(_) => Err(NodeError::SocketMark { id: node.id.clone(), mark: text }),
    }
}

#[cfg(test)]
mod tests;
