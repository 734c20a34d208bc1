//! `mizzen proxy-config routes`.

use serde_json::Value;

use super::{
    View,
    dump::{entries, list, origin, text},
};

pub(super) fn view(dump: &Value) -> View {
    let lists = ["static_route_configs", "dynamic_route_configs"];
    let mut tables: Vec<&Value> =
        entries(dump, "RoutesConfigDump", &lists).map(|entry| &entry["route_config"]).collect();
    tables.sort_by_key(|table| text(&table["name"]));
    View {
        columns: &["NAME", "VHOST NAME", "DOMAINS", "MATCH", "DESTINATION", "VIRTUAL SERVICE"],
        rows: tables.iter().flat_map(|table| rows(table)).collect(),
        resources: tables.into_iter().cloned().collect(),
    }
}

fn rows(table: &Value) -> Vec<Vec<String>> {
    let name = text(&table["name"]);
    let mut rows = Vec::new();
    for host in list(&table["virtual_hosts"]) {
        for route in list(&host["routes"]) {
            rows.push(vec![
                name.to_owned(),
                text(&host["name"]).to_owned(),
                domains(host),
                criteria(&route["match"]),
                destination(route),
                origin(route),
            ]);
        }
    }
    rows
}

fn domains(host: &Value) -> String {
    let domains = list(&host["domains"]);
    let shown: Vec<&str> = domains.iter().take(2).map(text).collect();
    match domains.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} + {more} more", shown.join(", ")),
    }
}

fn criteria(matches: &Value) -> String {
    let path = if let Some(prefix) = matches["prefix"].as_str() {
        format!("{prefix}*")
    } else if let Some(prefix) = matches["path_separated_prefix"].as_str() {
        format!("PathPrefix:{prefix}")
    } else if let Some(path) = matches["path"].as_str() {
        path.to_owned()
    } else {
        format!("regex {}", text(&matches["safe_regex"]["regex"]))
    };
    let more = list(&matches["headers"]).len() + list(&matches["query_parameters"]).len();
    if more == 0 { path } else { format!("{path} (+{more} conditions)") }
}

fn destination(route: &Value) -> String {
    let action = &route["route"];
    if let Some(cluster) = action["cluster"].as_str() {
        return cluster.to_owned();
    }
    let weighted = list(&action["weighted_clusters"]["clusters"]);
    if !weighted.is_empty() {
        let shares: Vec<String> = weighted
            .iter()
            .map(|one| format!("{} ({})", text(&one["name"]), one["weight"]))
            .collect();
        return shares.join(", ");
    }
    if let Some(status) = route["direct_response"]["status"].as_u64() {
        return format!("answer {status}");
    }
    "redirect".to_owned()
}
