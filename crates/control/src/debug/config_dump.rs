//! A proxy's configuration as it was last sent, in the shape of Envoy's `/config_dump`.

use serde_json::{Value, json};
use xds::ResourceType;
use xds::session::Encoded;

use super::world::timestamp;
use crate::ads::registry::{Entry, TypeStatus};

const PREFIX: &str = "type.googleapis.com/envoy.admin.v3.";

/// The resources of one type as JSON, in the order of their names.
pub(super) fn resources(entry: &Entry, kind: ResourceType) -> Value {
    let status = entry.types().remove(&kind).unwrap_or_default();
    status.resources.values().map(json_of).collect()
}

/// Clusters, listeners, routes, endpoints and the name table of one proxy.
pub(super) fn config_dump(entry: &Entry) -> Value {
    let mut types = entry.types();
    let mut take = |kind| types.remove(&kind).unwrap_or_default();
    let clusters = take(ResourceType::Cluster);
    let listeners = take(ResourceType::Listener);
    let routes = take(ResourceType::RouteConfiguration);
    let endpoints = take(ResourceType::LoadAssignment);
    let state = |status: &TypeStatus, field: &str, encoded: &Encoded| {
        json!({
            "version_info": encoded.version,
            field: json_of(encoded),
            "last_updated": status.updated.map(timestamp),
        })
    };
    let each = |status: &TypeStatus, field: &str| -> Vec<Value> {
        status.resources.values().map(|encoded| state(status, field, encoded)).collect()
    };
    let listeners_by_name: Vec<Value> = listeners
        .resources
        .iter()
        .map(|(name, encoded)| {
            let mut listener =
                json!({ "name": name, "active_state": state(&listeners, "listener", encoded) });
            if let (Some(reason), Some(fields)) = (&listeners.refused, listener.as_object_mut()) {
                fields.insert("error_state".into(), json!({ "details": reason }));
            }
            listener
        })
        .collect();
    json!({
        "configs": [
            {
                "@type": format!("{PREFIX}ClustersConfigDump"),
                "version_info": clusters.acked_version,
                "dynamic_active_clusters": each(&clusters, "cluster"),
            },
            {
                "@type": format!("{PREFIX}ListenersConfigDump"),
                "version_info": listeners.acked_version,
                "dynamic_listeners": listeners_by_name,
            },
            {
                "@type": format!("{PREFIX}RoutesConfigDump"),
                "dynamic_route_configs": each(&routes, "route_config"),
            },
            {
                "@type": format!("{PREFIX}EndpointsConfigDump"),
                "dynamic_endpoint_configs": each(&endpoints, "endpoint_config"),
            },
        ],
    })
}

fn json_of(encoded: &Encoded) -> Value {
    xds::to_json(&encoded.any).unwrap_or_else(
        |error| json!({ "@type": encoded.any.type_url, "error": error.to_string() }),
    )
}
