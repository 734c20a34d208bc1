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
    start_with(app, xds::StatsConfig::default()).await
}

async fn start_with(app: SocketAddr, stats: xds::StatsConfig) -> (Fixture, SocketAddr) {
    let fixture = Fixture::start();
    let address = free_address().await;
    fixture.xds.put(cds(cluster("tcp", &[app])));
    let mut chain = chain("tcp", tcp_proxy(&fixture, "tcp"));
    let stats = NetworkFilterConfig::Stats(stats);
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

/// What a connection has carried is told while it is open, also when it has fallen silent.
#[tokio::test(flavor = "multi_thread")]
async fn open_connections_are_reported_from_time_to_time() {
    let app = Upstream::echo().await;
    let every = Some(std::time::Duration::from_millis(100));
    let stats = xds::StatsConfig { tcp_reporting_duration: every, ..xds::StatsConfig::default() };
    let (fixture, address) = start_with(app.address, stats).await;
    let mut stream = eventually("a connection", || TcpStream::connect(address)).await;
    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    eventually("a report", || async {
        let page = fixture.admin("/stats/prometheus").await;
        let value = |name: &str| {
            let line = page.lines().find(|line| line.starts_with(&format!("istio_tcp_{name}{{")));
            line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_owned())
        };
        let names = ["connections_opened_total", "sent_bytes_total", "received_bytes_total"];
        let values = names.map(|name| value(name).unwrap_or_default());
        if values == ["1", "5", "5"] { Ok(()) } else { Err(values) }
    })
    .await;
    drop(stream);
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

#[tokio::test(flavor = "multi_thread")]
async fn tcp_passes_between_sidecars_under_mutual_tls() {
    between_sidecars(false).await;
    between_sidecars(true).await;
}

async fn between_sidecars(exchanging: bool) {
    let app = Upstream::echo().await;
    let ca = crate::fixture::ca();
    let (client, server) = (Fixture::start_as("productpage"), Fixture::start_as("reviews"));
    let (entry, inbound) = (free_address().await, free_address().await);
    crate::fixture::serve_secrets(&client.sds, &ca, &crate::fixture::identity(&ca, "productpage"));
    crate::fixture::serve_secrets(&server.sds, &ca, &crate::fixture::identity(&ca, "reviews"));
    server.xds.put(cds(cluster("inbound|9000||", &[app.address])));
    let mut secured = chain("tls", tcp_proxy(&server, "inbound|9000||"));
    secured.transport_socket = Some(xds::DownstreamTls {
        common: crate::mtls::context(
            vec![xds::StringMatcher::prefix("spiffe://cluster.local/")],
            &["istio-peer-exchange", "h2", "http/1.1"],
        ),
        require_client_certificate: true,
    });
    let stats = NetworkFilterConfig::Stats(xds::StatsConfig::default());
    secured.filters.insert(0, NetworkFilter { name: "istio.stats".into(), config: stats });
    let exchange = || NetworkFilter {
        name: "istio.metadata_exchange".into(),
        config: NetworkFilterConfig::MetadataExchange { protocol: "istio-peer-exchange".into() },
    };
    if exchanging {
        secured.filters.insert(0, exchange());
    }
    let mut virtual_inbound = listener(inbound, vec![secured]);
    virtual_inbound.traffic_direction = xds::TrafficDirection::Inbound;
    virtual_inbound.listener_filters = vec![ListenerFilterKind::TlsInspector.into()];
    server.xds.put(lds(virtual_inbound));
    let mut outbound = cluster("outbound|9000||tcp", &[inbound]);
    outbound.transport_socket = Some(xds::UpstreamTls {
        common: crate::mtls::context(
            vec![xds::StringMatcher::exact("spiffe://cluster.local/ns/bookinfo/sa/reviews")],
            &["istio-peer-exchange", "istio"],
        ),
        sni: "outbound_.9000_._.tcp".into(),
    });
    if exchanging {
        outbound.filters.push(exchange());
    }
    client.xds.put(cds(outbound));
    client
        .xds
        .put(lds(listener(entry, vec![chain("tcp", tcp_proxy(&client, "outbound|9000||tcp"))])));
    eventually("an echo over TLS", || async {
        let mut stream = TcpStream::connect(entry).await.map_err(|error| error.to_string())?;
        stream.write_all(b"hello").await.map_err(|error| error.to_string())?;
        stream.shutdown().await.map_err(|error| error.to_string())?;
        let mut got = String::new();
        stream.read_to_string(&mut got).await.map_err(|error| error.to_string())?;
        if got == "hello" { Ok(()) } else { Err(got) }
    })
    .await;
    let metrics = server.admin("/stats/prometheus").await;
    let line = metrics.lines().find(|line| line.starts_with("istio_tcp_connections_opened_total"));
    let line = line.unwrap_or_else(|| panic!("{metrics}"));
    assert!(line.contains("connection_security_policy=\"mutual_tls\""), "{line}");
    let principal = "source_principal=\"spiffe://cluster.local/ns/bookinfo/sa/productpage\"";
    assert!(line.contains(principal), "{line}");
    assert_eq!(line.contains("source_workload=\"productpage-v1\""), exchanging, "{line}");
}
