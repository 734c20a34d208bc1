//! What is sent, as data: a change in shape is a change in a file.

use crate::mesh::{Mesh, proxy};

const BOOKINFO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bookinfo");

/// Resources as Envoy's `config_dump` would print them.
fn json(resources: Vec<xds::Resource>) -> String {
    let values: Vec<serde_json::Value> = resources
        .iter()
        .map(|resource| xds::to_json(&xds::encode(resource)).expect("JSON"))
        .collect();
    serde_json::to_string_pretty(&values).expect("JSON")
}

#[test]
fn a_sidecar_of_ours() {
    let mesh = Mesh::dir(BOOKINFO);
    let proxy = mesh.proxy("productpage-v1");
    let clusters = mesh.push.clusters(&proxy);
    let wanted = [
        "outbound|9080||reviews.bookinfo.svc.cluster.local",
        "outbound|9080|v2|reviews.bookinfo.svc.cluster.local",
        "inbound|9080||",
        "PassthroughCluster",
    ];
    let chosen = clusters.into_iter().filter(|cluster| wanted.contains(&cluster.name.as_str()));
    insta::assert_snapshot!(
        "sidecar_clusters",
        json(chosen.map(|cluster| xds::Resource::Cluster(Box::new(cluster))).collect())
    );
    let endpoints = mesh.push.load_assignment(&proxy, wanted[1]).expect("endpoints");
    insta::assert_snapshot!(
        "sidecar_endpoints",
        json(vec![xds::Resource::LoadAssignment(endpoints)])
    );
    let listeners = mesh.push.listeners(&proxy).into_iter();
    insta::assert_snapshot!(
        "sidecar_listeners",
        json(listeners.map(|listener| xds::Resource::Listener(Box::new(listener))).collect())
    );
    let routes = mesh.push.route_configuration(&proxy, "9080").expect("routes");
    insta::assert_snapshot!(
        "sidecar_routes",
        json(vec![xds::Resource::RouteConfiguration(routes)])
    );
    insta::assert_snapshot!(
        "sidecar_names",
        json(vec![xds::Resource::NameTable(mesh.push.name_table(&proxy))])
    );
}

#[test]
fn a_gateway_of_stock_envoy() {
    let mesh = Mesh::dir(BOOKINFO);
    let proxy = proxy(&mesh.pods["istio-ingressgateway"], "router", &[]);
    let listeners = mesh.push.listeners(&proxy).into_iter();
    insta::assert_snapshot!(
        "gateway_listeners",
        json(listeners.map(|listener| xds::Resource::Listener(Box::new(listener))).collect())
    );
    assert_eq!(mesh.push.route_names(&proxy), ["http.8080"]);
    let routes = mesh.push.route_configuration(&proxy, "http.8080").expect("routes");
    insta::assert_snapshot!(
        "gateway_routes",
        json(vec![xds::Resource::RouteConfiguration(routes)])
    );
}
