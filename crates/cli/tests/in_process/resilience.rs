//! Retries, circuit breakers and outlier detection.

use agent::ProxyChoice;

use super::{
    application::Application,
    client::{from, get, until_from, until_status},
    fixture::Mesh,
    gateway::Gateway,
    objects,
};

const ROUTES: &str = r#"  - match: [{uri: {prefix: /once}}]
    retries: {attempts: 0}
    route: [{destination: {host: half}}]
  - match: [{uri: {prefix: /again}}]
    retries: {attempts: 3, retryOn: "5xx"}
    route: [{destination: {host: one}}]
  - match: [{uri: {prefix: /narrow}}]
    route: [{destination: {host: narrow}}]
  - match: [{uri: {prefix: /sick}}]
    retries: {attempts: 0}
    route: [{destination: {host: sick}}]
  - match: [{uri: {prefix: /}}]
    route: [{destination: {host: half}}]
"#;
const NARROW: &str =
    "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";
const OUTLIERS: &str = "{loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: \
    {consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 60s, maxEjectionPercent: 100}}";

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_contained() {
    contained(ProxyChoice::Mizzen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_envoy_contains_them_the_same() {
    let Some(path) = testkit::peers::envoy() else {
        return testkit::skip("no stock Envoy");
    };
    contained(ProxyChoice::Envoy { path }).await;
}

async fn contained(proxy: ProxyChoice) {
    let (one, broken) = (Application::start("one").await, Application::broken("broken").await);
    let dead = ([127, 0, 0, 1], objects::free_port()).into();
    let port = objects::free_port();
    let mesh = Mesh::start(&[
        ("one.yaml", &objects::service("one", &[one.address])),
        ("half.yaml", &objects::service("half", &[one.address, dead])),
        ("narrow.yaml", &objects::service("narrow", &[one.address])),
        ("narrow-rule.yaml", &objects::policy("narrow", NARROW)),
        ("sick.yaml", &objects::service("sick", &[one.address, broken.address])),
        ("sick-rule.yaml", &objects::policy("sick", OUTLIERS)),
        ("gateway.yaml", &objects::gateway("ingress", port)),
        ("routes.yaml", &objects::routes("ingress", ROUTES)),
    ])
    .await;
    let gateway = Gateway::start_on(&mesh, "ingress", port, proxy).await;
    until_from(gateway.address, "/", "one").await;
    connection_failures_are_retried(&gateway).await;
    statuses_are_retried_where_asked(&gateway, &one).await;
    what_does_not_fit_is_refused(&gateway).await;
    the_sick_are_ejected(&gateway).await;
    mesh.assert_nothing_refused().await;
}

/// Half of the endpoints refuse connections: by default nobody notices, without retries many do.
async fn connection_failures_are_retried(gateway: &Gateway) {
    for number in 0..30 {
        let answer = get(gateway.address, "/", &[]).await;
        assert_eq!(answer.status, 200, "call {number}: {answer:?}");
    }
    let mut failed = 0;
    for _ in 0..30 {
        failed += usize::from(get(gateway.address, "/once", &[]).await.status == 503);
    }
    assert!(failed > 0, "the dead endpoint is never chosen");
}

async fn statuses_are_retried_where_asked(gateway: &Gateway, one: &Application) {
    let before = one.requests();
    assert_eq!(get(gateway.address, "/again/status/503", &[]).await.status, 503);
    assert_eq!(one.requests() - before, 4, "one attempt and three more");
    let before = one.requests();
    assert_eq!(get(gateway.address, "/again/status/404", &[]).await.status, 404);
    assert_eq!(one.requests() - before, 1);
}

/// One connection and one that waits: of five calls at once three are too many.
async fn what_does_not_fit_is_refused(gateway: &Gateway) {
    let address = gateway.address;
    // A connection that is there already: while it is made, the first call waits too.
    until_status(address, "/narrow", 200).await;
    let calls: Vec<_> = (0..5)
        .map(|_| tokio::spawn(async move { get(address, "/narrow/delay/400", &[]).await }))
        .collect();
    let (mut served, mut refused) = (0, 0);
    for call in calls {
        let answer = call.await.expect("no panic");
        match answer.status {
            200 => served += 1,
            503 => {
                refused += 1;
                assert_eq!(
                    answer.headers.get("x-envoy-overloaded").map(String::as_str),
                    Some("true")
                );
                let reason = "upstream connect error or disconnect/reset before headers. reset \
                              reason: overflow";
                assert_eq!(answer.body, reason);
            }
            other => panic!("{other}: {answer:?}"),
        }
    }
    assert_eq!((served, refused), (2, 3));
    until_status(address, "/narrow", 200).await;
}

async fn the_sick_are_ejected(gateway: &Gateway) {
    let mut failed = 0;
    for _ in 0..30 {
        failed += usize::from(get(gateway.address, "/sick", &[]).await.status == 500);
    }
    assert_eq!(failed, 3, "ejected at the third failure in a row");
    for _ in 0..10 {
        assert_eq!(from(&get(gateway.address, "/sick", &[]).await), "one");
    }
    let clusters = gateway.admin("/clusters").await;
    let ejected: Vec<_> = clusters
        .lines()
        .filter(|line| {
            line.starts_with("outbound|80||sick.") && line.contains("failed_outlier_check")
        })
        .collect();
    assert_eq!(ejected.len(), 1, "{clusters}");
}
