//! A route configuration with every kind of match and action.

use xds::{
    Action, ClusterSpecifier, ClusterWeight, CorsPolicy, DirectResponse, FaultAbort, FaultDelay,
    FaultStatus, FractionalPercent, HashPolicy, HeaderMatchKind, HeaderMatcher, HeaderMutations,
    HeaderValueOption, HostRewrite, HttpFault, MirrorPolicy, PathMatch, PerFilterConfig,
    QueryParameterMatcher, RbacFilter, Redirect, RedirectPath, RegexMatchAndSubstitute,
    RetryBackOff, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, StringMatcher,
    StringPattern, VirtualHost,
};

use super::{istio_metadata, seconds};

pub(crate) fn all() -> RouteConfiguration {
    RouteConfiguration {
        name: "80".to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "reviews:80".to_owned(),
            domains: vec!["reviews".to_owned(), "*.example.com".to_owned(), "*".to_owned()],
            routes: routes(),
            require_tls: true,
            include_request_attempt_count: true,
            typed_per_filter_config: per_filter(),
        }],
        validate_clusters: false,
        ignore_port_in_host_matching: true,
        max_direct_response_body_size_bytes: Some(8192),
    }
}

fn routes() -> Vec<Route> {
    let by = |path| RouteMatch::path(path);
    let redirect = |path, code| {
        Action::Redirect(Redirect {
            scheme: "https".to_owned(),
            host: "other.example.com".to_owned(),
            port: Some(8443),
            path,
            response_code: code,
            strip_query: true,
        })
    };
    vec![
        route("full", full_match(), Action::Route(Box::new(full_action()))),
        route(
            "weighted",
            by(PathMatch::PathSeparatedPrefix("/api".to_owned())),
            Action::Route(Box::new(weighted())),
        ),
        route(
            "regex",
            by(PathMatch::Regex("/v[0-9]+/.*".to_owned())),
            redirect(RedirectPath::Full("/new".to_owned()), 308),
        ),
        route(
            "prefix",
            by(PathMatch::Prefix("/old".to_owned())),
            redirect(RedirectPath::Prefix("/new".to_owned()), 302),
        ),
        route(
            "direct",
            by(PathMatch::Path("/teapot".to_owned())),
            Action::DirectResponse(DirectResponse { status: 418, body: b"short and stout".into() }),
        ),
        route("none", by(PathMatch::Path("/grpc".to_owned())), Action::NonForwarding),
    ]
}

fn route(name: &str, route_match: RouteMatch, action: Action) -> Route {
    Route {
        name: name.to_owned(),
        route_match,
        action,
        metadata: istio_metadata(),
        operation: "reviews.ns.svc.cluster.local:80/*".to_owned(),
        headers: headers(),
        typed_per_filter_config: per_filter(),
    }
}

fn headers() -> HeaderMutations {
    let option = |name: &str, overwrite| HeaderValueOption {
        name: name.to_owned(),
        value: "%REQ(x-user)%".to_owned(),
        overwrite,
    };
    HeaderMutations {
        request_add: vec![option("x-a", true), option("x-b", false)],
        request_remove: vec!["x-c".to_owned()],
        response_add: vec![option("x-d", true)],
        response_remove: vec!["x-e".to_owned()],
    }
}

fn full_match() -> RouteMatch {
    let header = |name: &str, kind| HeaderMatcher {
        name: name.to_owned(),
        kind,
        invert: false,
        treat_missing_as_empty: false,
    };
    let matchers = [
        StringMatcher::exact("a"),
        StringMatcher::prefix("a"),
        StringMatcher::suffix("a"),
        StringMatcher::regex("a+"),
        StringMatcher { pattern: StringPattern::Contains("a".to_owned()), ignore_case: true },
    ];
    let mut headers: Vec<_> = matchers
        .into_iter()
        .map(|matcher| header("x-m", HeaderMatchKind::String(matcher)))
        .collect();
    headers.push(header("x-p", HeaderMatchKind::Present(false)));
    headers.push(header("x-r", HeaderMatchKind::Range { start: -5, end: 10 }));
    headers.push(HeaderMatcher {
        invert: true,
        treat_missing_as_empty: true,
        ..header(":method", HeaderMatchKind::String(StringMatcher::exact("GET")))
    });
    RouteMatch {
        path: PathMatch::Prefix("/".to_owned()),
        case_sensitive: false,
        headers,
        query_parameters: vec![
            QueryParameterMatcher { name: "q".to_owned(), value: None },
            QueryParameterMatcher {
                name: "r".to_owned(),
                value: Some(StringMatcher::regex("[a-z]*")),
            },
        ],
        runtime_fraction: Some(FractionalPercent::from_percent(12.5)),
    }
}

