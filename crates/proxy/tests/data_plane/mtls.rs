//! Mutual TLS between two proxies: identities, policies, rotation, and failing closed.

use std::{net::SocketAddr, time::Duration};

use pki::Ca;
use tokio::net::TcpStream;
use xds::{
    CertificateValidation, DownstreamTls, FilterChainMatch, HttpFilter, HttpFilterConfig,
    ListenerFilterKind, RouteSpecifier, SanType, SecretSource, StringMatcher,
    SubjectAltNameMatcher, TlsContext, TrafficDirection, TransportSocketMatch, TrustedCa,
    UpstreamTls,
};

use crate::{
    fixture::{
        Fixture, ca, call_at, eventually, free_address, get, identity, serve_secrets, until,
    },
    resources::{
        action, cds, cluster, http_chain, lds, listener, manager, rds, router, routes, to,
    },
    upstream::Upstream,
};

pub(crate) fn context(names: Vec<StringMatcher>, alpn: &[&str]) -> TlsContext {
    TlsContext {
        certificates: vec![SecretSource::agent("default")],
        validation: Some(CertificateValidation {
            trusted_ca: TrustedCa::Secret(SecretSource::agent("ROOTCA")),
            match_subject_alt_names: names
                .into_iter()
                .map(|matcher| SubjectAltNameMatcher { san_type: SanType::Uri, matcher })
                .collect(),
        }),
        alpn: alpn.iter().map(ToString::to_string).collect(),
        ..TlsContext::default()
    }
}

fn mesh_filters(rules: Option<xds::Rbac>, inbound: bool) -> Vec<HttpFilter> {
    let filter = |name: &str, config| HttpFilter { name: name.into(), config };
    let peer = xds::PeerMetadata {
        downstream_discovery: inbound,
        upstream_discovery: !inbound,
        downstream_propagation: inbound,
        upstream_propagation: !inbound,
        skip_external_clusters: false,
    };
    let mut filters = vec![filter("istio.metadata_exchange", HttpFilterConfig::PeerMetadata(peer))];
    if let Some(rules) = rules {
        let rbac = xds::RbacFilter { rules: Some(rules), ..xds::RbacFilter::default() };
        filters.push(filter("envoy.filters.http.rbac", HttpFilterConfig::Rbac(rbac)));
    }
    if !inbound {
        let names = |upstream_protocol, alpn: &[&str]| xds::AlpnOverride {
            upstream_protocol,
            alpn: alpn.iter().map(ToString::to_string).collect(),
        };
        let overrides = vec![
            names(xds::UpstreamProtocol::Http11, &["istio-http/1.1", "istio", "http/1.1"]),
            names(xds::UpstreamProtocol::Http2, &["istio-h2", "istio", "h2"]),
        ];
        filters.push(filter("istio.alpn", HttpFilterConfig::Alpn(overrides)));
    }
    filters.push(filter("istio.stats", HttpFilterConfig::Stats(xds::StatsConfig::default())));
    filters.push(router());
    filters
}

/// A server's sidecar: STRICT, or with a chain for plaintext too.
fn serve(
    server: &Fixture,
    address: SocketAddr,
    app: SocketAddr,
    rules: Option<xds::Rbac>,
    permissive: bool,
) {
    let mut inbound = cluster("inbound|9080||", &[app]);
    inbound.http.protocol = xds::UpstreamHttpProtocol::UseDownstream;
    server.xds.put(cds(inbound));
    let inline = {
        let mut routes = routes("inbound|9080||", to(action("inbound|9080||")));
        routes.virtual_hosts[0].domains = vec!["*".into()];
        RouteSpecifier::Inline(Box::new(routes))
    };
    let mut manager = manager(inline, &server.log);
    manager.http_filters = mesh_filters(rules, true);
    manager.forward_client_cert = xds::ForwardClientCert::AppendForward;
    manager.client_cert_details =
        xds::ClientCertDetails { subject: true, dns: true, uri: true, ..Default::default() };
    let mut tls = http_chain("tls", manager.clone());
    tls.filter_chain_match = FilterChainMatch {
        transport_protocol: Some("tls".into()),
        application_protocols: ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
            .map(str::to_owned)
            .to_vec(),
        ..FilterChainMatch::default()
    };
    tls.transport_socket = Some(DownstreamTls {
        common: context(
            vec![StringMatcher::prefix("spiffe://cluster.local/")],
            &["h2", "http/1.1"],
        ),
        require_client_certificate: true,
    });
    let mut plain = http_chain("plain", manager);
    plain.filter_chain_match = FilterChainMatch {
        transport_protocol: Some("raw_buffer".into()),
        application_protocols: vec!["http/1.1".into(), "h2c".into()],
        ..FilterChainMatch::default()
    };
    let chains = if permissive { vec![tls, plain] } else { vec![tls] };
    let mut virtual_inbound = listener(address, chains);
    virtual_inbound.traffic_direction = TrafficDirection::Inbound;
    virtual_inbound.listener_filters =
        vec![ListenerFilterKind::TlsInspector.into(), ListenerFilterKind::HttpInspector.into()];
    server.xds.put(lds(virtual_inbound));
}

