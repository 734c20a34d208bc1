//! What has broken proxies before: each is refused or neutralised, and the proxy stays up.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use xds::RouteSpecifier;

use crate::{
    fixture::{Fixture, call_at, eventually, free_address, get, raw, until},
    http::simple,
    resources::{action, cds, cluster, http_chain, lds, listener, manager, rds, routes, to},
    upstream::Upstream,
};

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_can_be_read_in_two_ways_are_not_passed_on() {
    let app = Upstream::http("v1").await;
    let (_fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let refused: &[&[u8]] = &[
        b"POST / HTTP/1.1\r\nhost: reviews\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nhost: reviews\r\ntransfer-encoding: identity\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nhost: reviews\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: reviews\r\ncontent-length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nhost: reviews\r\ncontent-length: 5,5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nhost: reviews\r\nhost: reviews\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: user@reviews\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: rev iews\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: reviews\r\nx-a : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: reviews\r\nx-a: b\x00c\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: reviews\r\nx-a: b\r\n folded\r\n\r\n",
        b"GET /admin%00 HTTP/1.1\r\nhost: reviews\r\n\r\n",
        b"GET http://user@reviews/ HTTP/1.1\r\nhost: reviews\r\n\r\n",
    ];
    for request in refused {
        let answer = raw(address, request).await;
        assert_eq!(status(&answer), "400", "{} -> {answer}", String::from_utf8_lossy(request));
    }
    let old = raw(address, b"GET / HTTP/1.0\r\nhost: reviews\r\n\r\n").await;
    assert_eq!(status(&old), "426", "{old}");
    assert_eq!(call_at(address, get("/", &[])).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_lengths_at_once_smuggle_nothing() {
    let app = Upstream::http("v1").await;
    let (_fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let before = app.requests.load(std::sync::atomic::Ordering::SeqCst);
    for order in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
    ] {
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: reviews\r\n\r\n";
        let bytes = format!("POST /first HTTP/1.1\r\nhost: reviews\r\n{order}\r\n\r\n{smuggled}");
        let answer = raw(address, bytes.as_bytes()).await;
        assert!(!answer.contains("/smuggled"), "{answer}");
    }
    let after = app.requests.load(std::sync::atomic::Ordering::SeqCst);
    assert!(after - before <= 2, "{before} {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_have_one_meaning() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    for (sent, seen) in [
        ("/app/../admin", "/admin"),
        ("/app/%2E./admin", "/admin"),
        ("/app\\admin", "/app/admin"),
        ("/xyz%30..//abc", "/xyz0..//abc"),
        ("/app/%2f", "/app/%2f"),
        ("/%252e%252e/admin", "/%252e%252e/admin"),
        ("/app/..;/admin", "/admin"),
    ] {
        let bytes = format!("GET {sent} HTTP/1.1\r\nhost: reviews\r\nconnection: close\r\n\r\n");
        let answer = raw(address, bytes.as_bytes()).await;
        assert!(answer.contains(&format!("v1 GET {seen} HTTP/1.1 ")), "{sent}: {answer}");
        fixture.log_with(&format!("GET {seen} HTTP/1.1 200")).await;
    }
    let absolute = raw(address, b"GET http://reviews/x//y HTTP/1.1\r\nhost: other\r\n\r\n").await;
    assert!(absolute.contains("v1 GET /x//y HTTP/1.1 host=reviews"), "{absolute}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded() {
    let app = Upstream::http("v1").await;
    let (_fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let long = "a".repeat(70_000);
    let large = format!("GET / HTTP/1.1\r\nhost: reviews\r\nx-a: {long}\r\n\r\n");
    assert_eq!(status(&raw(address, large.as_bytes()).await), "431");
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: reviews\r\n{many}\r\n");
    assert_eq!(status(&raw(address, many.as_bytes()).await), "431");
    let endless = vec![b'a'; 1_000_000];
    let answer = raw(address, &[b"GET /".as_slice(), &endless].concat()[..200_000]).await;
    assert!(answer.is_empty() || status(&answer).starts_with('4'), "{answer}");
    assert_eq!(call_at(address, get("/", &[])).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn outsiders_cannot_speak_for_the_mesh() {
    let app = Upstream::http("v1").await;
    let fixture = Fixture::start();
    let address = free_address().await;
    fixture.xds.put(cds(cluster("reviews", &[app.address])));
    let mut gateway = manager(RouteSpecifier::Rds("9080".into()), &fixture.log);
    gateway.use_remote_address = true;
    gateway.forward_client_cert = xds::ForwardClientCert::SanitizeSet;
    fixture.xds.put(lds(listener(address, vec![http_chain("gateway", gateway)])));
    fixture.xds.put(rds(routes("9080", to(action("reviews")))));
    until(address, "/", 200).await;
    let forged = [
        ("x-envoy-original-path", "/fake"),
        ("x-envoy-peer-metadata", "ChoKA"),
        ("x-envoy-internal", "true"),
        ("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/a/sa/admin"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "mine"),
    ];
    let answer = call_at(address, get("/", &forged)).await;
    for absent in ["/fake", "ChoKA", "x-envoy-internal", "admin", "mine", "proto: https"] {
        assert!(!answer.body.contains(absent), "{absent} in {answer:?}");
    }
    assert!(answer.body.contains("x-forwarded-for: 10.0.0.1,127.0.0.1\n"), "{answer:?}");
    assert!(answer.body.contains("x-envoy-external-address: 127.0.0.1\n"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_headers_cannot_drop_what_later_hops_need() {
    let app = Upstream::http("v1").await;
    let (_fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let headers = [
        ("connection", "x-hop, x-forwarded-proto, cookie"),
        ("x-hop", "1"),
        ("cookie", "a=b"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip"),
    ];
    let answer = call_at(address, get("/", &headers)).await;
    assert!(answer.body.contains("cookie: a=b") && answer.body.contains("x-forwarded-proto"));
    for absent in ["x-hop", "keep-alive", "te: gzip", "\nconnection:"] {
        assert!(!answer.body.contains(absent), "{absent} in {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_cannot_be_forged() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let agent = "a\" 200 forged\t\u{e9}";
    let mut request = get("/forged", &[]);
    request
        .headers_mut()
        .insert("user-agent", http::HeaderValue::from_bytes(agent.as_bytes()).unwrap());
    call_at(address, request).await;
    let log = fixture.log_with("/forged").await;
    assert!(log.contains("\"a\\\" 200 forged\\té\""), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_the_connection_not_the_proxy() {
    let app = Upstream::http("v1").await;
    let (_fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (h2, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let flood = async {
        for _ in 0..20_000 {
            let Ok(mut ready) = h2.clone().ready().await else { return };
            let request = http::Request::get("http://reviews/delay/1000").body(()).unwrap();
            let Ok((_, mut stream)) = ready.send_request(request, false) else { return };
            stream.send_reset(h2::Reason::CANCEL);
        }
    };
    let _ended = tokio::time::timeout(Duration::from_secs(20), flood).await;
    connection.abort();
    assert_eq!(call_at(address, get("/", &[])).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_silent_connections_do_not_stop_others() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(call_at(address, get("/", &[])).await.status, 200);
    drop(silent);
    eventually("connections to end", || async {
        let open = fixture.handle.active_connections();
        if open < 10 { Ok(()) } else { Err(open) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let app = Upstream::http("v1").await;
    let (_fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let mut bytes = String::new();
    for number in 0..10 {
        let close = if number == 9 { "connection: close\r\n" } else { "" };
        bytes.push_str(&format!("GET /{number} HTTP/1.1\r\nhost: reviews\r\n{close}\r\n"));
    }
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let seen: Vec<&str> = answer.matches("v1 GET /").collect();
    assert_eq!(seen.len(), 10, "{answer}");
    let mut last = 0;
    for number in 0..10 {
        let at = answer.find(&format!("v1 GET /{number} ")).unwrap();
        assert!(at >= last);
        last = at;
    }
}