fn full_action() -> RouteAction {
    RouteAction {
        cluster_not_found_response_code: Some(500),
        timeout: Some(seconds(0)),
        idle_timeout: Some(seconds(60)),
        grpc_timeout_header_max: Some(seconds(0)),
        retry_policy: Some(RetryPolicy {
            retry_on: "connect-failure,refused-stream,retriable-status-codes".to_owned(),
            num_retries: Some(2),
            per_try_timeout: Some(seconds(2)),
            retriable_status_codes: vec![503],
            avoid_previous_hosts: true,
            host_selection_retry_max_attempts: 5,
            back_off: Some(RetryBackOff { base_interval: seconds(1), max_interval: None }),
        }),
        prefix_rewrite: Some("/new".to_owned()),
        host_rewrite: HostRewrite::Literal("other".to_owned()),
        hash_policy: vec![
            HashPolicy::Header("x-user".to_owned()),
            HashPolicy::Cookie {
                name: "user".to_owned(),
                path: "/".to_owned(),
                ttl: Some(seconds(0)),
                attributes: vec![("SameSite".to_owned(), "Strict".to_owned())],
            },
            HashPolicy::SourceIp,
            HashPolicy::QueryParameter("q".to_owned()),
        ],
        request_mirror_policies: vec![MirrorPolicy {
            cluster: "mark".to_owned(),
            runtime_fraction: Some(FractionalPercent::from_percent(50.0)),
            disable_shadow_host_suffix: true,
        }],
        ..action(ClusterSpecifier::Cluster("static".to_owned()))
    }
}

fn weighted() -> RouteAction {
    let cluster = |name: &str, weight, host_rewrite| ClusterWeight {
        name: name.to_owned(),
        weight,
        headers: headers(),
        host_rewrite,
    };
    let clusters = vec![
        cluster("static", 90, HostRewrite::None),
        cluster("mark", 10, HostRewrite::Literal("other".to_owned())),
    ];
    RouteAction {
        regex_rewrite: Some(RegexMatchAndSubstitute {
            regex: "^/api/(.*)".to_owned(),
            substitution: "/\\1".to_owned(),
        }),
        host_rewrite: HostRewrite::Auto,
        ..action(ClusterSpecifier::Weighted(clusters))
    }
}

fn action(cluster: ClusterSpecifier) -> RouteAction {
    RouteAction {
        cluster,
        cluster_not_found_response_code: None,
        timeout: None,
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

fn per_filter() -> std::collections::BTreeMap<String, PerFilterConfig> {
    let percentage = FractionalPercent::from_percent(10.0);
    let fault = HttpFault {
        delay: Some(FaultDelay { fixed_delay: seconds(5), percentage }),
        abort: Some(FaultAbort { status: FaultStatus::Http(503), percentage }),
        headers: full_match().headers,
    };
    let cors = CorsPolicy {
        allow_origin: vec![StringMatcher::exact("https://example.com")],
        allow_methods: "GET,POST".to_owned(),
        allow_headers: "x-a".to_owned(),
        expose_headers: "x-b".to_owned(),
        max_age: "60".to_owned(),
        allow_credentials: Some(true),
        forward_not_matching_preflights: Some(false),
    };
    [
        ("envoy.filters.http.fault".to_owned(), PerFilterConfig::Fault(fault)),
        ("envoy.filters.http.cors".to_owned(), PerFilterConfig::Cors(cors)),
        ("envoy.filters.http.rbac".to_owned(), PerFilterConfig::Rbac(None)),
        ("rbac2".to_owned(), PerFilterConfig::Rbac(Some(RbacFilter::default()))),
    ]
    .into()
}
