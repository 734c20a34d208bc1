//! Resources in words.

use engine::Route;
use xds::{Action, ClusterSpecifier, FractionalPercent, LbPolicy};

use super::call::Request;
use super::miss;

/// The first of some names, and how many more there are.
pub(super) fn some(names: &[String], first: usize) -> String {
    let shown = names.iter().take(first).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(first) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A share in percent.
pub(super) fn percent(share: FractionalPercent) -> String {
    format!("{} %", f64::from(share.millionths()) / 10_000.0)
}

/// A route's name, else what it matches.
pub(super) fn route_name(route: &xds::Route) -> String {
    if route.name.is_empty() {
        miss::shown_path(&route.route_match.path)
    } else {
        route.name.clone()
    }
}

/// What a route matches and how it treats requests.
pub(super) fn route(route: &xds::Route) -> Vec<String> {
    let criteria = &route.route_match;
    let mut details = vec![format!("it takes {}", miss::shown_path(&criteria.path))];
    for header in &criteria.headers {
        let name = header.name.trim_start_matches(':');
        let not = if header.invert { " not" } else { "" };
        let wanted = match &header.kind {
            xds::HeaderMatchKind::String(value) => miss::string(value),
            xds::HeaderMatchKind::Present(present) => {
                if *present {
                    "present".to_owned()
                } else {
                    "absent".to_owned()
                }
            }
            xds::HeaderMatchKind::Range { start, end } => format!("{start}..{end}"),
        };
        details.push(format!("{name}{not} {wanted}"));
    }
    if let Action::Route(action) = &route.action {
        details.extend(treatment(action));
    }
    details
}

fn treatment(action: &xds::RouteAction) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(timeout) = action.timeout.filter(|timeout| !timeout.is_zero()) {
        details.push(format!("timeout {timeout:?}"));
    }
    if let Some(retries) = &action.retry_policy {
        let times = retries.num_retries.unwrap_or(1);
        if times > 0 {
            details.push(format!("up to {times} retries on {}", retries.retry_on));
        }
    }
    for mirror in &action.request_mirror_policies {
        let share = mirror.runtime_fraction.map_or_else(|| "100 %".to_owned(), percent);
        details.push(format!("{share} mirrored to {}", mirror.cluster));
    }
    if let ClusterSpecifier::Weighted(list) = &action.cluster {
        details.push(format!("one of {} clusters by weight", list.len()));
    }
    details
}

/// How a cluster chooses and treats its endpoints.
pub(super) fn cluster(cluster: &xds::Cluster) -> Vec<String> {
    let mut details = Vec::new();
    let policy = match &cluster.lb_policy {
        LbPolicy::RoundRobin => "round robin",
        LbPolicy::LeastRequest { .. } => "least request",
        LbPolicy::Random => "random",
        LbPolicy::RingHash { .. } => "ring hash",
        LbPolicy::Maglev { .. } => "Maglev",
        LbPolicy::ClusterProvided => "the address that the client meant",
    };
    details.push(format!("chooses by {policy}"));
    if let Some(outlier) = &cluster.outlier_detection {
        let failures = outlier.consecutive_5xx.unwrap_or(5);
        details.push(format!("ejects endpoints after {failures} failures in a row"));
    }
    details
}

/// The `Location` of a redirect.
pub(super) fn location(route: &Route, redirect: &xds::Redirect, request: &Request) -> String {
    let scheme = if redirect.scheme.is_empty() { request.scheme } else { &redirect.scheme };
    let mut host = request.authority.clone();
    if !redirect.host.is_empty() {
        host.clone_from(&redirect.host);
    }
    if let Some(port) = redirect.port {
        let bare = host.split(':').next().unwrap_or_default().to_owned();
        host = format!("{bare}:{port}");
    }
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (request.path.as_str(), String::new()),
    };
    let path = match &redirect.path {
        xds::RedirectPath::Keep => path.to_owned(),
        xds::RedirectPath::Full(full) => full.clone(),
        xds::RedirectPath::Prefix(prefix) => route.replace_matched(path, prefix),
    };
    let query = if redirect.strip_query { String::new() } else { query };
    format!("{scheme}://{host}{path}{query}")
}
