//! What a VirtualService's HTTP rule does: forward, redirect, or answer.

use base64::Engine as _;
use config::networking::{
    HttpDirectResponse, HttpRedirect, HttpRoute, HttpRouteDestination, RedirectPortSelection,
};
use xds::{
    Action, ClusterSpecifier, ClusterWeight, DirectResponse, HashPolicy, HeaderMutations,
    HostRewrite, MirrorPolicy, Redirect, RedirectPath, RegexMatchAndSubstitute, RouteAction,
};

use super::{RouteScope, destination_cluster, policy, scope::destination_host};
use crate::{cluster, virtual_service::ResolvedVirtualService};

/// The rule's action; none when it has none (as validation refuses).
pub(super) fn action(
    scope: &RouteScope<'_>,
    service: &ResolvedVirtualService,
    rule: &HttpRoute,
) -> Option<Action> {
    if let Some(redirect) = &rule.redirect {
        return Some(Action::Redirect(self::redirect(scope, redirect)));
    }
    if let Some(response) = &rule.direct_response {
        return Some(Action::DirectResponse(direct_response(response)));
    }
    let cluster = cluster_specifier(scope, service, &rule.route)?;
    let hash_policy = hash_policy(scope, service, &rule.route);
    let timeout = rule.timeout.unwrap_or_default();
    let rewrite = rule.rewrite.as_ref();
    let mesh_default = scope.push.world.mesh.default_http_retry_policy.as_ref();
    Some(Action::Route(Box::new(RouteAction {
        cluster,
        cluster_not_found_response_code: None,
        timeout: Some(timeout),
        idle_timeout: None,
        grpc_timeout_header_max: Some(timeout),
        retry_policy: policy::retry(
            rule.retries.as_ref().or(mesh_default),
            !hash_policy.is_empty(),
        ),
        prefix_rewrite: rewrite.map(|rewrite| rewrite.uri.clone()).filter(|uri| !uri.is_empty()),
        regex_rewrite: rewrite.and_then(|rewrite| rewrite.uri_regex_rewrite.as_ref()).map(
            |regex| RegexMatchAndSubstitute {
                regex: regex.pattern.clone(),
                substitution: regex.rewrite.clone(),
            },
        ),
        host_rewrite: host_rewrite(rule),
        hash_policy,
        request_mirror_policies: mirrors(scope, service, rule),
    })))
}

/// The rewrite's authority, else a `Host` that a header operation of the rule (or of its only
/// destination) sets.
fn host_rewrite(rule: &HttpRoute) -> HostRewrite {
    if let Some(rewrite) = &rule.rewrite
        && !rewrite.authority.is_empty()
    {
        return HostRewrite::Literal(rewrite.authority.clone());
    }
    let only = match rule.route.as_slice() {
        [only] => policy::host_header(only.headers.as_ref()),
        _ => None,
    };
    only.or(policy::host_header(rule.headers.as_ref()))
        .map_or(HostRewrite::None, |host| HostRewrite::Literal(host.to_owned()))
}

fn cluster_specifier(
    scope: &RouteScope<'_>,
    service: &ResolvedVirtualService,
    destinations: &[HttpRouteDestination],
) -> Option<ClusterSpecifier> {
    match destinations {
        [] => None,
        [only] => {
            Some(ClusterSpecifier::Cluster(destination_cluster(scope, service, &only.destination)))
        }
        several => {
            let weighted = several.iter().filter(|destination| destination.weight > 0);
            let weights: Vec<_> =
                weighted.map(|destination| weight(scope, service, destination)).collect();
            match weights.as_slice() {
                [] => None,
                _ => Some(ClusterSpecifier::Weighted(weights)),
            }
        }
    }
}

fn weight(
    scope: &RouteScope<'_>,
    service: &ResolvedVirtualService,
    destination: &HttpRouteDestination,
) -> ClusterWeight {
    let mut headers = HeaderMutations::default();
    policy::add_headers(&mut headers, destination.headers.as_ref());
    let host = policy::host_header(destination.headers.as_ref());
    ClusterWeight {
        name: destination_cluster(scope, service, &destination.destination),
        weight: destination.weight,
        headers,
        host_rewrite: host.map_or(HostRewrite::None, |host| HostRewrite::Literal(host.to_owned())),
    }
}

/// What the destinations' consistent hashing goes by, each way once.
fn hash_policy(
    scope: &RouteScope<'_>,
    service: &ResolvedVirtualService,
    destinations: &[HttpRouteDestination],
) -> Vec<HashPolicy> {
    let mut policies = Vec::new();
    for destination in destinations {
        let destination = &destination.destination;
        let (host, port) = destination_host(scope, service, destination);
        let known = scope.push.scope(scope.proxy).service(&host);
        let found = known.and_then(|target| {
            let rule = scope.push.destination_rules.find(scope.proxy, target)?;
            let policy = rule.policy(port, rule.subset(&destination.subset));
            cluster::hash_policy(policy.load_balancer)
        });
        policies.extend(found.filter(|policy| !policies.contains(policy)));
    }
    policies
}

fn mirrors(
    scope: &RouteScope<'_>,
    service: &ResolvedVirtualService,
    rule: &HttpRoute,
) -> Vec<MirrorPolicy> {
    let old = rule.mirror.iter().map(|destination| {
        let share = rule.mirror_percentage.map(|percent| percent.millionths());
        let whole = rule.mirror_percent.map(|percent| percent.min(100) * 10_000);
        (destination, share.or(whole))
    });
    let new = rule
        .mirrors
        .iter()
        .map(|mirror| (&mirror.destination, mirror.percentage.map(|p| p.millionths())));
    old.chain(new)
        .filter(|(_, share)| *share != Some(0))
        .map(|(destination, share)| MirrorPolicy {
            cluster: destination_cluster(scope, service, destination),
            runtime_fraction: Some(policy::fraction(share.unwrap_or(1_000_000))),
            disable_shadow_host_suffix: true,
        })
        .collect()
}

fn redirect(scope: &RouteScope<'_>, redirect: &HttpRedirect) -> Redirect {
    let derived = match redirect.derive_port {
        Some(RedirectPortSelection::FromRequestPort) => Some(scope.port),
        Some(RedirectPortSelection::FromProtocolDefault) | None => None,
    };
    let is_default =
        |port: &u16| matches!((redirect.scheme.as_str(), port), ("http", 80) | ("https", 443));
    let path = match (redirect.uri.as_str(), redirect.prefix_rewrite.as_str()) {
        ("", "") => RedirectPath::Keep,
        ("", prefix) => RedirectPath::Prefix(prefix.to_owned()),
        (uri, _) => RedirectPath::Full(uri.to_owned()),
    };
    let code = redirect.redirect_code.filter(|code| *code != 0).unwrap_or(301);
    Redirect {
        scheme: redirect.scheme.clone(),
        host: redirect.authority.clone(),
        port: redirect.port.or(derived).filter(|port| !is_default(port)),
        path,
        response_code: u16::try_from(code).unwrap_or(301),
        strip_query: false,
    }
}

fn direct_response(response: &HttpDirectResponse) -> DirectResponse {
    let body = response.body.as_ref().map(|body| match (&body.string, &body.bytes) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(text)) => {
            base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
        }
        (None, None) => Vec::new(),
    });
    DirectResponse {
        status: u16::try_from(response.status).unwrap_or(500),
        body: body.unwrap_or_default(),
    }
}
