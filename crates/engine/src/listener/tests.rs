//! Which filter chain takes a connection.

use super::*;

fn chain(name: &str, criteria: xds::FilterChainMatch) -> xds::FilterChain {
    xds::FilterChain {
        name: name.to_owned(),
        filter_chain_match: criteria,
        transport_socket: None,
        transport_socket_connect_timeout: None,
        filters: vec![xds::NetworkFilter {
            name: "envoy.filters.network.tcp_proxy".to_owned(),
            config: xds::NetworkFilterConfig::TcpProxy(xds::TcpProxy {
                stat_prefix: name.to_owned(),
                clusters: vec![xds::TcpClusterWeight { name: name.to_owned(), weight: 1 }],
                idle_timeout: None,
                max_downstream_connection_duration: None,
                access_log: Vec::new(),
            }),
        }],
    }
}

fn listener(chains: Vec<xds::FilterChain>, default: Option<xds::FilterChain>) -> xds::Listener {
    xds::Listener {
        name: "l".to_owned(),
        address: xds::Address::socket([0, 0, 0, 0], 15006),
        bind_to_port: true,
        use_original_dst: false,
        traffic_direction: xds::TrafficDirection::Inbound,
        listener_filters: Vec::new(),
        listener_filters_timeout: None,
        continue_on_listener_filters_timeout: false,
        filter_chains: chains,
        default_filter_chain: default.map(Box::new),
        access_log: Vec::new(),
    }
}

fn matching() -> xds::FilterChainMatch {
    xds::FilterChainMatch::default()
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

struct Call<'a> {
    to: &'a str,
    transport: &'a str,
    sni: Option<&'a str>,
    alpn: &'a [&'a str],
}

const PLAIN: Call<'static> =
    Call { to: "10.0.0.1:9080", transport: "raw_buffer", sni: None, alpn: &[] };

fn chosen(listener: &Listener, call: &Call<'_>) -> Option<String> {
    let alpn = strings(call.alpn);
    let source = "10.0.0.9:4000".parse().expect("address");
    let connection = ConnectionInfo {
        destination: call.to.parse().expect("address"),
        source,
        direct_source: source,
        transport_protocol: call.transport,
        server_name: call.sni,
        application_protocols: &alpn,
    };
    listener.select_filter_chain(&connection).map(|chain| chain.name.clone())
}

#[test]
fn permissive_inbound_tells_mesh_traffic_by_alpn() {
    let mesh = ["istio-http/1.1", "istio-h2", "istio", "istio-peer-exchange"];
    let tls = |alpn: &[&str]| xds::FilterChainMatch {
        destination_port: Some(9080),
        transport_protocol: Some("tls".to_owned()),
        application_protocols: strings(alpn),
        ..matching()
    };
    let raw = xds::FilterChainMatch {
        destination_port: Some(9080),
        transport_protocol: Some("raw_buffer".to_owned()),
        ..matching()
    };
    let listener = Listener::new(listener(
        vec![chain("mtls", tls(&mesh)), chain("own-tls", tls(&[])), chain("plain", raw)],
        Some(chain("other", matching())),
    ))
    .expect("listener");
    let tls = |alpn| Call { transport: "tls", alpn, ..PLAIN };
    assert_eq!(chosen(&listener, &PLAIN).as_deref(), Some("plain"));
    let not_told = Call { transport: "", ..PLAIN };
    assert_eq!(chosen(&listener, &not_told).as_deref(), Some("plain"));
    assert_eq!(chosen(&listener, &tls(&["istio-http/1.1"])).as_deref(), Some("mtls"));
    assert_eq!(chosen(&listener, &tls(&["h2", "http/1.1"])).as_deref(), Some("own-tls"));
    assert_eq!(chosen(&listener, &Call { to: "10.0.0.1:1", ..PLAIN }).as_deref(), Some("other"));
}

