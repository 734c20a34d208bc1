//! Which proxies are connected, and whether each has accepted what it was sent.

use std::time::SystemTime;

use serde_json::{Map, Value, json};
use xds::ResourceType;

use super::world::timestamp;
use crate::ads::registry::{Entry, Registry};
use crate::metrics::short_name;

/// The names of the pairs of fields in Istio's `SyncStatus`.
const FIELDS: [(ResourceType, &str); 4] = [
    (ResourceType::Cluster, "cluster"),
    (ResourceType::Listener, "listener"),
    (ResourceType::RouteConfiguration, "route"),
    (ResourceType::LoadAssignment, "endpoint"),
];

/// `/debug/syncz`: equal nonces of a type mean that the proxy is in sync.
pub(super) fn syncz(registry: &Registry) -> Vec<Value> {
    registry.entries().iter().map(|entry| sync_status(entry)).collect()
}

fn sync_status(entry: &Entry) -> Value {
    let text = |key: &str| entry.node.metadata_str(key).unwrap_or_default().to_owned();
    let mut status = Map::new();
    status.insert("cluster_id".into(), text("CLUSTER_ID").into());
    status.insert("proxy".into(), entry.proxy_id().into());
    status.insert("proxy_type".into(), entry.proxy_type().into());
    status.insert("istio_version".into(), text("ISTIO_VERSION").into());
    let types = entry.types();
    for (kind, name) in FIELDS {
        let of_type = types.get(&kind).cloned().unwrap_or_default();
        status.insert(format!("{name}_sent"), of_type.sent_nonce.into());
        status.insert(format!("{name}_acked"), of_type.acked_nonce.into());
    }
    let refused: Map<String, Value> = types
        .iter()
        .filter_map(|(kind, status)| {
            Some((short_name(*kind).to_owned(), status.refused.clone()?.into()))
        })
        .collect();
    if !refused.is_empty() {
        // Not in Istio's shape: what the proxy said.
        status.insert("refused".into(), refused.into());
    }
    status.into()
}

/// `/debug/adsz`: connections, and what each is subscribed to.
pub(super) fn adsz(registry: &Registry) -> Value {
    let entries = registry.entries();
    let clients: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let watches: Map<String, Value> = entry
                .types()
                .into_iter()
                .map(|(kind, status)| (kind.type_url().to_owned(), status.subscribed().into()))
                .collect();
            json!({
                "connectionId": format!("{}-{}", entry.proxy_id(), entry.number),
                "connectedAt": timestamp(entry.connected),
                "address": entry.address,
                "node": entry.node.id,
                "identity": entry.identity,
                "watches": watches,
            })
        })
        .collect();
    let now = timestamp(SystemTime::now());
    json!({ "time": now, "totalClients": clients.len(), "clients": clients })
}