/// A client's sidecar that calls `server` as `reviews`.
fn call_through(
    client: &Fixture,
    address: SocketAddr,
    server: SocketAddr,
    names: &[&str],
    http2: bool,
) {
    let mut outbound = cluster("outbound|9080||reviews.bookinfo.svc.cluster.local", &[server]);
    if http2 {
        outbound.http.protocol = xds::UpstreamHttpProtocol::Http2;
    }
    outbound.transport_socket_matches = vec![
        TransportSocketMatch {
            name: "tlsMode-istio".into(),
            criteria: [("tlsMode".to_owned(), "istio".to_owned())].into(),
            transport_socket: Some(UpstreamTls {
                common: context(
                    names.iter().map(|name| StringMatcher::exact(*name)).collect(),
                    &["istio-peer-exchange", "istio"],
                ),
                sni: "outbound_.9080_._.reviews.bookinfo.svc.cluster.local".into(),
            }),
        },
        TransportSocketMatch {
            name: "tlsMode-disabled".into(),
            criteria: Default::default(),
            transport_socket: None,
        },
    ];
    if let xds::Discovery::Static(hosts) = &mut outbound.discovery {
        for endpoint in hosts.localities.iter_mut().flat_map(|locality| &mut locality.endpoints) {
            let fields = [("tlsMode".to_owned(), "istio".into())].into();
            endpoint.metadata.0.insert("envoy.transport_socket_match".into(), fields);
        }
    }
    client.xds.put(cds(outbound));
    let mut manager = manager(RouteSpecifier::Rds("9080".into()), &client.log);
    manager.http_filters = mesh_filters(None, false);
    client.xds.put(lds(listener(address, vec![http_chain("out", manager)])));
    let to = to(action("outbound|9080||reviews.bookinfo.svc.cluster.local"));
    client.xds.put(rds(routes("9080", to)));
}

struct Pair {
    client: Fixture,
    server: Fixture,
    app: Upstream,
    ca: Ca,
    entry: SocketAddr,
    inbound: SocketAddr,
}

const SERVER: &str = "spiffe://cluster.local/ns/bookinfo/sa/reviews";