#[test]
fn a_port_that_is_named_allows_no_way_back() {
    let port = xds::FilterChainMatch {
        destination_port: Some(80),
        transport_protocol: Some("tls".to_owned()),
        ..matching()
    };
    let listener =
        Listener::new(listener(vec![chain("tls80", port), chain("any", matching())], None))
            .expect("listener");
    assert_eq!(chosen(&listener, &Call { to: "10.0.0.1:80", ..PLAIN }), None);
    assert_eq!(chosen(&listener, &PLAIN).as_deref(), Some("any"));
}

#[test]
fn longer_prefixes_and_longer_names_win() {
    let range = |text: &str| xds::FilterChainMatch {
        prefix_ranges: vec![text.parse().expect("range")],
        ..matching()
    };
    let by_range = Listener::new(listener(
        vec![
            chain("wide", range("10.0.0.0/8")),
            chain("one", range("10.0.0.1/32")),
            chain("any", matching()),
        ],
        None,
    ))
    .expect("listener");
    assert_eq!(chosen(&by_range, &PLAIN).as_deref(), Some("one"));
    assert_eq!(chosen(&by_range, &Call { to: "10.1.0.1:1", ..PLAIN }).as_deref(), Some("wide"));
    assert_eq!(chosen(&by_range, &Call { to: "11.1.0.1:1", ..PLAIN }).as_deref(), Some("any"));

    let name = |text: &str| xds::FilterChainMatch { server_names: strings(&[text]), ..matching() };
    let by_name = Listener::new(listener(
        vec![
            chain("star", name("*.b.c")),
            chain("longer", name("*.a.b.c")),
            chain("exact", name("x.a.b.c")),
        ],
        None,
    ))
    .expect("listener");
    let sni = |name| Call { transport: "tls", sni: Some(name), ..PLAIN };
    assert_eq!(chosen(&by_name, &sni("X.a.b.c")).as_deref(), Some("exact"));
    assert_eq!(chosen(&by_name, &sni("y.a.b.c")).as_deref(), Some("longer"));
    assert_eq!(chosen(&by_name, &sni("y.b.c")).as_deref(), Some("star"));
    assert_eq!(chosen(&by_name, &sni("b.c")), None);
    assert_eq!(chosen(&by_name, &PLAIN), None);
}

#[test]
fn the_clients_first_protocol_wins() {
    let alpn = |text: &str| xds::FilterChainMatch {
        application_protocols: strings(&[text]),
        ..matching()
    };
    let listener =
        Listener::new(listener(vec![chain("h1", alpn("http/1.1")), chain("h2", alpn("h2"))], None))
            .expect("listener");
    let call = |alpn| Call { alpn, ..PLAIN };
    assert_eq!(chosen(&listener, &call(&["h2", "http/1.1"])).as_deref(), Some("h2"));
    assert_eq!(chosen(&listener, &call(&["http/1.1", "h2"])).as_deref(), Some("h1"));
}

#[test]
fn twins_and_chains_without_an_end_are_refused() {
    let error = Listener::new(listener(vec![chain("a", matching()), chain("b", matching())], None))
        .expect_err("twins");
    assert_eq!(error.field, "filter_chains[1].filter_chain_match");
    let mut endless = chain("a", matching());
    endless.filters[0].config = xds::NetworkFilterConfig::Rbac(xds::RbacFilter::default());
    let error = Listener::new(listener(vec![endless], None)).expect_err("no terminal filter");
    assert_eq!(error.to_string(), "filter_chains[0].filters[0]: the last filter must be terminal");
}

#[test]
fn weights_spread_connections() {
    let proxy = TcpProxy {
        config: xds::TcpProxy {
            stat_prefix: String::new(),
            clusters: [("a", 1), ("b", 3), ("c", 0)]
                .map(|(name, weight)| xds::TcpClusterWeight { name: name.to_owned(), weight })
                .to_vec(),
            idle_timeout: None,
            max_downstream_connection_duration: None,
            access_log: Vec::new(),
        },
        total_weight: 4,
    };
    let picks: Vec<_> = (0..8).filter_map(|random| proxy.cluster(random)).collect();
    assert_eq!(picks, ["a", "b", "b", "b", "a", "b", "b", "b"]);
}
