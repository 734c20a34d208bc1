//! Routes of every kind. A route's name is what the access log shows.

use std::time::Duration;

use xds::{
    Action, DirectResponse, FaultAbort, FaultDelay, FaultStatus, FractionalPercent,
    HeaderMatchKind, HeaderMatcher, HeaderMutations, HeaderValueOption, HostRewrite, HttpFault,
    PathMatch, PerFilterConfig, QueryParameterMatcher, Redirect, RedirectPath,
    RegexMatchAndSubstitute, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch,
    StringMatcher, StringPattern, VirtualHost,
};

use super::header;
use crate::resources;

/// All virtual hosts.
pub(super) fn configuration() -> RouteConfiguration {
    let mut configuration = resources::routes("routes", Vec::new());
    let host = |name: &str, domains: &[&str], routes| VirtualHost {
        name: name.to_owned(),
        domains: domains.iter().map(ToString::to_string).collect(),
        routes,
        include_request_attempt_count: true,
        ..VirtualHost::default()
    };
    let any = |name: &str| vec![route(name, prefix("/"), to("one"))];
    let mut tls = host("tls", &["tls.test"], any("tls"));
    tls.require_tls = true;
    let routes = [matches(), rewrites(), answers(), failures(), vec![last()]].concat();
    configuration.virtual_hosts = vec![
        host("app", &["app.test"], routes),
        host("wild", &["*.wild.test"], any("wild")),
        host("wildest", &["*.very.wild.test"], any("very-wild")),
        host("tail", &["tail.*"], any("tail")),
        host("secret", &["secret.test"], any("secret")),
        host("v6", &["[::1]"], any("v6")),
        tls,
    ];
    configuration
}

fn last() -> Route {
    route("any", prefix("/any"), to("one"))
}

fn route(name: &str, route_match: RouteMatch, action: Action) -> Route {
    resources::route(name, route_match, action)
}

fn prefix(path: &str) -> RouteMatch {
    RouteMatch::path(PathMatch::Prefix(path.into()))
}

fn exact(path: &str) -> RouteMatch {
    RouteMatch::path(PathMatch::Path(path.into()))
}

fn to(cluster: &str) -> Action {
    with(cluster, |_| {})
}

fn with(cluster: &str, change: impl FnOnce(&mut RouteAction)) -> Action {
    let mut action = resources::action(cluster);
    change(&mut action);
    Action::Route(Box::new(action))
}

fn matches() -> Vec<Route> {
    let with_header = |name: &str, matcher: HeaderMatcher| {
        let mut wanted = prefix("/header");
        wanted.headers = vec![matcher];
        route(name, wanted, to("two"))
    };
    let kind = |name: &str, kind, invert| HeaderMatcher {
        name: name.into(),
        kind,
        invert,
        treat_missing_as_empty: false,
    };
    let with_query = |name: &str, parameter: &str, value| {
        let mut wanted = prefix("/query");
        let name_of = parameter.to_owned();
        wanted.query_parameters = vec![QueryParameterMatcher { name: name_of, value }];
        route(name, wanted, to("two"))
    };
    let mut any_case = exact("/AnyCase");
    any_case.case_sensitive = false;
    let not = HeaderMatchKind::String(StringMatcher::exact("no"));
    vec![
        route("exact", exact("/exact"), to("two")),
        route("any-case", any_case, to("two")),
        route("sep", RouteMatch::path(PathMatch::PathSeparatedPrefix("/sep".into())), to("two")),
        route("regex", RouteMatch::path(PathMatch::Regex("/re/[0-9]+".into())), to("two")),
        with_header("h-exact", header("x-exact", StringPattern::Exact("v".into()))),
        with_header("h-prefix", header("x-prefix", StringPattern::Prefix("v".into()))),
        with_header("h-suffix", header("x-suffix", StringPattern::Suffix("v".into()))),
        with_header("h-contains", header("x-contains", StringPattern::Contains("v".into()))),
        with_header("h-regex", header("x-regex", StringPattern::Regex("a+".into()))),
        with_header("h-present", kind("x-present", HeaderMatchKind::Present(true), false)),
        with_header(
            "h-range",
            kind("x-range", HeaderMatchKind::Range { start: 1, end: 10 }, false),
        ),
        with_header("h-method", header(":method", StringPattern::Exact("PUT".into()))),
        with_header("h-authority", header(":authority", StringPattern::Prefix("app.test:".into()))),
        with_header("h-not", kind("x-not", not, true)),
        route("header", prefix("/header"), to("one")),
        with_query("q-exact", "exact", Some(StringMatcher::exact("1"))),
        with_query("q-regex", "regex", Some(StringMatcher::regex("[a-c]+"))),
        with_query("q-present", "present", None),
        route("query", prefix("/query"), to("one")),
    ]
}

