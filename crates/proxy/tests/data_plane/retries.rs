//! Retries, circuit breakers, outlier detection and faults.

use std::{sync::atomic::Ordering, time::Duration};

use xds::{FractionalPercent, HttpFilter, HttpFilterConfig, RetryPolicy, RouteSpecifier};

use crate::{
    fixture::{Fixture, call_at, eventually, free_address, get, request, until},
    http::simple,
    resources::{
        action, cds, cluster, http_chain, lds, listener, manager, rds, router, routes, to,
    },
    upstream::Upstream,
};

fn retrying(retry_on: &str, num_retries: u32) -> xds::RouteAction {
    xds::RouteAction {
        retry_policy: Some(RetryPolicy {
            retry_on: retry_on.into(),
            num_retries: Some(num_retries),
            avoid_previous_hosts: true,
            host_selection_retry_max_attempts: 5,
            ..RetryPolicy::default()
        }),
        ..action("reviews")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_are_retried_with_the_whole_body() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(retrying("5xx", 3))).await;
    until(address, "/", 200).await;
    app.requests.store(0, Ordering::SeqCst);
    let body = "y".repeat(100_000);
    let answer = call_at(address, request("POST", "/flaky/2", &[], &body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("x-envoy-attempt-count: 3\n"), "{answer:?}");
    assert!(answer.body.ends_with(&format!("body={body}")));
    assert_eq!(fixture.stat("cluster.reviews.upstream_rq_retry").await, 2);
    let answer = call_at(address, get("/status/503", &[])).await;
    assert_eq!(answer.status, 503);
    fixture.log_with("503 URX via_upstream").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_host_costs_no_request() {
    let (app, dead) = (Upstream::http("v1").await, free_address().await);
    let istio = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
    let (_fixture, address) = simple(&[app.address, dead], to(retrying(istio, 2))).await;
    until(address, "/", 200).await;
    for _ in 0..20 {
        assert_eq!(call_at(address, get("/", &[])).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_takes_too_long_is_given_up() {
    let app = Upstream::http("v1").await;
    let mut slow = retrying("reset,5xx", 1);
    if let Some(policy) = &mut slow.retry_policy {
        policy.per_try_timeout = Some(Duration::from_millis(100));
    }
    let (fixture, address) = simple(&[app.address], to(slow)).await;
    until(address, "/", 200).await;
    app.requests.store(0, Ordering::SeqCst);
    let answer = call_at(address, get("/delay/3000", &[])).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (504, "upstream request timeout"));
    assert_eq!(app.requests.load(Ordering::SeqCst), 2);
    fixture.log_with("upstream_per_try_timeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_breaks_off_is_told_apart() {
    let rude = Upstream::rude(b"").await;
    let (fixture, address) = simple(&[rude.address], to(action("reviews"))).await;
    let answer = until(address, "/", 503).await;
    assert_eq!(
        answer.body,
        "upstream connect error or disconnect/reset before headers. reset reason: connection \
         termination"
    );
    fixture.log_with("503 UC upstream_reset_before_response_started{connection_termination}").await;
    let nonsense = Upstream::rude(b"this is not HTTP\r\n\r\n").await;
    fixture.xds.put(cds(cluster("reviews", &[nonsense.address])));
    let answer = until(address, "/", 502).await;
    assert!(answer.body.ends_with("reset reason: protocol error"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn circuit_breakers_open() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    let mut limited = cluster("reviews", &[app.address]);
    limited.circuit_breakers.max_connections = Some(1);
    limited.circuit_breakers.max_pending_requests = Some(1);
    fixture.xds.put(cds(limited));
    until(address, "/", 200).await;
    eventually("the limit", || async {
        let clusters = fixture.admin("/clusters").await;
        let limit = "reviews::default_priority::max_connections::1\n";
        if clusters.contains(limit) { Ok(()) } else { Err(clusters) }
    })
    .await;
    let calls = (0..6).map(|_| call_at(address, get("/delay/300", &[])));
    let answers = futures_util::future::join_all(calls).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(passed >= 2 && passed + refused.len() == 6 && refused.len() >= 3, "{answers:?}");
    assert_eq!(refused[0].header("x-envoy-overloaded"), "true");
    fixture.log_with("503 UO upstream_reset_before_response_started{overflow}").await;
    assert!(fixture.stat("cluster.reviews.upstream_rq_pending_overflow").await >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_hosts_are_ejected_and_come_back() {
    let (good, bad) = (Upstream::http("good").await, Upstream::rude(b"").await);
    let (fixture, address) = simple(&[good.address], to(action("reviews"))).await;
    let mut watched = cluster("reviews", &[good.address, bad.address]);
    watched.outlier_detection = Some(xds::OutlierDetection {
        consecutive_5xx: Some(2),
        interval: Some(Duration::from_secs(1)),
        base_ejection_time: Some(Duration::from_secs(2)),
        max_ejection_percent: Some(100),
        ..xds::OutlierDetection::default()
    });
    fixture.xds.put(cds(watched));
    until(address, "/", 503).await;
    eventually("the ejection", || async {
        let _any = call_at(address, get("/", &[])).await;
        let active = fixture.stat("cluster.reviews.outlier_detection.ejections_active").await;
        if active == 1 { Ok(()) } else { Err(active) }
    })
    .await;
    for _ in 0..10 {
        assert_eq!(call_at(address, get("/", &[])).await.status, 200);
    }
    let clusters = fixture.admin("/clusters?format=json").await;
    assert!(clusters.contains("\"failed_outlier_check\":true"), "{clusters}");
    eventually("the end of the ejection", || async {
        let active = fixture.stat("cluster.reviews.outlier_detection.ejections_active").await;
        if active == 0 { Ok(()) } else { Err(active) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_injected() {
    let app = Upstream::http("v1").await;
    let fixture = Fixture::start();
    let address = free_address().await;
    fixture.xds.put(cds(cluster("reviews", &[app.address])));
    let mut manager = manager(RouteSpecifier::Rds("9080".into()), &fixture.log);
    let fault = HttpFilter {
        name: "envoy.filters.http.fault".into(),
        config: HttpFilterConfig::Fault(xds::HttpFault::default()),
    };
    manager.http_filters = vec![fault, router()];
    fixture.xds.put(lds(listener(address, vec![http_chain("http", manager)])));
    let mut list = to(action("reviews"));
    let policy = xds::HttpFault {
        delay: Some(xds::FaultDelay {
            fixed_delay: Duration::from_millis(100),
            percentage: FractionalPercent::from_percent(100.0),
        }),
        abort: Some(xds::FaultAbort {
            status: xds::FaultStatus::Http(418),
            percentage: FractionalPercent::from_percent(100.0),
        }),
        headers: Vec::new(),
    };
    list[0]
        .typed_per_filter_config
        .insert("envoy.filters.http.fault".into(), xds::PerFilterConfig::Fault(policy));
    fixture.xds.put(rds(routes("9080", list)));
    let answer = until(address, "/", 418).await;
    assert_eq!(answer.body, "fault filter abort");
    fixture.log_with("418 DI,FI fault_filter_abort").await;
    let grpc = [("content-type", "application/grpc")];
    let answer = call_at(address, request("POST", "/", &grpc, "")).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, "2"));
}
