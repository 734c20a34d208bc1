//! `/clusters`: clusters with their hosts, counters and health.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{cluster::Cluster, shared::Shared};

pub(super) async fn clusters(
    State(shared): State<Arc<Shared>>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Response {
    let snapshot = shared.snapshot();
    let mut all: Vec<&Arc<Cluster>> = snapshot.clusters.values().collect();
    all.sort_by(|a, b| a.shared.name.cmp(&b.shared.name));
    if parameters.get("format").map(String::as_str) == Some("json") {
        let list: Vec<Value> = all.into_iter().map(|cluster| status(cluster)).collect();
        return Json(json!({ "cluster_statuses": list })).into_response();
    }
    let mut out = String::new();
    for cluster in all {
        text(cluster, &mut out);
    }
    out.into_response()
}

/// Envoy's admin form of an address.
pub(super) fn address_json(address: &xds::Address) -> Value {
    match address {
        xds::Address::Socket { ip, port } => {
            json!({ "socket_address": { "address": ip.to_string(), "port_value": port } })
        }
        xds::Address::Hostname { host, port } => {
            json!({ "socket_address": { "address": host, "port_value": port } })
        }
        xds::Address::Pipe(path) => json!({ "pipe": { "path": path } }),
    }
}

fn status(cluster: &Cluster) -> Value {
    let priorities = cluster.engine.hosts.priorities().iter().enumerate();
    let hosts: Vec<Value> = priorities
        .flat_map(|(priority, hosts)| hosts.iter().map(move |host| host_status(host, priority)))
        .collect();
    let limits = &cluster.shared.limits;
    let name = &*cluster.shared.name;
    json!({
        "name": name,
        "added_via_api": true,
        "host_statuses": hosts,
        "circuit_breakers": { "thresholds": [{
            "max_connections": limits.connections,
            "max_pending_requests": limits.pending,
            "max_requests": limits.requests,
            "max_retries": limits.retries,
        }] },
        "observability_name": name,
    })
}

fn counters(host: &engine::Host) -> [(&'static str, &'static str, u64); 6] {
    let state = &host.state;
    let total = state.total_requests.load(Relaxed);
    let failed = state.failed_requests.load(Relaxed);
    [
        ("cx_active", "GAUGE", u64::from(state.active_connections.load(Relaxed))),
        ("cx_connect_fail", "COUNTER", state.failed_connections.load(Relaxed)),
        ("cx_total", "COUNTER", state.total_connections.load(Relaxed)),
        ("rq_active", "GAUGE", u64::from(state.active_requests.load(Relaxed))),
        ("rq_error", "COUNTER", failed),
        ("rq_total", "COUNTER", total),
    ]
}

fn host_status(host: &engine::Host, priority: usize) -> Value {
    let stats: Vec<Value> = counters(host)
        .iter()
        .map(
            |(name, kind, value)| json!({ "name": name, "type": kind, "value": value.to_string() }),
        )
        .collect();
    let mut health = json!({ "eds_health_status": eds_health(host.endpoint.health_status) });
    if host.is_ejected() {
        health["failed_outlier_check"] = Value::Bool(true);
    }
    let locality = &host.locality;
    json!({
        "address": address_json(&host.endpoint.address),
        "stats": stats,
        "health_status": health,
        "weight": host.weight,
        "priority": priority,
        "locality": {
            "region": locality.region,
            "zone": locality.zone,
            "sub_zone": locality.sub_zone,
        },
    })
}

fn eds_health(status: xds::HealthStatus) -> &'static str {
    match status {
        xds::HealthStatus::Unknown | xds::HealthStatus::Healthy => "HEALTHY",
        xds::HealthStatus::Unhealthy => "UNHEALTHY",
        xds::HealthStatus::Draining => "DRAINING",
        xds::HealthStatus::Degraded => "DEGRADED",
    }
}

fn health_flags(host: &engine::Host) -> String {
    let mut flags = String::new();
    if host.is_ejected() {
        flags.push_str("/failed_outlier_check");
    }
    match host.endpoint.health_status {
        xds::HealthStatus::Unhealthy => flags.push_str("/failed_eds_health"),
        xds::HealthStatus::Draining => flags.push_str("/eds_status_draining"),
        xds::HealthStatus::Degraded => flags.push_str("/degraded_eds_health"),
        xds::HealthStatus::Unknown | xds::HealthStatus::Healthy => {}
    }
    if flags.is_empty() { "healthy".to_owned() } else { flags }
}

fn text(cluster: &Cluster, out: &mut String) {
    let name = &*cluster.shared.name;
    let limits = &cluster.shared.limits;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{name}::observability_name::{name}");
    for (limit, value) in [
        ("max_connections", limits.connections),
        ("max_pending_requests", limits.pending),
        ("max_requests", limits.requests),
        ("max_retries", limits.retries),
    ] {
        let _ = writeln!(out, "{name}::default_priority::{limit}::{value}");
    }
    let _ = writeln!(out, "{name}::added_via_api::true");
    for (priority, hosts) in cluster.engine.hosts.priorities().iter().enumerate() {
        for host in hosts {
            let prefix = format!("{name}::{}", host.endpoint.address);
            for (counter, _, value) in counters(host) {
                let _ = writeln!(out, "{prefix}::{counter}::{value}");
            }
            let _ = writeln!(out, "{prefix}::health_flags::{}", health_flags(host));
            let _ = writeln!(out, "{prefix}::weight::{}", host.weight);
            let _ = writeln!(out, "{prefix}::region::{}", host.locality.region);
            let _ = writeln!(out, "{prefix}::zone::{}", host.locality.zone);
            let _ = writeln!(out, "{prefix}::sub_zone::{}", host.locality.sub_zone);
            let _ = writeln!(out, "{prefix}::priority::{priority}");
        }
    }
}
