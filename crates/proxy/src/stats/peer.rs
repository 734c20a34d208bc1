//! What a workload tells its peers about itself, and what they tell: Istio's exchange of metadata
//! by the headers `x-envoy-peer-metadata` (base64 of a `google.protobuf.Struct`) and
//! `x-envoy-peer-metadata-id`.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};

const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
/// Labels that are told; others would only cost bytes in each request.
const TOLD_LABELS: [&str; 6] = [
    "app",
    "version",
    CANONICAL_NAME,
    CANONICAL_REVISION,
    "app.kubernetes.io/name",
    "app.kubernetes.io/version",
];
/// The longest metadata that is read, in bytes of base64.
const MAX_ENCODED: usize = 16 * 1024;

/// What is known of a workload, as metrics show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub workload: String,
    pub namespace: String,
    pub app: String,
    pub version: String,
    pub canonical_service: String,
    pub canonical_revision: String,
    pub cluster: String,
}

impl Peer {
    /// Reads the header's value; none when it is no metadata.
    pub(crate) fn from_header(value: &[u8]) -> Option<Self> {
        if value.len() > MAX_ENCODED {
            return None;
        }
        let bytes = STANDARD.decode(value).ok()?;
        Some(Self::from_struct(&Struct::decode(bytes.as_slice()).ok()?))
    }

    /// Reads a workload's metadata.
    pub(crate) fn from_struct(fields: &Struct) -> Self {
        let text = |key: &str| string(fields.fields.get(key)).unwrap_or_default();
        let labels = match fields.fields.get("LABELS").and_then(|value| value.kind.as_ref()) {
            Some(Kind::StructValue(labels)) => labels
                .fields
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), string(Some(value))?)))
                .collect(),
            _ => BTreeMap::new(),
        };
        Self::new(&text("WORKLOAD_NAME"), &text("NAMESPACE"), &text("CLUSTER_ID"), &labels)
    }

    fn new(
        workload: &str,
        namespace: &str,
        cluster: &str,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| labels.get(*name)).cloned().unwrap_or_default()
        };
        let app = first(&["app", "app.kubernetes.io/name"]);
        let version = first(&["version", "app.kubernetes.io/version"]);
        let or =
            |value: String, other: &str| if value.is_empty() { other.to_owned() } else { value };
        let fallback = if app.is_empty() { workload } else { app.as_str() };
        let canonical_service = or(first(&[CANONICAL_NAME]), fallback);
        let latest = if version.is_empty() { "latest" } else { version.as_str() };
        let canonical_revision = or(first(&[CANONICAL_REVISION]), latest);
        Self {
            workload: workload.to_owned(),
            namespace: namespace.to_owned(),
            app,
            version,
            canonical_service,
            canonical_revision,
            cluster: cluster.to_owned(),
        }
    }

    /// Reads an endpoint's `istio`/`workload`: `name;namespace;canonical name;revision;cluster`.
    pub(crate) fn from_endpoint(metadata: &xds::Metadata) -> Option<Self> {
        let text = metadata.get("istio", "workload")?.as_str()?;
        let mut parts = text.split(';').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (workload, namespace, canonical_service, canonical_revision, cluster) =
            (next(), next(), next(), next(), next());
        Some(Self {
            app: canonical_service.clone(),
            version: canonical_revision.clone(),
            workload,
            namespace,
            canonical_service,
            canonical_revision,
            cluster,
        })
    }
}

fn string(value: Option<&Value>) -> Option<String> {
    match value?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

/// This proxy's own workload: what metrics show and what peers are told.
#[derive(Clone, Debug)]
pub(crate) struct LocalPeer {
    pub(crate) peer: Peer,
    /// `x-envoy-peer-metadata-id`.
    pub(crate) id: HeaderValue,
    /// `x-envoy-peer-metadata`.
    pub(crate) metadata: HeaderValue,
    /// What is sent on TCP connections that exchange metadata.
    pub(crate) frame: Vec<u8>,
}

impl LocalPeer {
    /// Reads the node's metadata.
    pub(crate) fn new(node: &xds::Node) -> Self {
        let text = |key: &str| node.metadata_str(key).unwrap_or_default().to_owned();
        let labels: BTreeMap<String, String> = node
            .metadata
            .get("LABELS")
            .and_then(xds::Value::as_struct)
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let (workload, namespace, cluster) =
            (text("WORKLOAD_NAME"), text("NAMESPACE"), text("CLUSTER_ID"));
        let peer = Peer::new(&workload, &namespace, &cluster, &labels);
        let mut told: BTreeMap<String, Value> = BTreeMap::new();
        for key in ["NAME", "NAMESPACE", "WORKLOAD_NAME", "CLUSTER_ID", "OWNER"] {
            let value = text(key);
            if !value.is_empty() {
                told.insert(key.to_owned(), text_value(value));
            }
        }
        let shown = labels.iter().filter(|(name, _)| TOLD_LABELS.contains(&name.as_str()));
        let shown: BTreeMap<String, Value> =
            shown.map(|(name, value)| (name.clone(), text_value(value.clone()))).collect();
        told.insert(
            "LABELS".to_owned(),
            Value { kind: Some(Kind::StructValue(Struct { fields: shown })) },
        );
        let told = Struct { fields: told };
        let encoded = STANDARD.encode(told.encode_to_vec());
        let frame = crate::tcp::exchange_frame(told, &node.id);
        let header = |text: &str| {
            HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        };
        Self { peer, id: header(&node.id), metadata: header(&encoded), frame }
    }
}

fn text_value(text: String) -> Value {
    Value { kind: Some(Kind::StringValue(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_read() {
        let labels = [("app", "reviews"), ("version", "v2"), ("secret", "x")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.into()));
        let node = xds::Node {
            id: "sidecar~10.0.0.1~reviews.bookinfo~bookinfo.svc.cluster.local".into(),
            metadata: [
                ("WORKLOAD_NAME".to_owned(), "reviews-v2".into()),
                ("NAMESPACE".to_owned(), "bookinfo".into()),
                ("CLUSTER_ID".to_owned(), "Kubernetes".into()),
                ("LABELS".to_owned(), xds::Value::Struct(labels.into())),
            ]
            .into(),
            ..xds::Node::default()
        };
        let local = LocalPeer::new(&node);
        let read = Peer::from_header(local.metadata.as_bytes()).unwrap();
        assert_eq!(read, local.peer);
        assert_eq!(read.canonical_service, "reviews");
        assert_eq!(read.canonical_revision, "v2");
        let bytes = STANDARD.decode(local.metadata.as_bytes()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("secret"));
    }

    #[test]
    fn garbage_is_no_metadata() {
        assert_eq!(Peer::from_header(b"%%%"), None);
        assert_eq!(Peer::from_header(&[b'A'; MAX_ENCODED + 4]), None);
        assert!(Peer::from_header(b"").is_some());
    }

    #[test]
    fn endpoint_metadata_names_the_workload() {
        let fields = [("workload".to_owned(), "a;ns;svc;v1;c1".into())];
        let metadata = xds::Metadata([("istio".to_owned(), fields.into())].into());
        let peer = Peer::from_endpoint(&metadata).unwrap();
        assert_eq!((peer.workload.as_str(), peer.cluster.as_str()), ("a", "c1"));
    }
}
