//! Stock Envoy in every place: it accepts all that it is sent, and serves the same.

use std::{fs, time::Duration};

use testkit::mesh::Mesh;

use crate::{bookinfo, by_version, get, mizzen, turn};

/// The ingress gateway that `mizzen up` would add by itself, on stock Envoy.
pub(crate) const GATEWAY: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata:
  name: istio-ingressgateway-service-account
  namespace: istio-system
---
apiVersion: v1
kind: Service
metadata:
  name: istio-ingressgateway
  namespace: istio-system
spec:
  selector:
    istio: ingressgateway
  ports:
    - name: http2
      port: 80
      targetPort: 8080
    - name: https
      port: 443
      targetPort: 8443
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: istio-ingressgateway
  namespace: istio-system
spec:
  selector:
    matchLabels:
      istio: ingressgateway
  template:
    metadata:
      labels:
        istio: ingressgateway
      annotations:
        inject.istio.io/templates: gateway
        proxy.mizzen.dev/type: envoy
    spec:
      serviceAccountName: istio-ingressgateway-service-account
      containers:
        - name: istio-proxy
          image: auto
"#;

/// The example with every workload annotated, and the gateway above.
fn everything_on_envoy() -> Vec<(String, String)> {
    let annotated =
        "    metadata:\n      annotations:\n        proxy.mizzen.dev/type: envoy\n      labels:";
    let mut files = vec![("ingressgateway.yaml".to_owned(), GATEWAY.to_owned())];
    for entry in fs::read_dir(bookinfo()).expect("example").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(entry.path()).expect("file");
            let plain = text
                .lines()
                .filter(|line| {
                    let line = line.trim();
                    line != "annotations:" && !line.starts_with("proxy.mizzen.dev/type")
                })
                .collect::<Vec<_>>()
                .join("\n");
            let text = plain.replace("    metadata:\n      labels:", annotated);
            files.push((entry.file_name().to_string_lossy().into_owned(), text));
        }
    }
    files
}

#[test]
fn stock_envoy_serves_the_same() {
    let Some(_turn) = turn() else { return };
    let Some(envoy) = testkit::peers::envoy() else {
        return testkit::skip("no stock Envoy: `cargo xtask test` fetches it");
    };
    let files = everything_on_envoy();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let envoy = envoy.display().to_string();
    let mesh = Mesh::up_with(mizzen(), &files, &["--envoy-path", &envoy]).expect("it comes up");
    let status = mesh.status().expect("status");
    let workloads = status["workloads"].as_array().expect("workloads");
    assert!(workloads.iter().all(|one| one["proxy"] == "envoy"), "{status:#}");
    for _ in 0..20 {
        let page = get(&mesh, "/productpage");
        assert!(by_version(&page).starts_with("200 v"), "{}", page.body);
    }
    assert_eq!(get(&mesh, "/nowhere").status, 404);
    let denied = get(&mesh, "/api/v1/products/0/ratings");
    assert_eq!(denied.status, 403);
    assert!(denied.body.contains("RBAC: access denied"), "{}", denied.body);
    an_edit_is_obeyed(&mesh);
    let control = fs::read_to_string(mesh.state().join("logs/control.log")).expect("log");
    let refusals: Vec<&str> =
        control.lines().filter(|line| line.contains("refused its configuration")).collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
    for workload in ["productpage-v1", "reviews-v1", "ratings-v1", "istio-ingressgateway"] {
        let clusters = mesh.ask(&["proxy-config", "clusters", workload]).expect("proxy-config");
        assert!(clusters.contains("outbound"), "{clusters}");
    }
}

fn an_edit_is_obeyed(mesh: &Mesh) {
    mesh.edit("routing.yaml", "weight: 50", "weight: 0").expect("edit");
    mesh.edit("routing.yaml", "weight: 30", "weight: 0").expect("edit");
    crate::wait_until(Duration::from_secs(5), "the new weights hold", || {
        (0..10).all(|_| by_version(&get(mesh, "/productpage")) == "200 v3")
    });
}
