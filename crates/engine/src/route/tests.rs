//! Which virtual host, route and cluster a request gets.

use http::HeaderMap;

use super::{table::without_port, *};

fn forward(cluster: &str) -> xds::RouteAction {
    xds::RouteAction {
        cluster: xds::ClusterSpecifier::Cluster(cluster.to_owned()),
        cluster_not_found_response_code: None,
        timeout: None,
        idle_timeout: None,
        grpc_timeout_header_max: None,
        retry_policy: None,
        prefix_rewrite: None,
        regex_rewrite: None,
        host_rewrite: xds::HostRewrite::None,
        hash_policy: Vec::new(),
        request_mirror_policies: Vec::new(),
    }
}

fn route(route_match: xds::RouteMatch, action: xds::RouteAction) -> xds::Route {
    xds::Route {
        name: String::new(),
        route_match,
        action: xds::Action::Route(Box::new(action)),
        metadata: xds::Metadata::default(),
        operation: String::new(),
        headers: xds::HeaderMutations::default(),
        typed_per_filter_config: BTreeMap::new(),
    }
}

fn host(domains: &[&str], routes: Vec<xds::Route>) -> xds::VirtualHost {
    xds::VirtualHost {
        name: domains.join(","),
        domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        routes,
        ..xds::VirtualHost::default()
    }
}

fn table(virtual_hosts: Vec<xds::VirtualHost>) -> Result<RouteTable, EngineError> {
    RouteTable::new(&xds::RouteConfiguration {
        name: "9080".to_owned(),
        virtual_hosts,
        validate_clusters: false,
        ignore_port_in_host_matching: true,
        max_direct_response_body_size_bytes: None,
    })
}

fn request<'a>(authority: &'a str, path: &'a str, headers: &'a HeaderMap) -> RequestInfo<'a> {
    RequestInfo { authority, path, method: "GET", scheme: "http", headers }
}

fn any_to(cluster: &str) -> Vec<xds::Route> {
    vec![route(xds::RouteMatch::any(), forward(cluster))]
}

#[test]
fn domains_by_specificity() {
    let table = table(vec![
        host(&["*"], any_to("any")),
        host(&["reviews", "Reviews.Bookinfo"], any_to("exact")),
        host(&["*.example.com"], any_to("suffix")),
        host(&["*.a.example.com"], any_to("longer")),
        host(&["www.*"], any_to("prefix")),
    ])
    .expect("table");
    let name = |authority: &str| table.virtual_host(authority).map(|host| host.name.clone());
    for authority in ["reviews", "reviews:9080", "REVIEWS", "reviews.bookinfo:1"] {
        assert_eq!(name(authority).as_deref(), Some("reviews,Reviews.Bookinfo"), "{authority}");
    }
    assert_eq!(name("x.example.com").as_deref(), Some("*.example.com"));
    assert_eq!(name("x.a.example.com").as_deref(), Some("*.a.example.com"));
    assert_eq!(name("example.com").as_deref(), Some("*"));
    assert_eq!(name("evilexample.com").as_deref(), Some("*"));
    assert_eq!(name("www.x").as_deref(), Some("www.*"));
    assert_eq!(name("[::1]:80").as_deref(), Some("*"));
    assert_eq!(without_port("[::1]:80"), "[::1]");
    assert_eq!(without_port("::1"), "::1");
}

#[test]
fn a_domain_stands_once() {
    let error =
        table(vec![host(&["a"], any_to("x")), host(&["b", "A"], any_to("y"))]).expect_err("twice");
    assert_eq!(error.field, "virtual_hosts[1].domains[1]");
}

#[test]
fn the_first_route_that_matches_wins() {
    let exact = xds::RouteMatch::path(xds::PathMatch::Path("/a".to_owned()));
    let prefix = xds::RouteMatch::path(xds::PathMatch::PathSeparatedPrefix("/a".to_owned()));
    let loose = xds::RouteMatch {
        case_sensitive: false,
        ..xds::RouteMatch::path(xds::PathMatch::Prefix("/B".to_owned()))
    };
    let table = table(vec![host(
        &["*"],
        vec![
            route(exact, forward("exact")),
            route(prefix, forward("separated")),
            route(loose, forward("loose")),
        ],
    )])
    .expect("table");
    let headers = HeaderMap::new();
    let cluster = |path: &str| {
        let decision = table.route(&request("h", path, &headers), 0).expect("virtual host");
        decision.route.and_then(|route| route.cluster(0)).map(|(name, _)| name.to_owned())
    };
    assert_eq!(cluster("/a?q").as_deref(), Some("exact"));
    assert_eq!(cluster("/a/b").as_deref(), Some("separated"));
    assert_eq!(cluster("/ab"), None);
    assert_eq!(cluster("/bX").as_deref(), Some("loose"));
    assert_eq!(cluster("/é"), None);
}

#[test]
fn weights() {
    let weighted = |list: &[(&str, u32)]| {
        let clusters = list.iter().map(|(name, weight)| xds::ClusterWeight {
            name: (*name).to_owned(),
            weight: *weight,
            headers: xds::HeaderMutations::default(),
            host_rewrite: xds::HostRewrite::None,
        });
        let action = xds::RouteAction {
            cluster: xds::ClusterSpecifier::Weighted(clusters.collect()),
            ..forward("")
        };
        Route::new(&route(xds::RouteMatch::any(), action))
    };
    let route = weighted(&[("a", 20), ("b", 30), ("c", 50)]).expect("route");
    let count = |name| (0..1000).filter(|&n| route.cluster(n).is_some_and(|c| c.0 == name)).count();
    assert_eq!((count("a"), count("b"), count("c")), (200, 300, 500));
    let error = weighted(&[("a", 0)]).expect_err("nothing");
    assert_eq!(error.to_string(), "route.weighted_clusters: the weights sum to 0");
}

#[test]
fn rewrites() {
    let rewritten = |path_match, action, path: &str| {
        Route::new(&route(xds::RouteMatch::path(path_match), action))
            .expect("route")
            .rewrite_path(path)
            .expect("rewrite")
    };
    let prefix =
        |to: &str| xds::RouteAction { prefix_rewrite: Some(to.to_owned()), ..forward("c") };
    let by_prefix = xds::PathMatch::Prefix("/a/".to_owned());
    assert_eq!(rewritten(by_prefix, prefix("/"), "/a/b?x=/a/"), "/b?x=/a/");
    let whole = xds::PathMatch::Path("/a".to_owned());
    assert_eq!(rewritten(whole, prefix("/b"), "/a?x"), "/b?x");
    let regex = xds::RouteAction {
        regex_rewrite: Some(xds::RegexMatchAndSubstitute {
            regex: "^/s/([^/]+)(/.*)$".to_owned(),
            substitution: "\\2/i/\\1/$1".to_owned(),
        }),
        ..forward("c")
    };
    let any = xds::PathMatch::Prefix("/".to_owned());
    assert_eq!(rewritten(any, regex, "/s/foo/v1/api?q"), "/v1/api/i/foo/$1?q");
}
