//! From the HTTP rules of a VirtualService to routes, first match first.

use std::collections::BTreeMap;

use config::networking::{HttpMatchRequest, HttpRoute};
use xds::{
    Action, ClusterSpecifier, HeaderMutations, PathMatch, PerFilterConfig, Route, RouteMatch,
    Struct,
};

use super::{
    RouteScope, action,
    matching::{is_catch_all, route_match},
    policy,
};
use crate::{
    cluster::{OutboundName, istio_metadata},
    virtual_service::ResolvedVirtualService,
};

/// The routes of a VirtualService for one proxy and port, up to the first that takes everything.
pub(super) fn routes(scope: &RouteScope<'_>, service: &ResolvedVirtualService) -> Vec<Route> {
    let mut routes = Vec::new();
    for rule in service.http() {
        let blocks: Vec<Option<&HttpMatchRequest>> = match rule.matches.as_slice() {
            [] => vec![None],
            blocks => blocks.iter().map(Some).collect(),
        };
        for block in blocks {
            let Some(route) = route(scope, service, rule, block) else { continue };
            let last = is_catch_all(&route.route_match);
            routes.push(route);
            if last {
                return routes;
            }
        }
    }
    routes
}

fn route(
    scope: &RouteScope<'_>,
    service: &ResolvedVirtualService,
    rule: &HttpRoute,
    block: Option<&HttpMatchRequest>,
) -> Option<Route> {
    let applies = block.is_none_or(|block| scope.applies(service, block));
    if !applies {
        return None;
    }
    let route_match = match block {
        Some(block) => route_match(block)?,
        None => RouteMatch::any(),
    };
    let mut headers = HeaderMutations::default();
    policy::add_headers(&mut headers, rule.headers.as_ref());
    if let ([only], true) = (rule.route.as_slice(), is_route(rule)) {
        policy::add_headers(&mut headers, only.headers.as_ref());
    }
    let action = action::action(scope, service, rule)?;
    Some(Route {
        name: name(rule, block),
        operation: operation(scope, service, &route_match, &action),
        route_match,
        action,
        metadata: istio_metadata(Struct::from([("config".to_owned(), service.item.config_path())])),
        headers,
        typed_per_filter_config: per_filter_config(rule),
    })
}

fn is_route(rule: &HttpRoute) -> bool {
    rule.redirect.is_none() && rule.direct_response.is_none()
}

fn name(rule: &HttpRoute, block: Option<&HttpMatchRequest>) -> String {
    match (rule.name.as_str(), block.map_or("", |block| block.name.as_str())) {
        (name, "") | ("", name) => name.to_owned(),
        (rule, block) => format!("{rule}.{block}"),
    }
}

fn per_filter_config(rule: &HttpRoute) -> BTreeMap<String, PerFilterConfig> {
    let mut filters = BTreeMap::new();
    if let Some(fault) = rule.fault.as_ref().and_then(policy::fault) {
        let name = "envoy.filters.http.fault".to_owned();
        filters.insert(name, PerFilterConfig::Fault(fault));
    }
    if let Some(cors) = &rule.cors_policy {
        let name = "envoy.filters.http.cors".to_owned();
        filters.insert(name, PerFilterConfig::Cors(policy::cors(cors)));
    }
    filters
}

/// The operation's name in traces: the destination (or else the VirtualService) and the path.
fn operation(
    scope: &RouteScope<'_>,
    service: &ResolvedVirtualService,
    route_match: &RouteMatch,
    action: &Action,
) -> String {
    let path = match &route_match.path {
        PathMatch::Prefix(prefix) | PathMatch::PathSeparatedPrefix(prefix) => format!("{prefix}*"),
        PathMatch::Path(path) | PathMatch::Regex(path) => path.clone(),
    };
    if let Action::Route(route) = action
        && let ClusterSpecifier::Cluster(name) = &route.cluster
        && let Some(cluster) = OutboundName::parse(name)
    {
        return format!("{}:{}{path}", cluster.host, cluster.port);
    }
    format!("{}:{}{path}", service.item.meta.name, scope.port)
}
