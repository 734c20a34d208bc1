//! What is encoded must be acceptable to a stock Envoy: representative resources, put into a
//! static bootstrap as JSON, pass `envoy --mode validate`.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod samples;

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use xds::Resource;

/// The resource as it stands in a bootstrap.
fn plain(resource: &Resource) -> Value {
    let mut json = xds::to_json(&xds::encode(resource)).unwrap();
    json.as_object_mut().unwrap().shift_remove("@type");
    json
}

fn bootstrap(resources: &[Resource]) -> Value {
    let pick = |wanted: fn(&Resource) -> bool| -> Vec<Value> {
        resources.iter().filter(|resource| wanted(resource)).map(plain).collect()
    };
    let mut clusters = pick(|resource| matches!(resource, Resource::Cluster(_)));
    clusters.extend(["sds-grpc", "xds-grpc"].map(|name| {
        json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{
                "endpoint": { "address": { "pipe": { "path": format!("/nowhere/{name}.sock") } } }
            }] }] },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} }
                }
            }
        })
    }));
    json!({
        "node": { "id": "sidecar~10.0.0.1~pod.ns~ns.svc.cluster.local", "cluster": "test" },
        "dynamic_resources": { "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }]
        } },
        "static_resources": {
            "clusters": clusters,
            "listeners": pick(|resource| matches!(resource, Resource::Listener(_))),
            "secrets": pick(|resource| matches!(resource, Resource::Secret(_))),
        }
    })
}

/// Runs Envoy on a bootstrap; `Err` holds what it says.
fn validate(envoy: &Path, bootstrap: &Value) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bootstrap.json");
    std::fs::write(&config, serde_json::to_vec_pretty(bootstrap).unwrap()).unwrap();
    let output = Command::new(envoy)
        .args(["--mode", "validate", "--log-level", "warn", "--disable-hot-restart", "-c"])
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn a_stock_envoy_accepts_every_kind_of_value() {
    let Some(envoy) = testkit::peers::envoy() else {
        return testkit::skip("no stock Envoy");
    };
    let resources = samples::all();
    match validate(&envoy, &bootstrap(&resources)) {
        Ok(said) => {
            let mut deprecated = said.lines().filter(|line| line.contains("Deprecated field"));
            // See the codec of route actions.
            assert!(deprecated.all(|line| line.contains("max_grpc_timeout")), "{said}");
        }
        Err(said) => {
            for resource in &resources {
                if let Err(said) = validate(&envoy, &bootstrap(std::slice::from_ref(resource))) {
                    println!("{}: {said}", resource.name());
                }
            }
            panic!("Envoy refuses the bootstrap: {said}");
        }
    }
}

#[test]
fn samples_survive_the_codec_with_nothing_ignored() {
    for resource in samples::all() {
        let decoded = xds::decode(&xds::encode(&resource)).unwrap();
        assert_eq!(decoded.resource, resource);
        assert_eq!(decoded.ignored, Vec::<String>::new(), "{}", resource.name());
    }
}
