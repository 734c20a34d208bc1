//! What operators see: the admin interface and metrics.

use crate::{
    fixture::until,
    http::simple,
    resources::{action, to},
    upstream::Upstream,
};

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_envoys_forms() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    assert_eq!(fixture.admin("/ready").await, "LIVE\n");
    let dump: serde_json::Value =
        serde_json::from_str(&fixture.admin("/config_dump?include_eds").await).unwrap();
    let types: Vec<&str> = dump["configs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|config| config["@type"].as_str().unwrap().rsplit('.').next().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "BootstrapConfigDump",
            "ClustersConfigDump",
            "EndpointsConfigDump",
            "ListenersConfigDump",
            "RoutesConfigDump",
            "SecretsConfigDump"
        ]
    );
    let cluster = &dump["configs"][1]["dynamic_active_clusters"][0];
    assert_eq!(cluster["cluster"]["name"], "reviews", "{cluster}");
    assert!(!cluster["version_info"].as_str().unwrap().is_empty(), "{cluster}");
    let listener = &dump["configs"][3]["dynamic_listeners"][0];
    assert_eq!(listener["active_state"]["listener"]["name"], address.to_string());
    let route = &dump["configs"][4]["dynamic_route_configs"][0];
    assert_eq!(route["route_config"]["virtual_hosts"][0]["name"], "reviews:9080");
    let clusters = fixture.admin("/clusters").await;
    let host = format!("reviews::{}::health_flags::healthy\n", app.address);
    assert!(clusters.contains(&host), "{clusters}");
    assert!(fixture.admin("/listeners").await.contains(&address.to_string()));
    assert!(fixture.admin("/server_info").await.contains("\"state\":\"LIVE\""));
    assert!(fixture.stat("cluster.reviews.upstream_rq_2xx").await >= 1);
    assert!(fixture.stat("http.test.downstream_rq_2xx").await >= 1);
    assert_eq!(fixture.stat("cluster_manager.cds.update_rejected").await, 0);
    let metrics = fixture.admin("/stats/prometheus").await;
    assert!(
        metrics.contains("envoy_cluster_upstream_rq_total{cluster_name=\"reviews\"}"),
        "{metrics}"
    );
    assert!(metrics.contains("envoy_server_live{} 1"), "{metrics}");
    assert_eq!(fixture.admin_call("POST", "/healthcheck/fail").await.0, 200);
    assert_eq!(fixture.admin_call("GET", "/ready").await.0, 503);
    fixture.admin_call("POST", "/healthcheck/ok").await;
    assert_eq!(fixture.admin("/ready").await, "LIVE\n");
}
