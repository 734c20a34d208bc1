//! Envoy's bootstrap: who it is, and that everything else comes over the agent's two sockets.

use std::path::Path;

use serde_json::{Value, json};

use crate::{node::NodeIdentity, options::AgentOptions};

/// `SOL_SOCKET` and `SO_MARK` on Linux.
const SOL_SOCKET: i64 = 1;
const SO_MARK: i64 = 36;
/// Larger than any number of connections, requests or retries.
const UNLIMITED: u32 = 100_000;

/// The bootstrap's JSON.
pub(crate) fn bootstrap(options: &AgentOptions) -> Value {
    let node = NodeIdentity::new(options);
    let run = |name: &str| options.run_dir.join(name);
    let mut bootstrap = json!({
        "node": { "id": node.id, "cluster": node.cluster, "metadata": node.metadata },
        "admin": {
            "address": pipe(&run("admin.sock")),
            "profile_path": "/dev/null",
        },
        "layered_runtime": { "layers": [
            { "name": "static", "static_layer": {
                "re2.max_program_size.error_level": 32768,
                "re2.max_program_size.warn_level": 1024,
            } },
            { "name": "admin", "admin_layer": {} },
        ] },
        "overload_manager": { "resource_monitors": [{
            // Envoy warns when there is no limit. Istio sets none either; this is none.
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": i32::MAX,
            },
        }] },
        "stats_config": { "use_all_default_tags": false, "stats_tags": stats_tags() },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
            },
            "lds_config": over_ads(),
            "cds_config": over_ads(),
        },
        "static_resources": {
            "clusters": [
                grpc_cluster("xds-grpc", &run("xds.sock")),
                grpc_cluster("sds-grpc", &run("sds.sock")),
                cluster("prometheus_stats", &run("admin.sock")),
            ],
            "listeners": [prometheus_listener(options.ports.prometheus)],
        },
    });
    if let Some(mark) = options.discovery.socket_mark
        && let Some(fields) = bootstrap.as_object_mut()
    {
        fields.insert("cluster_manager".to_owned(), marked(mark));
    }
    bootstrap
}

/// Every upstream socket carries the mark that capture spares. A cluster with a bind configuration
/// of its own overrides this; the control plane, which sees `SOCKET_MARK` in the node's metadata,
/// puts the mark there too.
fn marked(mark: u32) -> Value {
    json!({ "upstream_bind_config": { "socket_options": [{
        "description": "capture spares this mark",
        "level": SOL_SOCKET, "name": SO_MARK, "int_value": mark, "state": "STATE_PREBIND",
    }] } })
}

fn over_ads() -> Value {
    json!({ "ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3" })
}

fn pipe(path: &Path) -> Value {
    json!({ "pipe": { "path": path } })
}

fn cluster(name: &str, path: &Path) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": pipe(path) } }] }],
        },
    })
}

fn grpc_cluster(name: &str, path: &Path) -> Value {
    let mut cluster = cluster(name, path);
    if let Some(fields) = cluster.as_object_mut() {
        fields.insert(
            "typed_extension_protocol_options".to_owned(),
            json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            } }),
        );
        let limits = |priority: &str| {
            json!({
                "priority": priority, "max_connections": UNLIMITED,
                "max_pending_requests": UNLIMITED, "max_requests": UNLIMITED,
            })
        };
        let thresholds = json!({ "thresholds": [limits("DEFAULT"), limits("HIGH")] });
        fields.insert("circuit_breakers".to_owned(), thresholds);
    }
    cluster
}

/// Envoy's metrics alone, on the port where Istio's proxies have them.
fn prometheus_listener(port: u16) -> Value {
    json!({
        "name": "prometheus",
        "address": { "socket_address": { "address": "0.0.0.0", "port_value": port } },
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "codec_type": "AUTO",
                "stat_prefix": "stats",
                "route_config": { "virtual_hosts": [{
                    "name": "stats",
                    "domains": ["*"],
                    "routes": [{
                        "match": { "path": "/stats/prometheus" },
                        "route": { "cluster": "prometheus_stats" },
                    }],
                }] },
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                }],
            },
        }] }],
    })
}

/// Which parts of a metric's name become labels. The control plane ends a cluster's statistics
/// name with `;`, because the name itself has dots; the static clusters have neither.
fn stats_tags() -> Value {
    let tag = |name: &str, regex: &str| json!({ "tag_name": name, "regex": regex });
    json!([
        tag("cluster_name", r"^cluster\.((.+?);\.)"),
        tag("local_cluster_name", r"^cluster\.((xds-grpc|sds-grpc|prometheus_stats)\.)"),
        tag("response_code", r"_rq(_(\d{3}))$"),
        tag("response_code_class", r"_rq(_(\dxx))$"),
        tag(
            "http_conn_manager_prefix",
            r"^http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*)[\w-]*)\.)"
        ),
        tag(
            "listener_address",
            r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"
        ),
        tag("tcp_prefix", r"^tcp\.((.*?)\.)\w+?$"),
    ])
}

#[cfg(test)]
mod tests;
