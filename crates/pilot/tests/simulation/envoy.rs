//! A stock Envoy takes what is sent to it: its own validation, without a network.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use xds::{NetworkFilterConfig, RouteSpecifier};

use crate::mesh::{INGRESS, Mesh, Pod, proxy};

const BOOKINFO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bookinfo");

/// Resources as EnvoyFilters leave them.
fn values(mesh: &Mesh, proxy: &pilot::Proxy, resources: &[xds::Resource]) -> Vec<Value> {
    let Some(kind) = resources.first().map(xds::Resource::resource_type) else { return Vec::new() };
    let encoded = resources.iter().map(|r| (r.name().to_owned(), xds::encode(r))).collect();
    let patched = xds::patch::apply(kind, encoded, &mesh.push.patches(proxy));
    let errors: Vec<_> = patched.outcomes.iter().flat_map(|outcome| &outcome.errors).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let shown = patched.resources.iter().map(|(_, any)| {
        let mut value = xds::to_json(any).expect("JSON");
        if let Some(fields) = value.as_object_mut() {
            fields.remove("@type");
        }
        value
    });
    shown.collect()
}

/// Where Envoy would ask for secrets and resources; nobody asks while it validates.
fn grpc_cluster(name: &str) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}
            }
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint":
            {"address": {"pipe": {"path": "/nowhere.sock"}}}}]}]}
    })
}

/// All resources of a proxy as a bootstrap, with its routes inside of its listeners.
fn bootstrap(mesh: &Mesh, pod: &Pod, mark: Option<u32>) -> Value {
    let kind = if pod.labels.contains_key("istio") { "router" } else { "sidecar" };
    let mut proxy = proxy(pod, kind, &[]);
    proxy.socket_mark = mark;
    let clusters = mesh.push.clusters(&proxy).into_iter();
    let clusters: Vec<_> = clusters.map(|c| xds::Resource::Cluster(Box::new(c))).collect();
    let mut clusters = values(mesh, &proxy, &clusters);
    clusters.extend(["xds-grpc", "sds-grpc"].map(grpc_cluster));
    let mut listeners: Vec<xds::Resource> = Vec::new();
    for mut listener in mesh.push.listeners(&proxy) {
        let chains = listener.filter_chains.iter_mut();
        let chains = chains.chain(listener.default_filter_chain.as_deref_mut());
        for filter in chains.flat_map(|chain| &mut chain.filters) {
            if let NetworkFilterConfig::HttpConnectionManager(manager) = &mut filter.config
                && let RouteSpecifier::Rds(name) = &manager.route_specifier
            {
                let routes = mesh.push.route_configuration(&proxy, name).expect(name);
                manager.route_specifier = RouteSpecifier::Inline(Box::new(routes));
            }
        }
        listeners.push(xds::Resource::Listener(Box::new(listener)));
    }
    let listeners = values(mesh, &proxy, &listeners);
    json!({
        "node": {"id": proxy.id, "cluster": "test"},
        "dynamic_resources": {"ads_config": {"api_type": "GRPC", "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]}},
        "static_resources": {"clusters": clusters, "listeners": listeners}
    })
}

/// Envoy's complaint about a bootstrap, if it has one.
fn complaint(envoy: &Path, bootstrap: &Value) -> Option<String> {
    let mut file = tempfile::Builder::new().suffix(".json").tempfile().expect("a file");
    serde_json::to_writer(&mut file, bootstrap).expect("a file");
    let output = Command::new(envoy)
        .args(["--mode", "validate", "--log-level", "warning", "-c"])
        .arg(file.path())
        .output()
        .expect("Envoy");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

pub(crate) fn validate(envoy: &Path, mesh: &Mesh, mark: Option<u32>) {
    for pod in mesh.pods.values().filter(|pod| pod.in_mesh) {
        let bootstrap = bootstrap(mesh, pod, mark);
        let complaint = complaint(envoy, &bootstrap);
        assert_eq!(complaint, None, "{}: {bootstrap:#}", pod.name);
    }
}

#[test]
fn stock_envoy_does_look_into_listeners() {
    let Some(envoy) = testkit::peers::envoy() else { return testkit::skip("no stock Envoy") };
    let mesh = Mesh::dir(BOOKINFO);
    let mut bootstrap = bootstrap(&mesh, &mesh.pods["ratings-v1"], None);
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().expect("listeners");
    let inbound = listeners.iter_mut().find(|l| l["name"] == "virtualInbound").expect("inbound");
    let chains = inbound["filter_chains"].as_array_mut().expect("chains");
    let twin = chains[1].clone();
    chains.push(twin);
    assert!(complaint(&envoy, &bootstrap).is_some_and(|said| said.contains("same matching")));
}

#[test]
fn stock_envoy_takes_the_example() {
    let Some(envoy) = testkit::peers::envoy() else { return testkit::skip("no stock Envoy") };
    validate(&envoy, &Mesh::dir(BOOKINFO), None);
    validate(&envoy, &Mesh::dir(BOOKINFO), Some(1337));
}

#[test]
fn stock_envoy_takes_one_of_everything() {
    let Some(envoy) = testkit::peers::envoy() else { return testkit::skip("no stock Envoy") };
    let mesh = Mesh::new(&(EVERYTHING.to_owned() + "---" + INGRESS));
    validate(&envoy, &mesh, None);
}

#[test]
fn stock_envoy_takes_what_envoy_filters_make() {
    let Some(envoy) = testkit::peers::envoy() else { return testkit::skip("no stock Envoy") };
    let mesh = Mesh::new(&(EVERYTHING.to_owned() + "---" + INGRESS + "---\n" + ENVOY_FILTERS));
    let findings: Vec<_> =
        mesh.push.diagnostics().iter().filter(|finding| finding.code == "bad-patch").collect();
    assert!(findings.is_empty(), "{findings:?}");
    let pod = mesh.pods.values().find(|pod| pod.in_mesh && pod.namespace != "istio-system");
    let shown = bootstrap(&mesh, pod.expect("a sidecar"), None).to_string();
    for wanted in ["envoy.filters.http.lua", "envoy.filters.http.local_ratelimit", "patched"] {
        assert!(shown.contains(wanted), "{wanted} is not in {shown}");
    }
    validate(&envoy, &mesh, None);
}

pub(crate) const ENVOY_FILTERS: &str = include_str!("envoy_filters.yaml");

const EVERYTHING: &str = include_str!("everything.yaml");