fn rewrites() -> Vec<Route> {
    let regex = RegexMatchAndSubstitute {
        regex: "^/regex/(\\w+)/(\\w+)".into(),
        substitution: "/\\2/\\1".into(),
    };
    let add = |name: &str, value: &str, overwrite| HeaderValueOption {
        name: name.into(),
        value: value.into(),
        overwrite,
    };
    let mut mutated = route("mutate", prefix("/mutate"), to("one"));
    mutated.headers = HeaderMutations {
        request_add: vec![
            add("x-add", "added", false),
            add("x-set", "set", true),
            add("x-from", "%REQ(x-source)%-%PROTOCOL%", true),
            add("x-percent", "100%%", true),
        ],
        request_remove: vec!["x-gone".into(), "X-Upper-Gone".into()],
        response_add: vec![
            add("x-answer", "added", false),
            add("x-app", "overwritten", true),
            add("x-code", "%RESPONSE_CODE%", true),
        ],
        response_remove: vec!["x-private".into()],
    };
    vec![
        route(
            "rw-prefix",
            prefix("/old/"),
            with("one", |to| {
                to.prefix_rewrite = Some("/new/".into());
            }),
        ),
        route("rw-root", prefix("/root"), with("one", |to| to.prefix_rewrite = Some("/".into()))),
        route(
            "rw-exact",
            exact("/one-page"),
            with("one", |to| {
                to.prefix_rewrite = Some("/page".into());
            }),
        ),
        route("rw-regex", prefix("/regex/"), with("one", |to| to.regex_rewrite = Some(regex))),
        route(
            "rw-host",
            prefix("/host"),
            with("one", |to| {
                to.host_rewrite = HostRewrite::Literal("inner.test".into());
            }),
        ),
        mutated,
    ]
}

fn answers() -> Vec<Route> {
    let redirect = |name: &str, redirect: Redirect| {
        let path = format!("/to/{name}");
        route(&format!("to-{name}"), prefix(&path), Action::Redirect(redirect))
    };
    let code = |response_code| Redirect { response_code, ..Redirect::default() };
    let direct = |name: &str, status, body: &str| {
        let action = Action::DirectResponse(DirectResponse { status, body: body.into() });
        route(&format!("direct-{name}"), exact(&format!("/direct/{name}")), action)
    };
    let mut with_headers = direct("headers", 200, "headers");
    with_headers.headers.response_add = vec![
        HeaderValueOption { name: "x-answer".into(), value: "yes".into(), overwrite: false },
        HeaderValueOption { name: "content-type".into(), value: "a/b".into(), overwrite: true },
    ];
    vec![
        redirect("host", Redirect { host: "else.test".into(), ..code(301) }),
        redirect("https", Redirect { scheme: "https".into(), ..code(302) }),
        redirect("port", Redirect { port: Some(8443), ..code(303) }),
        redirect("full", Redirect { path: RedirectPath::Full("/here".into()), ..code(307) }),
        redirect("query", Redirect { path: RedirectPath::Full("/q?b=1".into()), ..code(308) }),
        redirect("part", Redirect { path: RedirectPath::Prefix("/part".into()), ..code(301) }),
        redirect("strip", Redirect { strip_query: true, host: "s.test".into(), ..code(302) }),
        direct("teapot", 418, "short and stout"),
        direct("empty", 200, ""),
        direct("none", 204, ""),
        direct("error", 503, "broken"),
        with_headers,
    ]
}

