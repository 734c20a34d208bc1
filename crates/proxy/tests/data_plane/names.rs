//! Clusters whose hosts are names or Unix sockets.

use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use xds::{Address, Cluster, Discovery, LoadAssignment, RouteSpecifier};

use crate::{
    fixture::{Fixture, free_address, until},
    resources::{action, cds, cluster, http_chain, lds, listener, manager, rds, routes, to},
    upstream::Upstream,
};

/// A cluster `named` with one host at `address`.
fn named(address: Address, discovery: fn(LoadAssignment) -> Discovery) -> Cluster {
    let placeholder = "127.0.0.1:1".parse().expect("address");
    let mut cluster = cluster("named", &[placeholder]);
    let Discovery::Static(mut hosts) = cluster.discovery else { panic!("hosts") };
    hosts.localities[0].endpoints[0].address = address;
    cluster.discovery = discovery(hosts);
    cluster
}

async fn serve(cluster: Cluster) -> (Fixture, std::net::SocketAddr) {
    let fixture = Fixture::start();
    let address = free_address().await;
    fixture.xds.put(cds(cluster));
    let manager = manager(RouteSpecifier::Rds("9080".into()), &fixture.log);
    fixture.xds.put(lds(listener(address, vec![http_chain("http", manager)])));
    fixture.xds.put(rds(routes("9080", to(action("named")))));
    (fixture, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_resolved() {
    let app = Upstream::http("v1").await;
    let host = || Address::Hostname { host: "localhost".to_owned(), port: app.address.port() };
    for discovery in [Discovery::StrictDns, Discovery::LogicalDns] {
        let (_fixture, address) = serve(named(host(), discovery)).await;
        let answer = until(address, "/by-name", 200).await;
        assert!(answer.body.starts_with("v1 GET /by-name"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_knows_has_no_host() {
    let host = Address::Hostname { host: "a..example".to_owned(), port: 80 };
    let (fixture, address) = serve(named(host, Discovery::StrictDns)).await;
    until(address, "/nowhere", 503).await;
    let log = fixture.log_with("/nowhere").await;
    assert!(log.contains(" 503 UH "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_a_host() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("app.sock");
    let socket = UnixListener::bind(&path).expect("bind");
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let service = hyper::service::service_fn(|_request| async {
                let body = http_body_util::Full::new(bytes::Bytes::from_static(b"by a socket"));
                Ok::<_, std::convert::Infallible>(http::Response::new(body))
            });
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let address = Address::Pipe(path.display().to_string());
    let (_fixture, listens) = serve(named(address, Discovery::Static)).await;
    assert_eq!(until(listens, "/", 200).await.body, "by a socket");
    task.abort();
    // Nobody there: the failure is told as that of any other host.
    let nowhere = Address::Pipe(dir.path().join("nowhere.sock").display().to_string());
    let (fixture, listens) = serve(named(nowhere, Discovery::Static)).await;
    until(listens, "/nobody", 503).await;
    let log = fixture.log_with("/nobody").await;
    assert!(log.contains(" 503 UF"), "{log}");
}
