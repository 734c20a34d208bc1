//! `mizzen proxy-config endpoints`.

use serde_json::Value;

use super::{
    View,
    dump::{list, text},
};

pub(super) fn view(clusters: &Value) -> View {
    let statuses = list(&clusters["cluster_statuses"]);
    let mut rows: Vec<Vec<String>> = statuses
        .iter()
        .flat_map(|cluster| {
            let name = text(&cluster["name"]);
            list(&cluster["host_statuses"]).iter().map(move |host| row(name, host))
        })
        .collect();
    rows.sort();
    View {
        columns: &["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"],
        rows,
        resources: Value::Array(statuses.to_vec()),
    }
}

fn row(cluster: &str, host: &Value) -> Vec<String> {
    let address = &host["address"];
    let endpoint = match (&address["socket_address"], text(&address["pipe"]["path"])) {
        (socket, "") => format!("{}:{}", text(&socket["address"]), socket["port_value"]),
        (_, path) => path.to_owned(),
    };
    let health = &host["health_status"];
    let status = match text(&health["eds_health_status"]) {
        "" | "UNKNOWN" => "HEALTHY",
        status => status,
    };
    let ejected = health["failed_outlier_check"].as_bool().unwrap_or(false);
    let check = if ejected { "FAILED" } else { "OK" };
    vec![endpoint, status.to_owned(), check.to_owned(), cluster.to_owned()]
}