fn failures() -> Vec<Route> {
    let retry = |name: &str, on: &str, change: &dyn Fn(&mut RetryPolicy)| {
        let mut policy =
            RetryPolicy { retry_on: on.into(), num_retries: Some(2), ..RetryPolicy::default() };
        change(&mut policy);
        let action = with("one", |to| to.retry_policy = Some(policy));
        route(&format!("retry-{name}"), prefix(&format!("/retry/{name}")), action)
    };
    let time = |millis| Some(Duration::from_millis(millis));
    let fault = |name: &str, fault: HttpFault| {
        let mut route =
            route(&format!("fault-{name}"), prefix(&format!("/fault/{name}")), to("one"));
        let key = "envoy.filters.http.fault".to_owned();
        route.typed_per_filter_config.insert(key, PerFilterConfig::Fault(fault));
        route
    };
    let all = FractionalPercent::from_percent(100.0);
    let abort = |status| HttpFault {
        abort: Some(FaultAbort { status, percentage: all }),
        ..HttpFault::default()
    };
    let delay = FaultDelay { fixed_delay: Duration::from_millis(60), percentage: all };
    let late = HttpFault { delay: Some(delay.clone()), ..HttpFault::default() };
    let both = HttpFault { delay: Some(delay), ..abort(FaultStatus::Http(418)) };
    let mut only = abort(FaultStatus::Http(500));
    only.headers = vec![header("x-fault", StringPattern::Exact("yes".into()))];
    let mut cors = route("cors", prefix("/cors"), to("one"));
    let policy = xds::CorsPolicy {
        allow_origin: vec![StringMatcher::exact("http://good.test")],
        allow_methods: "GET,PUT".into(),
        allow_headers: "x-a,x-b".into(),
        expose_headers: "x-c".into(),
        max_age: "60".into(),
        allow_credentials: Some(true),
        forward_not_matching_preflights: None,
    };
    let key = "envoy.filters.http.cors".to_owned();
    cors.typed_per_filter_config.insert(key, PerFilterConfig::Cors(policy));
    vec![
        route("time", prefix("/time"), with("one", |to| to.timeout = time(150))),
        retry("5xx", "5xx", &|_| {}),
        retry("gateway", "gateway-error", &|_| {}),
        retry("reset", "reset", &|_| {}),
        retry("before", "reset-before-request", &|_| {}),
        retry("connect", "connect-failure", &|_| {}),
        retry("4xx", "retriable-4xx", &|_| {}),
        retry("codes", "retriable-status-codes", &|p| p.retriable_status_codes = vec![418]),
        retry("slow", "5xx", &|p| p.per_try_timeout = time(100)),
        retry("istio", "connect-failure,refused-stream,unavailable,cancelled", &|_| {}),
        route("nc", prefix("/missing"), to("missing")),
        route(
            "nc-500",
            prefix("/lost"),
            with("missing", |to| {
                to.cluster_not_found_response_code = Some(500);
            }),
        ),
        route("uh", prefix("/empty"), to("empty")),
        route("uf", prefix("/dead"), to("dead")),
        route(
            "uf-again",
            prefix("/retry-dead"),
            with("dead", |to| {
                to.retry_policy = Some(RetryPolicy {
                    retry_on: "connect-failure".into(),
                    num_retries: Some(1),
                    ..RetryPolicy::default()
                });
            }),
        ),
        fault("http", abort(FaultStatus::Http(451))),
        fault("grpc", abort(FaultStatus::Grpc(14))),
        fault("delay", late),
        fault("both", both),
        fault("only", only),
        cors,
    ]
}
