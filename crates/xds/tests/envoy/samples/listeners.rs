//! Listeners with every filter that a stock Envoy has.

use xds::{
    AccessLog, AccessLogFilter, AccessLogFormat, Address, ClientCertDetails, CodecType,
    DownstreamTls, EscapedSlashes, FilterChain, FilterChainMatch, ForwardClientCert,
    HeaderMatchKind, HeaderMatcher, HttpConnectionManager, HttpFault, HttpFilter, HttpFilterConfig,
    Listener, ListenerFilter, ListenerFilterKind, NetworkFilter, NetworkFilterConfig, Permission,
    Policy, Principal, Rbac, RbacAction, RbacFilter, RouteSpecifier, Router, SecretServer,
    SecretSource, ServerHeader, StringMatcher, TcpClusterWeight, TcpProxy, TlsContext,
    TrafficDirection, Value,
};

use super::{downstream_tls, routes, seconds};

pub(crate) fn all() -> Vec<Listener> {
    vec![inbound(), outbound()]
}

fn inbound() -> Listener {
    let chain_match = FilterChainMatch {
        destination_port: Some(9080),
        prefix_ranges: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        server_names: vec!["*.example.com".to_owned(), "example.org".to_owned()],
        transport_protocol: Some("tls".to_owned()),
        application_protocols: vec!["istio-http/1.1".to_owned()],
        direct_source_prefix_ranges: vec!["10.1.0.0/16".parse().unwrap()],
        source_prefix_ranges: vec!["10.2.0.0/16".parse().unwrap()],
        source_ports: vec![1234],
    };
    let manager = NetworkFilter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config: NetworkFilterConfig::HttpConnectionManager(Box::new(full_manager())),
    };
    let all = [
        ListenerFilterKind::OriginalDst,
        ListenerFilterKind::TlsInspector,
        ListenerFilterKind::HttpInspector,
        ListenerFilterKind::ProxyProtocol,
    ];
    let mut listener_filters: Vec<ListenerFilter> = all.map(ListenerFilter::from).into();
    listener_filters[1].disabled_ports = vec![(3306, 3306)];
    listener_filters[2].disabled_ports = vec![(3306, 3306), (65000, 65535)];
    Listener {
        listener_filters,
        listener_filters_timeout: Some(seconds(0)),
        continue_on_listener_filters_timeout: true,
        filter_chains: vec![
            FilterChain {
                filter_chain_match: chain_match,
                transport_socket: Some(downstream_tls()),
                transport_socket_connect_timeout: Some(seconds(15)),
                ..chain("0.0.0.0_9080", vec![network_rbac(), manager])
            },
            FilterChain {
                filter_chain_match: FilterChainMatch {
                    transport_protocol: Some("tls".to_owned()),
                    ..Default::default()
                },
                transport_socket: Some(tls_from_ads()),
                ..chain("tls", vec![tcp_proxy(&[("static", 1)])])
            },
        ],
        default_filter_chain: Some(Box::new(chain(
            "virtualInbound-blackhole",
            vec![tcp_proxy(&[("static", 30), ("mark", 70)])],
        ))),
        access_log: access_logs(),
        ..listener("virtualInbound", 15006, TrafficDirection::Inbound)
    }
}

fn outbound() -> Listener {
    let manager = HttpConnectionManager {
        route_specifier: RouteSpecifier::Rds("80".to_owned()),
        codec_type: CodecType::Http1,
        escaped_slashes: EscapedSlashes::Keep,
        forward_client_cert: ForwardClientCert::Sanitize,
        client_cert_details: ClientCertDetails::default(),
        http_filters: vec![router()],
        ..full_manager()
    };
    let filter = NetworkFilter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config: NetworkFilterConfig::HttpConnectionManager(Box::new(manager)),
    };
    Listener {
        bind_to_port: false,
        use_original_dst: true,
        filter_chains: vec![chain("", vec![filter])],
        ..listener("0.0.0.0_80", 80, TrafficDirection::Outbound)
    }
}

fn listener(name: &str, port: u16, traffic_direction: TrafficDirection) -> Listener {
    Listener {
        name: name.to_owned(),
        address: Address::socket([0, 0, 0, 0], port),
        bind_to_port: true,
        use_original_dst: false,
        traffic_direction,
        listener_filters: Vec::new(),
        listener_filters_timeout: None,
        continue_on_listener_filters_timeout: false,
        filter_chains: Vec::new(),
        default_filter_chain: None,
        access_log: Vec::new(),
    }
}

fn chain(name: &str, filters: Vec<NetworkFilter>) -> FilterChain {
    FilterChain {
        name: name.to_owned(),
        filter_chain_match: FilterChainMatch::default(),
        transport_socket: None,
        transport_socket_connect_timeout: None,
        filters,
    }
}

/// Envoy 1.40 takes secrets over ADS in listeners, but crashes when a static cluster has them.
fn tls_from_ads() -> DownstreamTls {
    let secret = SecretSource { name: "gateway".to_owned(), server: SecretServer::Ads };
    let common = TlsContext { certificates: vec![secret], ..Default::default() };
    DownstreamTls { common, require_client_certificate: false }
}

