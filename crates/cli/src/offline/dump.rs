//! A proxy's configuration in the shape of Envoy's `/config_dump`, as if it had just been sent.
//! Without times, so that the same files give the same text.

use serde_json::{Value, json};

use super::{Party, Resources};

const ADMIN: &str = "type.googleapis.com/envoy.admin.v3.";
/// Stands where a running proxy tells a version.
const VERSION: &str = "offline";

/// Bootstrap (the node), clusters, endpoints, listeners and routes.
pub(crate) fn config_dump(party: &Party, resources: &Resources) -> Value {
    let node = xds::message_to_json(&party.node().to_proto()).unwrap_or_default();
    let each = |list: &[pb::Any], field: &str| -> Vec<Value> {
        list.iter().map(|any| json!({ "version_info": VERSION, field: shown(any) })).collect()
    };
    let listeners: Vec<Value> = resources
        .listeners
        .iter()
        .map(|any| {
            let listener = shown(any);
            json!({
                "name": listener["name"],
                "active_state": { "version_info": VERSION, "listener": listener },
            })
        })
        .collect();
    json!({
        "configs": [
            { "@type": format!("{ADMIN}BootstrapConfigDump"), "bootstrap": { "node": node } },
            {
                "@type": format!("{ADMIN}ClustersConfigDump"),
                "version_info": VERSION,
                "dynamic_active_clusters": each(&resources.clusters, "cluster"),
            },
            {
                "@type": format!("{ADMIN}EndpointsConfigDump"),
                "dynamic_endpoint_configs": each(&resources.load_assignments, "endpoint_config"),
            },
            {
                "@type": format!("{ADMIN}ListenersConfigDump"),
                "version_info": VERSION,
                "dynamic_listeners": listeners,
            },
            {
                "@type": format!("{ADMIN}RoutesConfigDump"),
                "dynamic_route_configs": each(&resources.routes, "route_config"),
            },
        ],
    })
}

/// The endpoints in the shape of Envoy's `/clusters?format=json`.
pub(crate) fn cluster_statuses(resources: &Resources) -> Value {
    let inline = resources.clusters.iter().map(shown).filter_map(|cluster| {
        let assignment = &cluster["load_assignment"];
        (!assignment.is_null()).then(|| assignment.clone())
    });
    let statuses: Vec<Value> = resources
        .load_assignments
        .iter()
        .map(shown)
        .chain(inline)
        .map(|assignment| {
            let hosts: Vec<Value> = list(&assignment["endpoints"])
                .iter()
                .flat_map(|locality| list(&locality["lb_endpoints"]))
                .map(host_status)
                .collect();
            json!({ "name": assignment["cluster_name"], "host_statuses": hosts })
        })
        .collect();
    json!({ "cluster_statuses": statuses })
}

fn host_status(host: &Value) -> Value {
    let health = host["health_status"].as_str().unwrap_or("HEALTHY");
    json!({
        "address": host["endpoint"]["address"],
        "health_status": { "eds_health_status": health },
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn shown(any: &pb::Any) -> Value {
    xds::to_json(any)
        .unwrap_or_else(|error| json!({ "@type": any.type_url, "error": error.to_string() }))
}
