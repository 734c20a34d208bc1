//! The configuration that both proxies get: listeners with the options that the control plane
//! gives gateways and sidecars, the same routes behind all of them.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use xds::{
    AccessLogFormat, EscapedSlashes, ForwardClientCert, HeaderMatchKind, HeaderMatcher, HttpFilter,
    HttpFilterConfig, NetworkFilterConfig, Permission, Policy, Principal, Rbac, RbacAction,
    RbacFilter, Resource, RouteSpecifier, StringMatcher, StringPattern, TcpClusterWeight, TcpProxy,
};

use crate::{observation::LOG, resources};

#[path = "routes.rs"]
mod routes;

/// The listeners. `none`, `merge` and `decode` are gateways with other path normalisation, `deny`
/// and `allow` have a policy, `http10` takes HTTP/1.0.
pub(crate) const LISTENERS: [&str; 11] = [
    "gateway", "inbound", "outbound", "none", "merge", "decode", "deny", "allow", "http10", "tcp",
    "tcpdead",
];

/// Where everything is.
pub(crate) struct Places {
    pub(crate) backend: SocketAddr,
    pub(crate) echo: SocketAddr,
    pub(crate) listeners: BTreeMap<&'static str, SocketAddr>,
    pub(crate) log: PathBuf,
}

/// All resources.
pub(crate) fn resources(places: &Places) -> Vec<Resource> {
    let dead = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let mut all: Vec<Resource> = [
        ("one", vec![places.backend]),
        ("two", vec![places.backend]),
        ("empty", vec![]),
        ("dead", vec![dead]),
        ("echo", vec![places.echo]),
    ]
    .into_iter()
    .map(|(name, addresses)| resources::cds(resources::cluster(name, &addresses)))
    .collect();
    for (name, address) in &places.listeners {
        let filter = match *name {
            "tcp" => tcp("echo", places),
            "tcpdead" => tcp("dead", places),
            name => http(name, places),
        };
        let chain = resources::chain(name, filter);
        let mut listener = resources::listener(*address, vec![chain]);
        if *name == "inbound" {
            listener.traffic_direction = xds::TrafficDirection::Inbound;
        }
        all.push(resources::lds(listener));
    }
    all
}

fn tcp(cluster: &str, places: &Places) -> NetworkFilterConfig {
    NetworkFilterConfig::TcpProxy(TcpProxy {
        stat_prefix: cluster.into(),
        clusters: vec![TcpClusterWeight { name: cluster.into(), weight: 1 }],
        idle_timeout: None,
        max_downstream_connection_duration: None,
        access_log: vec![log(places)],
    })
}

fn log(places: &Places) -> xds::AccessLog {
    xds::AccessLog {
        path: places.log.to_str().expect("path").to_owned(),
        format: AccessLogFormat::Text(LOG.to_owned()),
        filter: None,
    }
}

fn http(name: &str, places: &Places) -> NetworkFilterConfig {
    let routes = RouteSpecifier::Inline(Box::new(routes::configuration()));
    let mut manager = resources::manager(routes, &places.log);
    manager.access_log = vec![log(places)];
    manager.proxy_100_continue = true;
    match name {
        "inbound" => manager.forward_client_cert = ForwardClientCert::AppendForward,
        "outbound" => manager.server_name = String::new(),
        _ => {
            manager.use_remote_address = true;
            manager.forward_client_cert = ForwardClientCert::SanitizeSet;
        }
    }
    match name {
        "none" => manager.normalize_path = false,
        "merge" => manager.merge_slashes = true,
        "decode" => {
            manager.merge_slashes = true;
            manager.escaped_slashes = EscapedSlashes::UnescapeAndForward;
        }
        "http10" => manager.accept_http_10 = true,
        _ => {}
    }
    let filter = |name: &str, config| HttpFilter { name: name.to_owned(), config };
    let mut filters = vec![
        filter("envoy.filters.http.fault", HttpFilterConfig::Fault(xds::HttpFault::default())),
        filter("envoy.filters.http.cors", HttpFilterConfig::Cors),
    ];
    let rbac = match name {
        "deny" => Some(deny()),
        "allow" => Some(allow()),
        _ => None,
    };
    filters
        .extend(rbac.map(|rbac| filter("envoy.filters.http.rbac", HttpFilterConfig::Rbac(rbac))));
    filters.push(resources::router());
    manager.http_filters = filters;
    NetworkFilterConfig::HttpConnectionManager(Box::new(manager))
}

pub(crate) fn header(name: &str, pattern: StringPattern) -> HeaderMatcher {
    HeaderMatcher {
        name: name.into(),
        kind: HeaderMatchKind::String(pattern.into()),
        invert: false,
        treat_missing_as_empty: false,
    }
}

fn rbac(action: RbacAction, name: &str, permissions: Vec<Permission>) -> RbacFilter {
    let policy = Policy { permissions, principals: vec![Principal::Any] };
    RbacFilter {
        rules: Some(Rbac { action, policies: [(name.to_owned(), policy)].into() }),
        ..RbacFilter::default()
    }
}

fn deny() -> RbacFilter {
    let mut host = header(":authority", StringPattern::Exact("secret.test".into()));
    if let HeaderMatchKind::String(matcher) = &mut host.kind {
        matcher.ignore_case = true;
    }
    let role = header("x-role", StringPattern::Exact("admin".into()));
    let paths = [StringMatcher::exact("/admin"), StringMatcher::prefix("/internal/")];
    let mut permissions = vec![Permission::Header(host), Permission::Header(role)];
    permissions.extend(paths.map(Permission::UrlPath));
    rbac(RbacAction::Deny, "ns[bad]-policy[guard]-rule[0]", permissions)
}

fn allow() -> RbacFilter {
    let admin = Permission::UrlPath(StringMatcher::exact("/admin"));
    let role = header("x-role", StringPattern::Exact("admin".into()));
    let not = |permission| Permission::Not(Box::new(permission));
    let both = Permission::And(vec![not(admin), not(Permission::Header(role))]);
    rbac(RbacAction::Allow, "ns[ok]-policy[guard]-rule[0]", vec![both])
}