fn full_manager() -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: "inbound_0.0.0.0_9080;".to_owned(),
        codec_type: CodecType::Auto,
        route_specifier: RouteSpecifier::Inline(Box::new(routes::all())),
        http_filters: http_filters(),
        access_log: access_logs(),
        use_remote_address: false,
        xff_num_trusted_hops: 1,
        forward_client_cert: ForwardClientCert::AppendForward,
        client_cert_details: ClientCertDetails {
            subject: true,
            cert: true,
            chain: true,
            dns: true,
            uri: true,
        },
        server_name: "istio-envoy".to_owned(),
        server_header: ServerHeader::PassThrough,
        normalize_path: true,
        merge_slashes: true,
        escaped_slashes: EscapedSlashes::UnescapeAndForward,
        generate_request_id: false,
        preserve_external_request_id: true,
        stream_idle_timeout: Some(seconds(0)),
        request_timeout: Some(seconds(0)),
        request_headers_timeout: Some(seconds(10)),
        idle_timeout: Some(seconds(3600)),
        max_connection_duration: Some(seconds(86400)),
        max_requests_per_connection: Some(1000),
        max_request_headers_kb: Some(96),
        max_concurrent_streams: Some(100),
        upgrade_types: vec!["websocket".to_owned()],
        proxy_100_continue: true,
        accept_http_10: true,
        strip_any_host_port: true,
    }
}

fn http_filters() -> Vec<HttpFilter> {
    let filter =
        |name: &str, config| HttpFilter { name: format!("envoy.filters.http.{name}"), config };
    vec![
        filter("rbac", HttpFilterConfig::Rbac(rbac_filter(String::new()))),
        filter("grpc_stats", HttpFilterConfig::GrpcStats { emit_filter_state: true }),
        filter("fault", HttpFilterConfig::Fault(HttpFault::default())),
        filter("cors", HttpFilterConfig::Cors),
        router(),
    ]
}

fn router() -> HttpFilter {
    HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config: HttpFilterConfig::Router(Router { suppress_envoy_headers: true }),
    }
}

fn access_logs() -> Vec<AccessLog> {
    let log = |format, filter| AccessLog { path: "/dev/stdout".to_owned(), format, filter };
    let json = [("status".to_owned(), Value::from("%RESPONSE_CODE%"))];
    vec![
        log(AccessLogFormat::Default, None),
        log(
            AccessLogFormat::Text("[%START_TIME%] %RESPONSE_FLAGS%\n".to_owned()),
            Some(AccessLogFilter::ResponseFlags(vec!["NR".to_owned()])),
        ),
        log(
            AccessLogFormat::Json(json.into()),
            Some(AccessLogFilter::And(vec![
                AccessLogFilter::StatusCodeAtLeast(500),
                AccessLogFilter::Or(vec![
                    AccessLogFilter::StatusCodeAtLeast(400),
                    AccessLogFilter::ResponseFlags(Vec::new()),
                ]),
            ])),
        ),
    ]
}

fn tcp_proxy(clusters: &[(&str, u32)]) -> NetworkFilter {
    let clusters = clusters.iter();
    let clusters =
        clusters.map(|&(name, weight)| TcpClusterWeight { name: name.to_owned(), weight });
    NetworkFilter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config: NetworkFilterConfig::TcpProxy(TcpProxy {
            stat_prefix: "static".to_owned(),
            clusters: clusters.collect(),
            idle_timeout: Some(seconds(0)),
            max_downstream_connection_duration: Some(seconds(60)),
            access_log: access_logs(),
        }),
    }
}

fn network_rbac() -> NetworkFilter {
    let mut filter = rbac_filter("tcp.".to_owned());
    let connection_only = Rbac {
        action: RbacAction::Deny,
        policies: [(
            "deny".to_owned(),
            Policy {
                permissions: vec![Permission::DestinationPort(22)],
                principals: vec![Principal::Any],
            },
        )]
        .into(),
    };
    filter.rules = Some(connection_only.clone());
    filter.shadow_rules = Some(Rbac { action: RbacAction::Log, ..connection_only });
    NetworkFilter {
        name: "envoy.filters.network.rbac".to_owned(),
        config: NetworkFilterConfig::Rbac(filter),
    }
}

fn rbac_filter(stat_prefix: String) -> RbacFilter {
    let header = HeaderMatcher {
        name: ":method".to_owned(),
        kind: HeaderMatchKind::String(StringMatcher::exact("GET")),
        invert: false,
        treat_missing_as_empty: false,
    };
    let path = StringMatcher::prefix("/admin");
    let range: ipnet::IpNet = "10.0.0.0/8".parse().unwrap();
    let policy = Policy {
        permissions: vec![Permission::And(vec![
            Permission::Any,
            Permission::Or(vec![Permission::Header(header.clone())]),
            Permission::Not(Box::new(Permission::UrlPath(path.clone()))),
            Permission::DestinationIp(range),
            Permission::DestinationPort(9080),
            Permission::RequestedServerName(StringMatcher::suffix(".example.com")),
        ])],
        principals: vec![Principal::And(vec![
            Principal::Any,
            Principal::Or(vec![
                Principal::Authenticated(None),
                Principal::Authenticated(Some(StringMatcher::exact(
                    "spiffe://cluster.local/ns/ns/sa/sa",
                ))),
            ]),
            Principal::Not(Box::new(Principal::DirectRemoteIp(range))),
            Principal::RemoteIp(range),
            Principal::Header(header),
            Principal::UrlPath(path),
        ])],
    };
    let rules =
        |action| Rbac { action, policies: [("ns[x]-policy[p]".to_owned(), policy.clone())].into() };
    RbacFilter {
        rules: Some(rules(RbacAction::Allow)),
        shadow_rules: Some(rules(RbacAction::Deny)),
        shadow_rules_stat_prefix: "istio_dry_run_allow_".to_owned(),
        stat_prefix,
    }
}
