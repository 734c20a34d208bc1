//! What operators see of a gateway: Istio's metrics, the admin interface, the control plane's view.

use super::{
    application::Application,
    client::{eventually, get, until_status},
    fixture::Mesh,
    gateway::Gateway,
    objects,
};

const ROUTES: &str = r#"  - match: [{uri: {prefix: /shop}}]
    route: [{destination: {host: one}}]
"#;

async fn start() -> (Application, Mesh, Gateway) {
    let one = Application::start("one").await;
    let port = objects::free_port();
    let mesh = Mesh::start(&[
        ("one.yaml", &objects::service("one", &[one.address])),
        ("gateway.yaml", &objects::gateway("ingress", port)),
        ("routes.yaml", &objects::routes("ingress", ROUTES)),
    ])
    .await;
    let gateway = Gateway::start(&mesh, "ingress", port).await;
    until_status(gateway.address, "/shop", 200).await;
    (one, mesh, gateway)
}

/// One series with these labels, and its value.
fn value(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |line: &str| {
        labels.iter().all(|(label, value)| {
            line.contains(&format!("{{{label}=\"{value}\""))
                || line.contains(&format!(",{label}=\"{value}\""))
        })
    };
    let line = page.lines().find(|line| line.starts_with(&format!("{name}{{")) && has(line))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_with_istios_labels() {
    let (_one, _mesh, gateway) = start().await;
    for _ in 0..3 {
        get(gateway.address, "/shop/status/418", &[]).await;
    }
    get(gateway.address, "/nowhere", &[]).await;
    let page = gateway.admin("/stats/prometheus").await;
    let labels = [
        ("reporter", "source"),
        ("source_workload", "ingress"),
        ("source_workload_namespace", "shop"),
        ("source_app", "ingress"),
        ("source_canonical_service", "ingress"),
        ("source_canonical_revision", "v1"),
        ("source_cluster", "Kubernetes"),
        ("destination_service", "one.shop.svc.cluster.local"),
        ("destination_service_name", "one"),
        ("destination_service_namespace", "shop"),
        ("request_protocol", "http"),
        ("response_code", "418"),
        ("response_flags", "-"),
        ("connection_security_policy", "unknown"),
    ];
    assert_eq!(value(&page, "istio_requests_total", &labels), Some(3.0), "{page}");
    let duration = value(&page, "istio_request_duration_milliseconds_count", &labels);
    assert_eq!(duration, Some(3.0), "{page}");
    for metric in ["istio_request_bytes", "istio_response_bytes"] {
        let count = value(&page, &format!("{metric}_count"), &labels);
        let buckets =
            value(&page, &format!("{metric}_bucket"), &[&labels[..], &[("le", "+Inf")]].concat());
        assert_eq!((count, buckets), (Some(3.0), Some(3.0)), "{metric}");
    }
    let unrouted =
        [("response_code", "404"), ("response_flags", "NR"), ("destination_service", "unknown")];
    assert_eq!(value(&page, "istio_requests_total", &unrouted), Some(1.0), "{page}");
    assert_eq!(value(&page, "istio_build", &[("component", "proxy")]), Some(1.0), "{page}");
    let cluster = [("cluster_name", "outbound|80||one.shop.svc.cluster.local")];
    assert!(value(&page, "envoy_cluster_upstream_rq_total", &cluster) >= Some(4.0), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_interface_shows_what_is_in_use() {
    let (one, mesh, gateway) = start().await;
    assert_eq!(gateway.admin("/ready").await.trim(), "LIVE");
    assert_eq!(gateway.admin_json("/server_info").await["state"], "LIVE");
    let clusters = gateway.admin("/clusters").await;
    let endpoint = format!("outbound|80||one.shop.svc.cluster.local::{}::", one.address);
    assert!(clusters.contains(&endpoint), "{clusters}");
    let dump = gateway.admin_json("/config_dump?include_eds").await.to_string();
    for part in [
        "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
        "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
        "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
        "\"name\":\"outbound|80||one.shop.svc.cluster.local\"",
        "\"prefix\":\"/shop\"",
        "envoy.filters.network.http_connection_manager",
    ] {
        assert!(dump.contains(part), "no {part} in {dump}");
    }
    assert!(!dump.contains("PRIVATE KEY"), "keys are nobody's business");
    let port = gateway.address.port();
    let listeners = gateway.admin("/listeners").await;
    assert!(listeners.contains(&format!("0.0.0.0_{port}::0.0.0.0:{port}")), "{listeners}");
    eventually("the control plane's view of it", || async {
        let page = mesh.debug("config_dump?proxyID=ingress-1.shop").await.to_string();
        if page.contains("outbound|80||one.shop.svc.cluster.local") { Ok(()) } else { Err(page) }
    })
    .await;
    mesh.synced(1).await;
    mesh.assert_nothing_refused().await;
}
