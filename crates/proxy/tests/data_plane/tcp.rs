//! TCP: bytes both ways, half-closed connections, policies, server-first protocols.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use xds::{ListenerFilterKind, NetworkFilter, NetworkFilterConfig, TcpClusterWeight, TcpProxy};

use crate::{
    fixture::{Fixture, eventually, free_address},
    resources::{LOG, cds, chain, cluster, lds, listener},
    upstream::Upstream,
};

fn tcp_proxy(fixture: &Fixture, cluster: &str) -> NetworkFilterConfig {
    NetworkFilterConfig::TcpProxy(TcpProxy {
        stat_prefix: cluster.into(),
        clusters: vec![TcpClusterWeight { name: cluster.into(), weight: 1 }],
        idle_timeout: None,
        max_downstream_connection_duration: None,
        access_log: vec![xds::AccessLog {
            path: fixture.log.to_str().unwrap().into(),
            format: xds::AccessLogFormat::Text(LOG.into()),
            filter: None,
        }],
    })
}

async fn start(app: SocketAddr) -> (Fixture, SocketAddr) {
    let fixture = Fixture::start();
    let address = free_address().await;
    fixture.xds.put(cds(cluster("tcp", &[app])));
    let mut chain = chain("tcp", tcp_proxy(&fixture, "tcp"));
    let stats = NetworkFilterConfig::Stats(xds::StatsConfig::default());
    chain.filters.insert(0, NetworkFilter { name: "istio.stats".into(), config: stats });
    fixture.xds.put(lds(listener(address, vec![chain])));
    (fixture, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_both_ways_and_ends_are_kept_apart() {
    let app = Upstream::echo().await;
    let (fixture, address) = start(app.address).await;
    let mut stream = eventually("a connection", || TcpStream::connect(address)).await;
    let sent = vec![7_u8; 300_000];
    let (mut read, mut write) = stream.split();
    let writing = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let reading = async {
        let mut got = Vec::new();
        read.read_to_end(&mut got).await.unwrap();
        got
    };
    let ((), got) = tokio::join!(writing, reading);
    assert_eq!(got.len(), sent.len());
    fixture.log_with("- - - 0 - - - 300000 300000 \"-\" tcp - -").await;
    let metrics = fixture.admin("/stats/prometheus").await;
    for name in ["opened_total", "closed_total", "sent_bytes_total", "received_bytes_total"] {
        let prefix = if name.contains("bytes") { "istio_tcp_" } else { "istio_tcp_connections_" };
        assert!(metrics.contains(&format!("{prefix}{name}{{reporter=\"source\"")), "{metrics}");
    }
    assert!(!metrics.lines().any(|l| l.starts_with("istio_tcp") && l.contains("response_code=")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_there_closes_the_connection() {
    let (fixture, address) = start(free_address().await).await;
    let mut stream = eventually("a connection", || TcpStream::connect(address)).await;
    let mut got = Vec::new();
    let _reset_or_end = stream.read_to_end(&mut got).await;
    assert!(got.is_empty());
    fixture.log_with("0 UF - ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_refuse_connections() {
    let app = Upstream::echo().await;
    let fixture = Fixture::start();
    let address = free_address().await;
    fixture.xds.put(cds(cluster("tcp", &[app.address])));
    let mut chain = chain("tcp", tcp_proxy(&fixture, "tcp"));
    let nobody = xds::Rbac { action: xds::RbacAction::Allow, policies: Default::default() };
    let rbac =
        xds::RbacFilter { rules: Some(nobody), stat_prefix: "tcp.".into(), ..Default::default() };
    chain
        .filters
        .insert(0, NetworkFilter { name: "rbac".into(), config: NetworkFilterConfig::Rbac(rbac) });
    fixture.xds.put(lds(listener(address, vec![chain])));
    let mut stream = eventually("a connection", || TcpStream::connect(address)).await;
    let _refused = stream.write_all(b"hello").await;
    let mut got = Vec::new();
    let _reset_or_end = stream.read_to_end(&mut got).await;
    assert!(got.is_empty());
    assert_eq!(app.connections.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_speak_first_when_the_inspectors_give_up() {
    let greeter = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = greeter.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = greeter.accept().await {
            stream.write_all(b"220 welcome\r\n").await.unwrap();
        }
    });
    let fixture = Fixture::start();
    let address = free_address().await;
    fixture.xds.put(cds(cluster("tcp", &[app])));
    let mut inspected = listener(address, vec![chain("tcp", tcp_proxy(&fixture, "tcp"))]);
    inspected.listener_filters =
        vec![ListenerFilterKind::TlsInspector.into(), ListenerFilterKind::HttpInspector.into()];
    inspected.listener_filters_timeout = Some(std::time::Duration::from_millis(200));
    inspected.continue_on_listener_filters_timeout = true;
    fixture.xds.put(lds(inspected));
    let mut stream = eventually("a connection", || TcpStream::connect(address)).await;
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "220 welcome\r\n");
}
