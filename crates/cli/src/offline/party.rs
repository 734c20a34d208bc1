//! One who takes part in a call, with the proxy's description that a control plane would get.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use local::ProxyKind;
use local::offline::{Beside, Workload};
use pilot::Proxy;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A workload or gateway, whoever describes it.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    /// `namespace/name`.
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) address: IpAddr,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) beside: Beside,
    node: xds::Node,
}

/// A proxy as `--proxy FILE` describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Description {
    /// `sidecar` or `router`.
    #[serde(rename = "type", default = "sidecar")]
    kind: String,
    /// Its addresses; the first is its main one.
    #[serde(alias = "ips", alias = "ipAddresses")]
    addresses: Vec<IpAddr>,
    #[serde(default = "default_name")]
    namespace: String,
    /// Its pod's name.
    #[serde(default = "proxy_name")]
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default = "default_name", alias = "service_account")]
    service_account: String,
    /// Istio's node metadata, which wins over the fields above.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// Extensions that are compiled in; those of Mizzen's proxy when absent.
    extensions: Option<Vec<String>>,
}

fn sidecar() -> String {
    "sidecar".to_owned()
}

fn default_name() -> String {
    "default".to_owned()
}

fn proxy_name() -> String {
    "proxy".to_owned()
}

impl Party {
    /// A workload of the directory.
    pub(crate) fn from_workload(workload: &Workload) -> Self {
        let mut metadata = Map::new();
        metadata.insert("ANNOTATIONS".to_owned(), json!(workload.annotations));
        if let Some(deployment) = &workload.deployment {
            metadata.insert("WORKLOAD_NAME".to_owned(), json!(deployment));
        }
        let description = Description {
            kind: match workload.beside {
                Beside::Gateway => "router".to_owned(),
                Beside::Sidecar | Beside::Nothing => sidecar(),
            },
            addresses: vec![workload.address],
            namespace: workload.namespace.clone(),
            name: workload.pod.clone(),
            labels: workload.labels.clone(),
            service_account: workload.service_account.clone(),
            metadata,
            extensions: (workload.proxy == ProxyKind::Envoy).then(Vec::new),
        };
        Self::described(description, workload.address, workload.beside)
    }

    /// A proxy that a YAML or JSON file describes.
    ///
    /// # Errors
    /// When the file cannot be read, or does not say what is needed.
    pub(crate) fn from_file(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        let description: Description = serde_saphyr::from_str(&text)
            .with_context(|| format!("{shown} does not describe a proxy"))?;
        let beside = match description.kind.as_str() {
            "sidecar" => Beside::Sidecar,
            "router" => Beside::Gateway,
            other => bail!("{shown}: type {other:?} is not known; it is sidecar or router"),
        };
        let Some(address) = description.addresses.first().copied() else {
            bail!("{shown}: addresses: a proxy has at least one");
        };
        Ok(Self::described(description, address, beside))
    }

    fn described(description: Description, address: IpAddr, beside: Beside) -> Self {
        let Description { kind, namespace, name, labels, service_account, .. } = &description;
        let addresses: Vec<String> =
            description.addresses.iter().map(ToString::to_string).collect();
        let mut metadata = Map::new();
        for (key, value) in [
            ("NAME", json!(name)),
            ("NAMESPACE", json!(namespace)),
            ("SERVICE_ACCOUNT", json!(service_account)),
            ("INSTANCE_IPS", json!(addresses.join(","))),
            ("CLUSTER_ID", json!("Kubernetes")),
            ("LABELS", json!(labels)),
        ] {
            metadata.insert(key.to_owned(), value);
        }
        if beside == Beside::Sidecar {
            metadata.insert("INTERCEPTION_MODE".to_owned(), json!("REDIRECT"));
            metadata.insert("DNS_CAPTURE".to_owned(), json!("true"));
        }
        metadata.extend(description.metadata.clone());
        let extensions = description.extensions.clone();
        let node = xds::Node {
            id: format!("{kind}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"),
            metadata: metadata.iter().map(|(key, value)| (key.clone(), convert(value))).collect(),
            user_agent_name: if extensions.is_some() { "envoy" } else { "mizzen" }.to_owned(),
            extensions: extensions.unwrap_or_else(|| {
                proxy::EXTENSIONS.iter().map(|name| (*name).to_owned()).collect()
            }),
            ..xds::Node::default()
        };
        Self {
            name: format!("{namespace}/{name}"),
            namespace: namespace.clone(),
            service_account: service_account.clone(),
            address,
            labels: labels.clone(),
            beside,
            node,
        }
    }

    /// The proxy as the control plane knows it.
    ///
    /// # Errors
    /// When the description does not make a proxy.
    pub(crate) fn proxy(&self) -> anyhow::Result<Proxy> {
        Proxy::from_node(&self.node).with_context(|| format!("the proxy of {}", self.name))
    }

    /// The node as it would be sent.
    pub(crate) fn node(&self) -> &xds::Node {
        &self.node
    }

    /// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub(crate) fn identity(&self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/ns/{}/sa/{}", self.namespace, self.service_account)
    }
}

fn convert(value: &Value) -> xds::Value {
    match value {
        Value::Null => xds::Value::Null,
        Value::Bool(value) => xds::Value::Bool(*value),
        Value::Number(number) => xds::Value::number(number.as_f64().unwrap_or_default()),
        Value::String(text) => xds::Value::String(text.clone()),
        Value::Array(items) => xds::Value::List(items.iter().map(convert).collect()),
        Value::Object(fields) => xds::Value::Struct(
            fields.iter().map(|(key, value)| (key.clone(), convert(value))).collect(),
        ),
    }
}
