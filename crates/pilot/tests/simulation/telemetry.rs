//! Telemetry: which listeners log where, and which have metrics.

use xds::{AccessLogFilter, HttpFilterConfig, NetworkFilterConfig, TrafficDirection};

use crate::mesh::{INGRESS, Mesh};

const APP: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec: {containers: [{name: web, image: web, ports: [{containerPort: 8080}]}]}
";

const MESH: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
    extensionProviders:
    - name: file
      envoyFileAccessLog:
        path: /tmp/access.log
        logFormat: {labels: {code: '%RESPONSE_CODE%'}}
";

fn telemetry(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
---"
    )
}

/// Paths and filters of the HTTP logs of one side, and whether it has metrics.
fn of(mesh: &Mesh, inbound: bool) -> (Vec<(String, Option<AccessLogFilter>)>, bool) {
    let proxy = mesh.proxy("web");
    let (mut logs, mut stats) = (Vec::new(), false);
    for listener in mesh.push.listeners(&proxy) {
        if (listener.traffic_direction == TrafficDirection::Inbound) != inbound {
            continue;
        }
        for filter in listener.filter_chains.iter().flat_map(|chain| &chain.filters) {
            if let NetworkFilterConfig::HttpConnectionManager(manager) = &filter.config {
                let found = manager.access_log.iter();
                logs = found.map(|log| (log.path.clone(), log.filter.clone())).collect();
                let mut filters = manager.http_filters.iter();
                stats = filters.any(|f| matches!(f.config, HttpFilterConfig::Stats(_)));
            }
        }
    }
    (logs, stats)
}

fn paths(mesh: &Mesh, inbound: bool) -> Vec<String> {
    of(mesh, inbound).0.into_iter().map(|(path, _)| path).collect()
}

fn mesh(settings: &str, telemetries: &str) -> Mesh {
    Mesh::new(&format!("{APP}---{INGRESS}---\n{settings}---\n{telemetries}"))
}

#[test]
fn without_one_the_mesh_decides() {
    assert_eq!(paths(&mesh("", ""), true), [""; 0]);
    assert_eq!(paths(&mesh(MESH, ""), true), ["/dev/stdout"]);
    assert!(of(&mesh("", ""), false).1);
}

#[test]
fn the_nearest_that_names_providers_says_where_logs_go() {
    let root = telemetry("r", "istio-system", "{accessLogging: [{providers: [{name: envoy}]}]}");
    assert_eq!(paths(&mesh("", &root), true), ["/dev/stdout"]);
    let own = telemetry("n", "shop", "{accessLogging: [{providers: [{name: file}]}]}");
    assert_eq!(paths(&mesh(MESH, &format!("{root}{own}")), true), ["/tmp/access.log"]);
    let off = "{selector: {matchLabels: {app: web}}, accessLogging: [{disabled: true}]}";
    let off = telemetry("w", "shop", off);
    assert_eq!(paths(&mesh(MESH, &format!("{root}{own}{off}")), true), [""; 0]);
    assert_eq!(paths(&mesh(MESH, &off), true), [""; 0]);
    let elsewhere = telemetry("e", "other", "{accessLogging: [{disabled: true}]}");
    assert_eq!(paths(&mesh(MESH, &elsewhere), true), ["/dev/stdout"]);
}

#[test]
fn sides_and_filters_are_told_apart() {
    let spec = "{accessLogging: [{match: {mode: SERVER}, providers: [{name: envoy}], \
                filter: {expression: 'response.code >= 500'}}]}";
    let mesh = mesh("", &telemetry("x", "shop", spec));
    let filter = Some(AccessLogFilter::StatusCodeAtLeast(500));
    assert_eq!(of(&mesh, true).0, [("/dev/stdout".to_owned(), filter)]);
    assert_eq!(paths(&mesh, false), [""; 0]);
    let proxy = mesh.proxy("web");
    let listeners = mesh.push.listeners(&proxy);
    let inbound = listeners.iter().find(|listener| listener.name == "virtualInbound");
    let own = inbound.and_then(|listener| listener.access_log[0].filter.clone());
    assert!(matches!(own, Some(AccessLogFilter::And(_))), "{own:?}");
}

#[test]
fn metrics_can_be_turned_off_for_a_side() {
    let off = "{metrics: [{overrides: [{match: {mode: CLIENT}, disabled: true}]}]}";
    let root = telemetry("r", "istio-system", off);
    let mesh_off = mesh("", &root);
    assert!(of(&mesh_off, true).1 && !of(&mesh_off, false).1);
    let on = "{metrics: [{overrides: [{match: {metric: ALL_METRICS}, disabled: false}]}]}";
    let mesh_on = mesh("", &format!("{root}{}", telemetry("n", "shop", on)));
    assert!(of(&mesh_on, false).1);
}

#[test]
fn what_is_not_done_is_told_with_its_place() {
    let spec = "
  accessLogging:
  - providers: [{name: nobody}]
    filter: {expression: 'request.url_path == \"/\"'}";
    let other = telemetry("y", "shop", "{accessLogging: [{disabled: true}]}");
    let mesh = mesh("", &format!("{}{other}", telemetry("x", "shop", spec)));
    let found: Vec<String> = mesh
        .push
        .diagnostics()
        .iter()
        .map(ToString::to_string)
        .filter(|text| text.contains("Telemetry"))
        .collect();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().any(|text| text.contains("accessLogging[0].providers[0].name")));
    assert!(found.iter().any(|text| text.contains("response.code") && text.contains("expression")));
    assert!(found.iter().any(|text| text.contains("older Telemetry shop/x")));
}