async fn pair(rules: Option<xds::Rbac>, names: &[&str], http2: bool, permissive: bool) -> Pair {
    let ca = ca();
    let (client, server) = (Fixture::start_as("productpage"), Fixture::start_as("reviews"));
    let app = Upstream::http("v1").await;
    let (entry, inbound) = (free_address().await, free_address().await);
    serve_secrets(&client.sds, &ca, &identity(&ca, "productpage"));
    serve_secrets(&server.sds, &ca, &identity(&ca, "reviews"));
    serve(&server, inbound, app.address, rules, permissive);
    call_through(&client, entry, inbound, names, http2);
    eventually("the server's listener", || TcpStream::connect(inbound)).await;
    Pair { client, server, app, ca, entry, inbound }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sidecars_prove_who_they_are_and_report_it() {
    for http2 in [false, true] {
        let pair = pair(None, &[SERVER], http2, false).await;
        let answer = until(pair.entry, "/", 200).await;
        let version = if http2 { "HTTP/2.0" } else { "HTTP/1.1" };
        assert!(answer.body.starts_with(&format!("v1 GET / {version} ")), "{answer:?}");
        let cert =
            "x-forwarded-client-cert: By=spiffe://cluster.local/ns/bookinfo/sa/reviews;Hash=";
        assert!(answer.body.contains(cert), "{answer:?}");
        let uri = ";URI=spiffe://cluster.local/ns/bookinfo/sa/productpage\n";
        assert!(answer.body.contains(uri), "{answer:?}");
        assert!(!answer.body.contains("x-envoy-peer-metadata"), "{answer:?}");
        assert!(answer.headers.get("x-envoy-peer-metadata").is_none(), "{answer:?}");
        pair.server.log_with("outbound_.9080_._.reviews.bookinfo.svc.cluster.local").await;
        metrics_tell_both_sides(&pair).await;
    }
}

async fn metrics_tell_both_sides(pair: &Pair) {
    let find = |text: String| {
        let line = text.lines().find(|line| line.starts_with("istio_requests_total"));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let server = find(pair.server.admin("/stats/prometheus").await);
    let client = find(pair.client.admin("/stats/prometheus").await);
    for label in [
        "source_workload=\"productpage-v1\"",
        "source_principal=\"spiffe://cluster.local/ns/bookinfo/sa/productpage\"",
        "destination_workload=\"reviews-v1\"",
        "destination_principal=\"spiffe://cluster.local/ns/bookinfo/sa/reviews\"",
        "response_code=\"200\"",
        "request_protocol=\"http\"",
        "source_canonical_service=\"productpage\"",
        "destination_cluster=\"Kubernetes\"",
    ] {
        assert!(server.contains(label), "{label} in {server}");
        assert!(client.contains(label), "{label} in {client}");
    }
    assert!(server.contains("connection_security_policy=\"mutual_tls\""), "{server}");
    assert!(server.contains("reporter=\"destination\""), "{server}");
    assert!(client.contains("reporter=\"source\""), "{client}");
    assert!(client.contains("destination_service_name=\"reviews\""), "{client}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_name_is_not_spoken_to() {
    let pair = pair(None, &["spiffe://cluster.local/ns/bookinfo/sa/ratings"], false, false).await;
    let answer = until(pair.entry, "/", 503).await;
    assert!(answer.body.contains("TLS_error"), "{answer:?}");
    pair.client.log_with("503 UF").await;
    assert_eq!(pair.app.requests.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_go_by_the_proved_name() {
    let allow = |account: &str| xds::Rbac {
        action: xds::RbacAction::Allow,
        policies: [(
            "ns[bookinfo]-policy[reviews]-rule[0]".to_owned(),
            xds::Policy {
                permissions: vec![xds::Permission::Any],
                principals: vec![xds::Principal::Authenticated(Some(StringMatcher::exact(
                    format!("spiffe://cluster.local/ns/bookinfo/sa/{account}"),
                )))],
            },
        )]
        .into(),
    };
    let pair = pair(Some(allow("productpage")), &[SERVER], false, true).await;
    until(pair.entry, "/", 200).await;
    // Without a certificate nobody is anybody.
    let plain = call_at(pair.inbound, get("/", &[])).await;
    assert_eq!((plain.status.as_u16(), plain.body.as_str()), (403, "RBAC: access denied"));
    pair.server.log_with("403 - rbac_access_denied_matched_policy[none]").await;
    serve(&pair.server, pair.inbound, pair.app.address, Some(allow("other")), true);
    let denied = until(pair.entry, "/", 403).await;
    assert_eq!(denied.body, "RBAC: access denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_and_strangers_are_refused_under_strict() {
    let pair = pair(None, &[SERVER], false, false).await;
    until(pair.entry, "/", 200).await;
    let answer = crate::fixture::raw(pair.inbound, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(answer, "");
    // A client of another CA, however it names itself.
    let other = ca();
    let stranger = Fixture::start_as("productpage");
    serve_secrets(&stranger.sds, &pair.ca, &identity(&other, "productpage"));
    let entry = free_address().await;
    call_through(&stranger, entry, pair.inbound, &[SERVER], false);
    until(entry, "/", 503).await;
    eventually("the refusal's count", || async {
        let name = format!("listener.{}.ssl.connection_error", pair.inbound);
        let count = pair.server.stat(&name).await;
        if count > 0 { Ok(()) } else { Err(count) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_secrets_nothing_is_served() {
    let server = Fixture::start_as("reviews");
    let (app, inbound) = (Upstream::http("v1").await, free_address().await);
    serve(&server, inbound, app.address, None, true);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(TcpStream::connect(inbound).await.is_err());
    assert!(!server.handle.is_ready());
    let ca = ca();
    serve_secrets(&server.sds, &ca, &identity(&ca, "reviews"));
    until(inbound, "/", 200).await;
    assert!(server.handle.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_loses_no_request() {
    let pair = pair(None, &[SERVER], false, false).await;
    until(pair.entry, "/", 200).await;
    for round in 0..5 {
        serve_secrets(&pair.server.sds, &pair.ca, &identity(&pair.ca, "reviews"));
        serve_secrets(&pair.client.sds, &pair.ca, &identity(&pair.ca, "productpage"));
        for _ in 0..10 {
            let answer = call_at(pair.entry, get("/", &[])).await;
            assert_eq!(answer.status, 200, "{round} {answer:?}");
        }
    }
    let dump = pair.server.admin("/config_dump").await;
    assert!(dump.contains("W3JlZGFjdGVkXQ==") && !dump.contains("PRIVATE KEY"), "{dump}");
}
