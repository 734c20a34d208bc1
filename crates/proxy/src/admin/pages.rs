//! The small pages.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    State as Life,
    shared::Shared,
    stats::{self, merge},
};

type Shown = State<Arc<Shared>>;
type Parameters = Query<HashMap<String, String>>;

/// `/help`
pub(super) async fn help() -> &'static str {
    "admin commands are:\n  \
     /certs: certificates in use\n  \
     /clusters: clusters and their hosts (?format=json)\n  \
     /config_dump: the configuration (?include_eds)\n  \
     /drain_listeners (POST): drain (?inboundonly)\n  \
     /healthcheck/fail (POST): say that the server drains\n  \
     /healthcheck/ok (POST): undo /healthcheck/fail\n  \
     /listeners: listeners (?format=json)\n  \
     /logging (POST): not supported; set the log level when starting\n  \
     /memory: memory of the process\n  \
     /quitquitquit (POST): end the server\n  \
     /ready: state of the server\n  \
     /server_info: version and state\n  \
     /stats: counters and gauges\n  \
     /stats/prometheus: metrics for Prometheus\n"
}

/// `/ready`: 200 and `LIVE`, or 503.
pub(super) async fn ready(State(shared): Shown) -> Response {
    let state = shared.handle.state();
    let status = if state == Life::Live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{}\n", state.name())).into_response()
}

/// `/server_info`
pub(super) async fn server_info(State(shared): Shown) -> Json<serde_json::Value> {
    let uptime = format!("{}s", shared.started.elapsed().as_secs());
    let node = xds::message_to_json(&shared.node.to_proto()).unwrap_or_default();
    Json(json!({
        "version": concat!("mizzen/", env!("CARGO_PKG_VERSION")),
        "state": shared.handle.state().name(),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": { "concurrency": shared.workers().len() },
        "node": node,
    }))
}

fn refresh(shared: &Shared) {
    let server = &shared.registry.server;
    server.uptime.set(shared.started.elapsed().as_secs());
    server.state.set(shared.handle.state().number());
    server.access_log_dropped.set(shared.log_writer.dropped());
}

/// `/stats`
pub(super) async fn stats(State(shared): Shown, Query(parameters): Parameters) -> Response {
    refresh(&shared);
    match parameters.get("format").map(String::as_str) {
        Some("prometheus") => prometheus(State(shared)).await,
        Some("json") => {
            let groups = shared.registry.groups();
            let text = stats::plain_text(&groups);
            let list: Vec<serde_json::Value> = filtered(&text, parameters.get("filter"))
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| json!({ "name": name, "value": value.parse::<u64>().ok() }))
                .collect();
            Json(json!({ "stats": list })).into_response()
        }
        _ => {
            let text = stats::plain_text(&shared.registry.groups());
            filtered(&text, parameters.get("filter"))
                .flat_map(|line| [line, "\n"])
                .collect::<String>()
                .into_response()
        }
    }
}

/// Lines that contain the filter. COMPAT: Envoy takes a regular expression.
fn filtered<'a>(text: &'a str, filter: Option<&'a String>) -> impl Iterator<Item = &'a str> {
    text.lines().filter(move |line| filter.is_none_or(|filter| line.contains(filter.as_str())))
}

/// `/stats/prometheus`
pub(super) async fn prometheus(State(shared): Shown) -> Response {
    refresh(&shared);
    let mut series = Vec::new();
    for worker in shared.workers() {
        series.push(worker.collect().await);
    }
    let version = shared.node.metadata_str("ISTIO_VERSION").unwrap_or("unknown");
    let text = stats::prometheus_text(&shared.registry.groups(), &merge(series), version);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=UTF-8")], text).into_response()
}

/// `/listeners`
pub(super) async fn listeners(State(shared): Shown, Query(parameters): Parameters) -> Response {
    let snapshot = shared.snapshot();
    let mut all: Vec<_> = snapshot
        .listeners
        .iter()
        .map(|(name, listener)| (name.clone(), listener.engine.config.address.clone()))
        .collect();
    all.sort();
    if parameters.get("format").map(String::as_str) == Some("json") {
        let list: Vec<serde_json::Value> = all
            .iter()
            .map(|(name, address)| {
                json!({ "name": name, "local_address": super::clusters::address_json(address) })
            })
            .collect();
        return Json(json!({ "listener_statuses": list })).into_response();
    }
    all.iter()
        .map(|(name, address)| format!("{name}::{address}\n"))
        .collect::<String>()
        .into_response()
}

/// `/memory`
pub(super) async fn memory() -> Json<serde_json::Value> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let bytes = |key| kilobytes(key).unwrap_or(0).saturating_mul(1024).to_string();
    Json(json!({
        "allocated": bytes("RssAnon:"),
        "heap_size": bytes("VmData:"),
        "total_physical_bytes": bytes("VmRSS:"),
    }))
}

/// `/drain_listeners`
pub(super) async fn drain_listeners(
    State(shared): Shown,
    Query(parameters): Parameters,
) -> &'static str {
    if parameters.contains_key("inboundonly") {
        shared.handle.drain_inbound();
    } else {
        shared.handle.drain();
    }
    "OK\n"
}

/// `/healthcheck/fail`
pub(super) async fn healthcheck_fail(State(shared): Shown) -> &'static str {
    shared.handle.set_failed_health(true);
    "OK\n"
}

/// `/healthcheck/ok`
pub(super) async fn healthcheck_ok(State(shared): Shown) -> &'static str {
    shared.handle.set_failed_health(false);
    "OK\n"
}

/// `/quitquitquit`
pub(super) async fn quit(State(shared): Shown) -> &'static str {
    shared.handle.shutdown();
    "OK\n"
}

/// `/logging`
pub(super) async fn logging() -> Response {
    let text = "levels of a running proxy cannot be changed; start it with --log-level\n";
    (StatusCode::NOT_IMPLEMENTED, text).into_response()
}
