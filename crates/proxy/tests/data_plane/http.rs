//! Plain HTTP: listener, route, cluster, and the way back.

use std::{net::SocketAddr, time::Duration};

use xds::{Action, PathMatch, RouteMatch, RouteSpecifier};

use crate::{
    fixture::{Answer, Fixture, call_at, free_address, get, raw, request, until},
    resources::{action, cds, cluster, http_chain, lds, listener, manager, rds, route, routes, to},
    upstream::Upstream,
};

/// A proxy with a listener on `9080` and a cluster `reviews`.
pub(crate) async fn simple(
    upstream: &[SocketAddr],
    list: Vec<xds::Route>,
) -> (Fixture, SocketAddr) {
    let fixture = Fixture::start();
    let address = free_address().await;
    fixture.xds.put(cds(cluster("reviews", upstream)));
    let manager = manager(RouteSpecifier::Rds("9080".into()), &fixture.log);
    fixture.xds.put(lds(listener(address, vec![http_chain("http", manager)])));
    fixture.xds.put(rds(routes("9080", list)));
    (fixture, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_its_upstream_and_comes_back() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    let answer = until(address, "/reviews/0?a=b", 200).await;
    assert!(answer.body.starts_with("v1 GET /reviews/0?a=b HTTP/1.1 host=reviews\n"), "{answer:?}");
    assert!(answer.body.contains("x-request-id: "), "{answer:?}");
    assert!(answer.body.contains("x-envoy-attempt-count: 1\n"), "{answer:?}");
    assert!(answer.body.contains("x-forwarded-proto: http\n"), "{answer:?}");
    assert_eq!(answer.header("server"), "istio-envoy");
    assert_eq!(answer.header("x-app"), "v1");
    assert!(!answer.header("x-envoy-upstream-service-time").is_empty());
    let log = fixture.log_with("/reviews/0").await;
    assert!(log.contains("GET /reviews/0?a=b HTTP/1.1 200 - via_upstream - 0 "), "{log}");
    assert!(log.contains(" reviews default -\n"), "{log}");
    assert!(fixture.handle.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_and_connections_are_used_again() {
    let app = Upstream::http("v1").await;
    let (_fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    for number in 0..20 {
        let body = "x".repeat(number * 10_000);
        let answer = call_at(address, request("POST", "/post", &[], &body)).await;
        assert!(answer.body.ends_with(&format!("body={body}")), "{number}");
    }
    assert_eq!(app.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_spreads_requests() {
    let (one, two) = (Upstream::http("one").await, Upstream::http("two").await);
    let (_fixture, address) = simple(&[one.address, two.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let mut names = Vec::new();
    for _ in 0..10 {
        names.push(call_at(address, get("/", &[])).await.header("x-app").to_owned());
    }
    assert_eq!(names.iter().filter(|name| *name == "one").count(), 5, "{names:?}");
}

fn assert_local(answer: &Answer, status: u16, body: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.body, body);
    assert_eq!(answer.header("server"), "istio-envoy");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_routed_is_told_in_envoys_words() {
    let nobody = free_address().await;
    let list = vec![
        route(
            "missing",
            RouteMatch::path(PathMatch::Prefix("/missing".into())),
            Action::Route(Box::new(action("no-such-cluster"))),
        ),
        route(
            "empty",
            RouteMatch::path(PathMatch::Prefix("/empty".into())),
            Action::Route(Box::new(action("empty"))),
        ),
        route(
            "dead",
            RouteMatch::path(PathMatch::Prefix("/dead".into())),
            Action::Route(Box::new(action("reviews"))),
        ),
    ];
    let (fixture, address) = simple(&[nobody], list).await;
    fixture.xds.put(cds(cluster("empty", &[])));
    until(address, "/empty", 503).await;
    assert_local(&call_at(address, get("/nothing", &[])).await, 404, "");
    assert_local(&call_at(address, get("/", &[("host", "other")])).await, 404, "");
    assert_local(&call_at(address, get("/missing", &[])).await, 503, "");
    assert_local(&call_at(address, get("/empty", &[])).await, 503, "no healthy upstream");
    let dead = call_at(address, get("/dead", &[])).await;
    assert_eq!(dead.status, 503);
    let text = "upstream connect error or disconnect/reset before headers. reset reason: remote \
                connection failure";
    assert_eq!(dead.body, text);
    let log = fixture.log_with("/dead").await;
    assert!(log.contains("/nothing HTTP/1.1 404 NR route_not_found"), "{log}");
    assert!(log.contains("/missing HTTP/1.1 503 NC cluster_not_found"), "{log}");
    assert!(log.contains("/empty HTTP/1.1 503 UH no_healthy_upstream"), "{log}");
    let details = "/dead HTTP/1.1 503 UF upstream_reset_before_response_started{remote_connection";
    assert!(log.contains(details), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rewrites_redirects_mutations_and_direct_responses() {
    let app = Upstream::http("v1").await;
    let mut rewritten = action("reviews");
    rewritten.prefix_rewrite = Some("/api/".into());
    rewritten.host_rewrite = xds::HostRewrite::Literal("other.example".into());
    let mut rewriting = route(
        "rewrite",
        RouteMatch::path(PathMatch::Prefix("/v1/".into())),
        Action::Route(Box::new(rewritten)),
    );
    let set = |name: &str, value: &str| xds::HeaderValueOption {
        name: name.into(),
        value: value.into(),
        overwrite: true,
    };
    rewriting.headers.request_add =
        vec![set("x-set", "new"), set("x-from", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")];
    rewriting.headers.request_remove = vec!["x-gone".into()];
    rewriting.headers.response_add = vec![set("x-answer", "%RESPONSE_CODE%%REQ(x-set)%")];
    rewriting.headers.response_remove = vec!["x-app".into()];
    let redirect = xds::Redirect {
        path: xds::RedirectPath::Prefix("/new".into()),
        response_code: 308,
        ..xds::Redirect::default()
    };
    let direct = xds::DirectResponse { status: 418, body: b"teapot".to_vec() };
    let list = vec![
        rewriting,
        route("r", RouteMatch::path(PathMatch::Prefix("/old".into())), Action::Redirect(redirect)),
        route("d", RouteMatch::any(), Action::DirectResponse(direct)),
    ];
    let (_fixture, address) = simple(&[app.address], list).await;
    until(address, "/", 418).await;
    let headers = [("x-set", "old"), ("x-gone", "1")];
    let answer = call_at(address, get("/v1/x?y", &headers)).await;
    assert!(answer.body.starts_with("v1 GET /api/x?y HTTP/1.1 host=other.example"), "{answer:?}");
    assert!(answer.body.contains("x-set: new\n") && !answer.body.contains("x-gone"), "{answer:?}");
    assert!(answer.body.contains("x-from: 127.0.0.1\n"), "{answer:?}");
    assert!(answer.body.contains("x-envoy-original-path: /v1/x?y\n"), "{answer:?}");
    assert!(answer.headers.get("x-app").is_none());
    assert!(answer.header("x-answer").ends_with("new"), "{answer:?}");
    let moved = call_at(address, get("/old/a?b", &[])).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "http://reviews/new/a?b"));
    assert_local(&call_at(address, get("/x", &[])).await, 418, "teapot");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_time_is_kept() {
    let app = Upstream::http("v1").await;
    let mut limited = action("reviews");
    limited.timeout = Some(Duration::from_millis(200));
    let (fixture, address) = simple(&[app.address], to(limited)).await;
    until(address, "/", 200).await;
    let answer = call_at(address, get("/delay/5000", &[])).await;
    assert_local(&answer, 504, "upstream request timeout");
    fixture.log_with("504 UT response_timeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_clients_and_upstreams() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    let mut h2 = cluster("reviews", &[app.address]);
    h2.http.protocol = xds::UpstreamHttpProtocol::UseDownstream;
    fixture.xds.put(cds(h2));
    until(address, "/", 200).await;
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let calls = (0..50).map(|number| {
        let mut sender = sender.clone();
        async move {
            let mut request = request("POST", "http://reviews/h2", &[], &format!("n{number}"));
            request.headers_mut().remove("host");
            let answer = crate::fixture::read(sender.send_request(request).await.unwrap()).await;
            let answer = answer.unwrap();
            assert_eq!(answer.status, 200);
            assert!(answer.body.starts_with("v1 POST /h2 HTTP/2.0 host=reviews"), "{answer:?}");
            assert!(answer.body.ends_with(&format!("body=n{number}")));
        }
    });
    futures_util::future::join_all(calls).await;
    fixture.log_with("POST /h2 HTTP/2 200 -").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_pass() {
    let app = Upstream::http("v1").await;
    let (_fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let answer = raw(
        address,
        b"GET /ws HTTP/1.1\r\nhost: reviews\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nping",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nping"), "{answer}");
    let refused = raw(
        address,
        b"GET /ws HTTP/1.1\r\nhost: reviews\r\nconnection: upgrade\r\nupgrade: spdy\r\n\r\n",
    )
    .await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_get_a_copy() {
    let (app, shadow) = (Upstream::http("v1").await, Upstream::http("shadow").await);
    let mut mirrored = action("reviews");
    mirrored.request_mirror_policies = vec![xds::MirrorPolicy {
        cluster: "shadow".into(),
        runtime_fraction: None,
        disable_shadow_host_suffix: true,
    }];
    let (fixture, address) = simple(&[app.address], to(mirrored)).await;
    fixture.xds.put(cds(cluster("shadow", &[shadow.address])));
    until(address, "/", 200).await;
    let before = shadow.requests.load(std::sync::atomic::Ordering::SeqCst);
    let answer = call_at(address, request("POST", "/m", &[], "payload")).await;
    assert!(answer.body.ends_with("body=payload"));
    crate::fixture::eventually("the copy", || async {
        let now = shadow.requests.load(std::sync::atomic::Ordering::SeqCst);
        if now > before { Ok(()) } else { Err(now) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_trailers_pass_and_are_counted() {
    let app = Upstream::grpc().await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    let mut h2 = cluster("reviews", &[app.address]);
    h2.http.protocol = xds::UpstreamHttpProtocol::Http2;
    fixture.xds.put(cds(h2));
    let mut manager = manager(RouteSpecifier::Rds("9080".into()), &fixture.log);
    let stats = xds::HttpFilterConfig::Stats(xds::StatsConfig::default());
    manager.http_filters.insert(0, xds::HttpFilter { name: "istio.stats".into(), config: stats });
    fixture.xds.put(lds(listener(address, vec![http_chain("http", manager)])));
    crate::fixture::eventually("a gRPC answer", || async {
        let text = |error: &dyn std::fmt::Debug| format!("{error:?}");
        let stream = tokio::net::TcpStream::connect(address).await.map_err(|e| text(&e))?;
        let (h2, connection) = h2::client::handshake(stream).await.map_err(|e| text(&e))?;
        tokio::spawn(connection);
        let request = http::Request::post("http://reviews/pkg.Service/Call")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let mut ready = h2.ready().await.map_err(|e| text(&e))?;
        let (answer, mut body) = ready.send_request(request, false).map_err(|e| text(&e))?;
        body.send_data(bytes::Bytes::from_static(b"\0\0\0\0\x02hi"), true).map_err(|e| text(&e))?;
        let answer = answer.await.map_err(|e| text(&e))?;
        let mut body = answer.into_body();
        let mut data = Vec::new();
        while let Some(part) = body.data().await {
            let part = part.map_err(|e| text(&e))?;
            body.flow_control().release_capacity(part.len()).map_err(|e| text(&e))?;
            data.extend_from_slice(&part);
        }
        let trailers = body.trailers().await.map_err(|e| text(&e))?;
        match trailers {
            Some(trailers) if trailers["grpc-status"] == "5" && data == b"\0\0\0\0\x02hi" => Ok(()),
            other => Err(format!("{other:?} {data:?}")),
        }
    })
    .await;
    let metrics = fixture.admin("/stats/prometheus").await;
    let counted = metrics.lines().find(|line| {
        line.starts_with("istio_requests_total") && line.contains("request_protocol=\"grpc\"")
    });
    let counted = counted.unwrap_or_else(|| panic!("{metrics}"));
    assert!(counted.contains("grpc_response_status=\"5\""), "{counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_wait_for_100_continue_get_it() {
    let app = Upstream::http("v1").await;
    let (_fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: reviews\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\
                connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = [0; 1024];
    let count = stream.read(&mut buffer).await.unwrap();
    assert!(buffer[..count].starts_with(b"HTTP/1.1 100 Continue\r\n\r\n"));
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("body=hello"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_logged_and_its_upstream_told() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /delay/60000 HTTP/1.1\r\nhost: reviews\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(fixture.stat("cluster.reviews.upstream_rq_active").await, 1);
    drop(stream);
    fixture.log_with("/delay/60000 HTTP/1.1 0 DC downstream_remote_disconnect").await;
    assert_eq!(fixture.stat("cluster.reviews.upstream_rq_active").await, 0);
    assert_eq!(call_at(address, get("/", &[])).await.status, 200);
}
