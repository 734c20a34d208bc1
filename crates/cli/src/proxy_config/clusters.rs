//! `mizzen proxy-config clusters`.

use serde_json::Value;

use super::{
    View,
    dump::{entries, origin, text},
};

pub(super) fn view(dump: &Value) -> View {
    let lists = ["static_clusters", "dynamic_active_clusters"];
    let mut clusters: Vec<&Value> =
        entries(dump, "ClustersConfigDump", &lists).map(|entry| &entry["cluster"]).collect();
    clusters.sort_by_key(|cluster| text(&cluster["name"]));
    View {
        columns: &["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"],
        rows: clusters.iter().map(|cluster| row(cluster)).collect(),
        resources: clusters.into_iter().cloned().collect(),
    }
}

fn row(cluster: &Value) -> Vec<String> {
    let name = text(&cluster["name"]);
    let kind = match text(&cluster["type"]) {
        "" => "STATIC",
        kind => kind,
    };
    let (direction, port, subset, host) = match name.split('|').collect::<Vec<_>>().as_slice() {
        [direction, port, subset, host] => (*direction, *port, *subset, *host),
        _ => ("-", "-", "-", name),
    };
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let host = if host.is_empty() { "" } else { host };
    vec![
        host.to_owned(),
        dash(port),
        dash(subset),
        dash(direction),
        kind.to_owned(),
        origin(cluster),
    ]
}
