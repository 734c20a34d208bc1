//! `mizzen proxy-config … -f`: a proxy's configuration without a proxy.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{json, mizzen};

fn all() -> Value {
    json(&[
        "proxy-config",
        "all",
        "-f",
        "examples/bookinfo",
        "--from",
        "productpage-v1",
        "-o",
        "json",
    ])
}

#[test]
fn the_dump_has_envoys_sections() {
    let dump = all();
    let sections: Vec<String> = dump["configs"]
        .as_array()
        .expect("sections")
        .iter()
        .map(|section| {
            section["@type"]
                .as_str()
                .unwrap_or_default()
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    let wanted = [
        "BootstrapConfigDump",
        "ClustersConfigDump",
        "EndpointsConfigDump",
        "ListenersConfigDump",
        "RoutesConfigDump",
    ];
    assert_eq!(sections, wanted);
    let node = &dump["configs"][0]["bootstrap"]["node"];
    assert_eq!(node["metadata"]["NAMESPACE"], "bookinfo");
    let cluster = &dump["configs"][1]["dynamic_active_clusters"][0]["cluster"];
    assert_eq!(cluster["@type"], "type.googleapis.com/envoy.config.cluster.v3.Cluster");
    assert_eq!(dump, all(), "the same files give the same dump");
}

#[test]
fn every_name_that_is_referred_to_is_there() {
    let text = all().to_string();
    let dump = all();
    let names = |section: usize, list: &str, field: &str, name: &str| -> BTreeSet<String> {
        let entries = dump["configs"][section][list].as_array().expect("entries");
        entries.iter().map(|one| one[field][name].as_str().unwrap_or_default().to_owned()).collect()
    };
    let clusters = names(1, "dynamic_active_clusters", "cluster", "name");
    let endpoints = names(2, "dynamic_endpoint_configs", "endpoint_config", "cluster_name");
    let eds: BTreeSet<String> =
        clusters.iter().filter(|name| name.starts_with("outbound|")).cloned().collect();
    assert_eq!(eds, endpoints);
    let routes = names(4, "dynamic_route_configs", "route_config", "name");
    for part in text.split("\"route_config_name\":\"").skip(1) {
        let name = part.split('"').next().expect("name");
        assert!(routes.contains(name), "{name} is not in {routes:?}");
    }
}

#[test]
fn tables_come_from_files_too() {
    let table = |kind: &str| {
        let arguments = ["proxy-config", kind, "reviews-v2", "-f", "examples/bookinfo"];
        let output = mizzen(&arguments).assert().success().get_output().stdout.clone();
        String::from_utf8(output).expect("text")
    };
    assert!(table("clusters").contains("ratings.bookinfo.svc.cluster.local"));
    assert!(table("listeners").contains("Route: 9080"));
    assert!(table("routes").contains("reviews.bookinfo"));
    assert!(table("endpoints").contains("HEALTHY"), "{}", table("endpoints"));
}

#[test]
fn what_files_do_not_have_is_said() {
    let said = |arguments: &[&str]| {
        let output = mizzen(arguments).assert().code(1).get_output().stderr.clone();
        String::from_utf8_lossy(&output).into_owned()
    };
    let secret = said(&["proxy-config", "secret", "reviews-v2", "-f", "examples/bookinfo"]);
    assert!(secret.contains("secrets come from the agent"), "{secret}");
    let nobody = said(&["proxy-config", "all", "-f", "examples/bookinfo"]);
    assert!(nobody.contains("say who"), "{nobody}");
}
