//! Resources for tests, in the shapes that the control plane makes.

use std::{net::SocketAddr, path::Path, time::Duration};

use xds::{
    AccessLog, AccessLogFormat, Action, Address, CircuitBreakers, Cluster, ClusterSpecifier,
    Discovery, Endpoint, FilterChain, FilterChainMatch, HealthStatus, HostRewrite,
    HttpConnectionManager, HttpFilter, HttpFilterConfig, LbPolicy, Listener, LoadAssignment,
    LocalityEndpoints, Metadata, NetworkFilter, NetworkFilterConfig, Resource, Route, RouteAction,
    RouteConfiguration, RouteMatch, RouteSpecifier, Router, TrafficDirection, UpstreamHttp,
    VirtualHost,
};

pub(crate) const LOG: &str = "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% \
%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON% \
%BYTES_RECEIVED% %BYTES_SENT% \"%REQ(USER-AGENT)%\" %UPSTREAM_CLUSTER% %ROUTE_NAME% \
%REQUESTED_SERVER_NAME%\n";

pub(crate) fn endpoints(name: &str, addresses: &[SocketAddr]) -> LoadAssignment {
    let endpoints = addresses
        .iter()
        .map(|address| Endpoint {
            address: Address::socket(address.ip(), address.port()),
            health_status: HealthStatus::Unknown,
            load_balancing_weight: None,
            metadata: Metadata::default(),
        })
        .collect();
    LoadAssignment {
        cluster_name: name.to_owned(),
        localities: vec![LocalityEndpoints {
            load_balancing_weight: Some(1),
            endpoints,
            ..LocalityEndpoints::default()
        }],
        overprovisioning_factor: None,
    }
}

/// A cluster with hosts that it brings along.
pub(crate) fn cluster(name: &str, addresses: &[SocketAddr]) -> Cluster {
    Cluster {
        name: name.to_owned(),
        alt_stat_name: String::new(),
        discovery: Discovery::Static(endpoints(name, addresses)),
        connect_timeout: Duration::from_secs(1),
        lb_policy: LbPolicy::RoundRobin,
        healthy_panic_threshold: Some(0),
        locality_weighted: false,
        circuit_breakers: CircuitBreakers {
            max_connections: Some(u32::MAX),
            max_pending_requests: Some(u32::MAX),
            max_requests: Some(u32::MAX),
            max_retries: Some(u32::MAX),
            retry_budget: None,
        },
        outlier_detection: None,
        transport_socket: None,
        transport_socket_matches: Vec::new(),
        http: UpstreamHttp::default(),
        bind: None,
        tcp_keepalive: None,
        filters: Vec::new(),
        metadata: Metadata::default(),
    }
}

pub(crate) fn action(cluster: &str) -> RouteAction {
    RouteAction {
        cluster: ClusterSpecifier::Cluster(cluster.to_owned()),
        cluster_not_found_response_code: None,
        timeout: Some(Duration::ZERO),
        idle_timeout: None,
        grpc_timeout_header_max: None,
        retry_policy: None,
        prefix_rewrite: None,
        regex_rewrite: None,
        host_rewrite: HostRewrite::None,
        hash_policy: Vec::new(),
        request_mirror_policies: Vec::new(),
    }
}

pub(crate) fn route(name: &str, route_match: RouteMatch, action: Action) -> Route {
    Route {
        name: name.to_owned(),
        route_match,
        action,
        metadata: Metadata::default(),
        operation: String::new(),
        headers: xds::HeaderMutations::default(),
        typed_per_filter_config: Default::default(),
    }
}

/// A route for everything.
pub(crate) fn to(action: RouteAction) -> Vec<Route> {
    vec![route("default", RouteMatch::any(), Action::Route(Box::new(action)))]
}

pub(crate) fn routes(name: &str, routes: Vec<Route>) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "reviews:9080".to_owned(),
            domains: vec!["reviews".to_owned(), "reviews.bookinfo".to_owned()],
            routes,
            include_request_attempt_count: true,
            ..VirtualHost::default()
        }],
        validate_clusters: false,
        ignore_port_in_host_matching: true,
        max_direct_response_body_size_bytes: None,
    }
}

pub(crate) fn router() -> HttpFilter {
    HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config: HttpFilterConfig::Router(Router::default()),
    }
}

/// A connection manager in Istio's shape that logs to a file.
pub(crate) fn manager(route_specifier: RouteSpecifier, log: &Path) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: "test".to_owned(),
        codec_type: xds::CodecType::Auto,
        route_specifier,
        http_filters: vec![router()],
        access_log: vec![AccessLog {
            path: log.to_str().expect("path").to_owned(),
            format: AccessLogFormat::Text(LOG.to_owned()),
            filter: None,
        }],
        use_remote_address: false,
        xff_num_trusted_hops: 0,
        forward_client_cert: xds::ForwardClientCert::Sanitize,
        client_cert_details: xds::ClientCertDetails::default(),
        server_name: "istio-envoy".to_owned(),
        server_header: xds::ServerHeader::Overwrite,
        normalize_path: true,
        merge_slashes: false,
        escaped_slashes: xds::EscapedSlashes::Keep,
        generate_request_id: true,
        preserve_external_request_id: false,
        stream_idle_timeout: Some(Duration::ZERO),
        request_timeout: None,
        request_headers_timeout: None,
        idle_timeout: None,
        max_connection_duration: None,
        max_requests_per_connection: None,
        max_request_headers_kb: None,
        max_concurrent_streams: None,
        upgrade_types: vec!["websocket".to_owned()],
        proxy_100_continue: false,
        accept_http_10: false,
        strip_any_host_port: false,
    }
}

pub(crate) fn http_chain(name: &str, manager: HttpConnectionManager) -> FilterChain {
    chain(name, NetworkFilterConfig::HttpConnectionManager(Box::new(manager)))
}

pub(crate) fn chain(name: &str, config: NetworkFilterConfig) -> FilterChain {
    FilterChain {
        name: name.to_owned(),
        filter_chain_match: FilterChainMatch::default(),
        transport_socket: None,
        transport_socket_connect_timeout: None,
        filters: vec![NetworkFilter { name: "terminal".to_owned(), config }],
    }
}

pub(crate) fn listener(address: SocketAddr, filter_chains: Vec<FilterChain>) -> Listener {
    Listener {
        name: address.to_string(),
        address: Address::socket(address.ip(), address.port()),
        bind_to_port: true,
        use_original_dst: false,
        traffic_direction: TrafficDirection::Outbound,
        listener_filters: Vec::new(),
        listener_filters_timeout: None,
        continue_on_listener_filters_timeout: false,
        filter_chains,
        default_filter_chain: None,
        access_log: Vec::new(),
    }
}

pub(crate) fn cds(cluster: Cluster) -> Resource {
    Resource::Cluster(Box::new(cluster))
}

pub(crate) fn lds(listener: Listener) -> Resource {
    Resource::Listener(Box::new(listener))
}

pub(crate) fn rds(routes: RouteConfiguration) -> Resource {
    Resource::RouteConfiguration(routes)
}
