//! The routers, without sockets where possible.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::*;

fn status(steering: Steering) -> Status {
    Status {
        steering,
        metrics: Metrics::new().expect("registered"),
        prometheus_port: 1,
        application: None,
        inbound_only: true,
        quit: CancellationToken::new(),
        started: Instant::now(),
        scraping: Arc::default(),
    }
}

async fn ask(router: Router, method: &str, path: &str, from: [u8; 4]) -> (StatusCode, String) {
    let mut request =
        Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((from, 1))));
    let response = router.oneshot(request).await.expect("answered");
    let status = response.status();
    let body = response.into_body().collect().await.expect("read").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

const HERE: [u8; 4] = [127, 0, 0, 1];

#[tokio::test]
async fn not_ready_says_why_and_a_drain_is_not_ready() {
    let status = status(Steering::mizzen(proxy::Handle::new()));
    let (code, why) = ask(status.clone().probe_router(), "GET", "/healthz/ready", HERE).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("no clusters"), "{why}");
    let (code, _) = ask(status.clone().operator_router(), "POST", "/drain", [10, 0, 0, 1]).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "not from elsewhere");
    ask(status.clone().operator_router(), "POST", "/drain", HERE).await;
    let (_, why) = ask(status.probe_router(), "GET", "/healthz/ready", HERE).await;
    assert!(why.contains("draining"), "{why}");
}

#[tokio::test]
async fn quits_only_when_the_workload_asks() {
    let status = status(Steering::mizzen(proxy::Handle::new()));
    let router = status.clone().operator_router();
    let (code, _) = ask(router.clone(), "POST", "/quitquitquit", [10, 0, 0, 1]).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    let (code, _) = ask(router.clone(), "GET", "/quitquitquit", HERE).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    assert!(!status.quit.is_cancelled());
    ask(router, "POST", "/quitquitquit", HERE).await;
    assert!(status.quit.is_cancelled());
}

#[tokio::test]
async fn merges_what_answers_and_counts_what_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let page = Router::new().route("/metrics", get(|| async { "orders_total 7\n# EOF" }));
    tokio::spawn(async move { axum::serve(listener, page).await });
    let mut status = status(Steering::mizzen(proxy::Handle::new()));
    status.application = Some(ApplicationMetrics { port, path: "/metrics".into() });
    let router = status.operator_router();
    ask(router.clone(), "GET", "/stats/prometheus", HERE).await;
    let (code, page) = ask(router, "GET", "/stats/prometheus", HERE).await;
    assert_eq!(code, StatusCode::OK);
    assert!(page.contains("orders_total 7\n") && !page.contains("# EOF"), "{page}");
    assert!(page.contains("istio_agent_scrapes_total 2"), "{page}");
    assert!(page.contains(r#"istio_agent_scrape_failures_total{type="envoy"} 2"#), "{page}");
}
