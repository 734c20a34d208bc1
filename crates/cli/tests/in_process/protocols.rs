//! What a gateway speaks besides HTTP/1.1: HTTP/2 on both sides, TCP, and TLS that it passes on by
//! the server's name without opening it.

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{
    application::Application,
    client::{eventually, from, get, try_get, until_status},
    fixture::Mesh,
    gateway::Gateway,
    objects,
};

/// Calls at once over one HTTP/2 connection; how many were answered with 200.
async fn streams(address: SocketAddr, count: usize, path: &'static str) -> usize {
    let stream = TcpStream::connect(address).await.expect("connected");
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, driver) = handshake.await.expect("HTTP/2");
    tokio::spawn(driver);
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let mut sender = sender.clone();
            let uri = format!("http://shop.example{path}");
            let request = Request::get(uri).body(Empty::<Bytes>::new()).expect("a request");
            tokio::spawn(async move {
                let response = sender.send_request(request).await.expect("an answer");
                let good = response.status() == 200;
                response.into_body().collect().await.expect("a body");
                good
            })
        })
        .collect();
    let mut good = 0;
    for call in calls {
        good += usize::from(call.await.expect("no panic"));
    }
    good
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_on_both_sides() {
    let one = Application::start("one").await;
    let port = objects::free_port();
    let upgrade = "{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}";
    let mesh = Mesh::start(&[
        ("one.yaml", &objects::service("one", &[one.address])),
        ("gateway.yaml", &objects::gateway("ingress", port)),
        ("routes.yaml", &objects::all_to("ingress", "one")),
    ])
    .await;
    let gateway = Gateway::start(&mesh, "ingress", port).await;
    until_status(gateway.address, "/", 200).await;
    assert_eq!(streams(gateway.address, 50, "/delay/50").await, 50);
    mesh.write("rule.yaml", &objects::policy("one", upgrade));
    let clusters = || async {
        let page = gateway.admin("/config_dump").await;
        if page.contains("http2_protocol_options") { Ok(()) } else { Err(()) }
    };
    eventually("HTTP/2 to the service", clusters).await;
    let connections = one.connections();
    assert_eq!(streams(gateway.address, 50, "/delay/50").await, 50);
    let more = one.connections() - connections;
    assert!(more <= 2, "{more} connections for 50 streams");
    mesh.assert_nothing_refused().await;
}

/// The redirect that a Gateway asks for is for all paths, whatever routes there are.
#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_sent_to_https() {
    let one = Application::start("one").await;
    let port = objects::free_port();
    let redirecting = objects::gateway("ingress", port)
        .replace("protocol: HTTP}", "protocol: HTTP}\n    tls: {httpsRedirect: true}");
    let mesh = Mesh::start(&[
        ("one.yaml", &objects::service("one", &[one.address])),
        ("gateway.yaml", &redirecting),
        ("routes.yaml", &objects::all_to("ingress", "one")),
    ])
    .await;
    let gateway = Gateway::start(&mesh, "ingress", port).await;
    let answer = until_status(gateway.address, "/a?b=c", 301).await;
    let location = answer.headers.get("location").map_or("", String::as_str);
    assert_eq!(location, "https://shop.example/a?b=c");
    assert_eq!(one.requests(), 0);
}

const TCP: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bytes, namespace: shop}
spec:
  hosts: ['*']
  gateways: [ingress]
  tcp:
  - route: [{destination: {host: one, port: {number: 80}}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn tcp_is_carried_as_it_is() {
    let (one, two) = (Application::start("one").await, Application::start("two").await);
    let port = objects::free_port();
    let gateway = objects::gateway("ingress", port).replace("protocol: HTTP", "protocol: TCP");
    let mesh = Mesh::start(&[
        ("one.yaml", &objects::service("one", &[one.address])),
        ("two.yaml", &objects::service("two", &[two.address])),
        ("gateway.yaml", &gateway),
        ("routes.yaml", TCP),
    ])
    .await;
    let gateway = Gateway::start(&mesh, "ingress", port).await;
    let answer = until_status(gateway.address, "/", 200).await;
    assert!(!answer.body.contains("x-forwarded"), "nobody looks inside: {answer:?}");
    // An open connection stays where it is; new ones go where the edit says.
    let address = gateway.address;
    let slow = tokio::spawn(async move { get(address, "/delay/600", &[]).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    mesh.write("routes.yaml", &TCP.replace("host: one", "host: two"));
    eventually("the other service", || async {
        let answer = try_get(gateway.address, "/", &[]).await?;
        if from(&answer) == "two" { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    let answer = slow.await.expect("no panic");
    assert_eq!(from(&answer), "one");
    let page = gateway.admin("/stats/prometheus").await;
    let of_one = page.lines().any(|line| {
        line.starts_with("istio_tcp_connections_opened_total")
            && line.contains("destination_service=\"one.shop.svc.cluster.local\"")
            && line.contains("request_protocol=\"tcp\"")
    });
    assert!(of_one, "{page}");
    mesh.assert_nothing_refused().await;
}

/// `outer` speaks mutual TLS with `inner` through `middle`, which reads only the server's name.
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_passed_on_by_server_name() {
    let one = Application::start("one").await;
    let (outer_port, middle_port, inner_port) =
        (objects::free_port(), objects::free_port(), objects::free_port());
    let https = "protocol: HTTPS}\n    tls: {mode: ISTIO_MUTUAL}";
    let inner_gateway = objects::gateway("inner", inner_port).replace("protocol: HTTP}", https);
    let tls = "protocol: TLS}\n    tls: {mode: PASSTHROUGH}";
    let middle_gateway = objects::gateway("middle", middle_port).replace("protocol: HTTP}", tls);
    let by_name = TCP
        .replace("ingress", "middle")
        .replace("'*'", "inner.example")
        .replace("tcp:", "tls:")
        .replace("- route:", "- match: [{sniHosts: [inner.example]}]\n    route:")
        .replace("host: one", "host: inner");
    let sni = |name: &str| {
        let own = "spiffe://cluster.local/ns/shop/sa/inner";
        let tls = format!("{{mode: ISTIO_MUTUAL, sni: {name}, subjectAltNames: [\"{own}\"]}}");
        objects::policy("middle", &format!("{{tls: {tls}}}"))
    };
    let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let mesh = Mesh::start(&[
        ("one.yaml", &objects::service("one", &[one.address])),
        ("inner.yaml", &objects::service("inner", &[local(inner_port)])),
        ("middle.yaml", &objects::service("middle", &[local(middle_port)])),
        ("inner-gateway.yaml", &inner_gateway),
        ("inner-routes.yaml", &objects::all_to("inner", "one")),
        ("middle-gateway.yaml", &middle_gateway),
        ("middle-routes.yaml", &by_name),
        ("outer-gateway.yaml", &objects::gateway("outer", outer_port)),
        ("outer-routes.yaml", &objects::all_to("outer", "middle")),
        ("rule.yaml", &sni("inner.example")),
    ])
    .await;
    let _inner = Gateway::start(&mesh, "inner", inner_port).await;
    let _middle = Gateway::start(&mesh, "middle", middle_port).await;
    let outer = Gateway::start(&mesh, "outer", outer_port).await;
    let answer = until_status(outer.address, "/", 200).await;
    // The application is told of `outer`: `middle` has opened nothing.
    assert!(answer.body.contains("URI=spiffe://cluster.local/ns/shop/sa/outer"), "{answer:?}");
    mesh.write("rule.yaml", &sni("else.example"));
    until_status(outer.address, "/", 503).await;
    mesh.synced(3).await;
    mesh.assert_nothing_refused().await;
}
