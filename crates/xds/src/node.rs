//! Who a proxy says it is (`envoy.config.core.v3.Node`).

use crate::{Locality, Struct, Value};

/// A proxy's description of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// `type~ip~pod.namespace~domain`.
    pub id: String,
    /// The service cluster, such as `reviews.bookinfo`.
    pub cluster: String,
    /// Istio's node metadata.
    pub metadata: Struct,
    /// Where it runs.
    pub locality: Locality,
    /// `envoy` or `mizzen`.
    pub user_agent_name: String,
    /// Its version, as `1.40.0`.
    pub user_agent_version: String,
    /// Names of the extensions that are compiled in.
    pub extensions: Vec<String>,
    /// Names of optional features of the protocol that it has.
    pub client_features: Vec<String>,
}

impl Node {
    /// The text at `key` of the metadata.
    pub fn metadata_str(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).and_then(Value::as_str)
    }
}
