//! `mizzen proxy-config listeners`.

use serde_json::Value;

use super::{
    View,
    dump::{entries, list, text},
};

pub(super) fn view(dump: &Value) -> View {
    let fixed =
        entries(dump, "ListenersConfigDump", &["static_listeners"]).map(|entry| &entry["listener"]);
    let moving = entries(dump, "ListenersConfigDump", &["dynamic_listeners"])
        .map(|entry| &entry["active_state"]["listener"]);
    let mut listeners: Vec<&Value> =
        fixed.chain(moving).filter(|listener| !listener.is_null()).collect();
    listeners.sort_by_key(|listener| {
        (port(listener), text(&listener["address"]["socket_address"]["address"]).to_owned())
    });
    View {
        columns: &["ADDRESSES", "PORT", "MATCH", "DESTINATION"],
        rows: listeners.iter().flat_map(|listener| rows(listener)).collect(),
        resources: listeners.into_iter().cloned().collect(),
    }
}

fn port(listener: &Value) -> u64 {
    listener["address"]["socket_address"]["port_value"].as_u64().unwrap_or(0)
}

fn rows(listener: &Value) -> Vec<Vec<String>> {
    let address = text(&listener["address"]["socket_address"]["address"]);
    let port = port(listener).to_string();
    let fallback = &listener["default_filter_chain"];
    list(&listener["filter_chains"])
        .iter()
        .chain((!fallback.is_null()).then_some(fallback))
        .map(|chain| {
            let criteria = criteria(&chain["filter_chain_match"]);
            vec![address.to_owned(), port.clone(), criteria, destination(chain)]
        })
        .collect()
}

fn criteria(matches: &Value) -> String {
    let joined = |field: &str| list(&matches[field]).iter().map(text).collect::<Vec<_>>().join(",");
    let ranges = list(&matches["prefix_ranges"])
        .iter()
        .map(|range| format!("{}/{}", text(&range["address_prefix"]), range["prefix_len"]))
        .collect::<Vec<_>>()
        .join(",");
    let port = matches["destination_port"].as_u64().map(|port| port.to_string());
    let parts = [
        ("Addr", ranges),
        ("Port", port.unwrap_or_default()),
        ("Trans", text(&matches["transport_protocol"]).to_owned()),
        ("App", joined("application_protocols")),
        ("SNI", joined("server_names")),
    ];
    let shown: Vec<String> = parts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    if shown.is_empty() { "ALL".to_owned() } else { shown.join("; ") }
}

fn destination(chain: &Value) -> String {
    let Some(last) = list(&chain["filters"]).last() else {
        return "-".to_owned();
    };
    let config = &last["typed_config"];
    if let Some(name) = config["rds"]["route_config_name"].as_str() {
        return format!("Route: {name}");
    }
    if let Some(name) = config["route_config"]["name"].as_str() {
        return format!("Inline Route: {name}");
    }
    if let Some(name) = config["cluster"].as_str() {
        return format!("Cluster: {name}");
    }
    let weighted = list(&config["weighted_clusters"]["clusters"]);
    if weighted.is_empty() {
        return format!("Non-HTTP/Non-TCP: {}", text(&last["name"]));
    }
    let shares: Vec<String> =
        weighted.iter().map(|one| format!("{} ({})", text(&one["name"]), one["weight"])).collect();
    format!("Clusters: {}", shares.join(", "))
}
