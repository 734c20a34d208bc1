//! Who the proxy says it is: Istio's node id and metadata, for our proxy and for Envoy's bootstrap.

use serde_json::{Map, Value, json};
use xds::{Struct, Value as XdsValue};

use crate::options::{AgentOptions, Role};

/// The version of Istio whose proxies ours is like; control planes decide by it.
const ISTIO_VERSION: &str = "1.32.0";

/// A node, before it takes the form of a message or of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeIdentity {
    pub(crate) id: String,
    pub(crate) cluster: String,
    pub(crate) metadata: Map<String, Value>,
}

impl NodeIdentity {
    /// The node of the workload that the options describe.
    pub(crate) fn new(options: &AgentOptions) -> Self {
        let workload = &options.workload;
        let (pod, namespace) = (&workload.pod, &workload.namespace);
        let role = match options.role {
            Role::Sidecar => "sidecar",
            Role::Router => "router",
        };
        let address = workload.addresses.first().map(ToString::to_string).unwrap_or_default();
        let domain = &options.domain;
        let id = format!("{role}~{address}~{pod}.{namespace}~{namespace}.svc.{domain}");
        let metadata = metadata(options);
        let application = metadata
            .get("LABELS")
            .and_then(|labels| labels.get("app"))
            .and_then(Value::as_str)
            .unwrap_or("istio-proxy");
        let cluster = format!("{application}.{namespace}");
        Self { id, cluster, metadata }
    }

    /// As our proxy takes it.
    pub(crate) fn for_mizzen(&self) -> xds::Node {
        xds::Node {
            id: self.id.clone(),
            cluster: self.cluster.clone(),
            metadata: convert(&self.metadata),
            locality: xds::Locality::default(),
            user_agent_name: "mizzen".to_owned(),
            user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: proxy::EXTENSIONS.iter().map(ToString::to_string).collect(),
            client_features: Vec::new(),
        }
    }
}

fn metadata(options: &AgentOptions) -> Map<String, Value> {
    let workload = &options.workload;
    let mut metadata = Map::new();
    let addresses: Vec<_> = workload.addresses.iter().map(ToString::to_string).collect();
    for (key, value) in [
        ("NAME", json!(workload.pod)),
        ("NAMESPACE", json!(workload.namespace)),
        ("SERVICE_ACCOUNT", json!(workload.service_account)),
        ("INSTANCE_IPS", json!(addresses.join(","))),
        ("CLUSTER_ID", json!(options.discovery.cluster_id)),
        ("MESH_ID", json!(workload.trust_domain)),
        ("ISTIO_VERSION", json!(ISTIO_VERSION)),
        ("MIZZEN_VERSION", json!(env!("CARGO_PKG_VERSION"))),
        ("ENVOY_STATUS_PORT", json!(options.ports.status)),
        ("ENVOY_PROMETHEUS_PORT", json!(options.ports.prometheus)),
        ("INTERCEPTION_MODE", json!("REDIRECT")),
        ("PILOT_SAN", json!([options.discovery.server_name])),
    ] {
        metadata.insert(key.to_owned(), value);
    }
    if options.role == Role::Router {
        metadata.remove("INTERCEPTION_MODE");
    }
    if !workload.proxy_config.is_empty() {
        metadata.insert("PROXY_CONFIG".to_owned(), Value::Object(workload.proxy_config.clone()));
    }
    // What the pod's environment says wins.
    metadata.extend(workload.metadata.clone());
    // An identity, and what capture depends on, are not for the environment to change.
    metadata.insert("NAMESPACE".to_owned(), json!(workload.namespace));
    metadata.insert("SERVICE_ACCOUNT".to_owned(), json!(workload.service_account));
    if let Some(mark) = options.discovery.socket_mark {
        metadata.insert("SOCKET_MARK".to_owned(), json!(mark.to_string()));
    }
    metadata
}

fn convert(fields: &Map<String, Value>) -> Struct {
    fields.iter().map(|(key, value)| (key.clone(), convert_value(value))).collect()
}

fn convert_value(value: &Value) -> XdsValue {
    match value {
        Value::Null => XdsValue::Null,
        Value::Bool(value) => XdsValue::Bool(*value),
        Value::Number(number) => XdsValue::number(number.as_f64().unwrap_or_default()),
        Value::String(text) => XdsValue::String(text.clone()),
        Value::Array(items) => XdsValue::List(items.iter().map(convert_value).collect()),
        Value::Object(fields) => XdsValue::Struct(convert(fields)),
    }
}

#[cfg(test)]
mod tests;
