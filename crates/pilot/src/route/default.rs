//! Routes that no VirtualService wrote: to a service, and for hosts that nobody declared.

use std::{collections::BTreeMap, time::Duration};

use xds::{
    Action, ClusterSpecifier, DirectResponse, HeaderMutations, HostRewrite, Metadata, Route,
    RouteAction, RouteMatch, VirtualHost,
};

use super::{RouteScope, policy};
use crate::{
    World,
    cluster::{self, OutboundName, PASSTHROUGH},
    sidecar_scope::SidecarScope,
    world::Service,
};

/// A route that forwards everything to one cluster, without a time limit.
pub(super) fn to_cluster(name: &str, cluster: String, operation: String) -> Route {
    Route {
        name: name.to_owned(),
        route_match: RouteMatch::any(),
        action: Action::Route(Box::new(RouteAction {
            cluster: ClusterSpecifier::Cluster(cluster),
            cluster_not_found_response_code: None,
            timeout: Some(Duration::ZERO),
            idle_timeout: None,
            grpc_timeout_header_max: Some(Duration::ZERO),
            retry_policy: None,
            prefix_rewrite: None,
            regex_rewrite: None,
            host_rewrite: HostRewrite::None,
            hash_policy: Vec::new(),
            request_mirror_policies: Vec::new(),
        })),
        metadata: Metadata::default(),
        operation,
        headers: HeaderMutations::default(),
        typed_per_filter_config: BTreeMap::new(),
    }
}

/// The route to a service that no VirtualService speaks of.
pub(super) fn to_service(scope: &RouteScope<'_>, service: &Service) -> Route {
    let port = scope.port;
    let name = OutboundName { port, subset: "", host: &service.hostname };
    let mut route =
        to_cluster("default", name.to_string(), format!("{}:{port}/*", service.hostname));
    if let Action::Route(action) = &mut route.action {
        let rule = scope.push.destination_rules.find(scope.proxy, service);
        let balancer = rule.and_then(|rule| rule.policy(port, None).load_balancer);
        action.hash_policy.extend(cluster::hash_policy(balancer));
        let mesh_default = scope.push.world.mesh.default_http_retry_policy.as_ref();
        action.retry_policy = policy::retry(mesh_default, !action.hash_policy.is_empty());
    }
    route
}

/// The virtual host for hosts that nobody declared.
///
/// COMPAT: where the application connects to the listener itself there is no original destination
/// to pass calls on to, and they are refused; Envoy would answer 503.
pub(super) fn catch_all(scope: &SidecarScope, world: &World, bound: bool) -> VirtualHost {
    let cluster = scope.unmatched(world).filter(|name| !(bound && name == PASSTHROUGH));
    let (name, route) = match cluster {
        Some(cluster) => {
            let name = "allow_any";
            (name, to_cluster(name, cluster, String::new()))
        }
        None => {
            let name = "block_all";
            let mut route = to_cluster(name, String::new(), String::new());
            route.action = Action::DirectResponse(DirectResponse { status: 502, body: Vec::new() });
            (name, route)
        }
    };
    VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        require_tls: false,
        include_request_attempt_count: true,
        typed_per_filter_config: BTreeMap::new(),
    }
}
