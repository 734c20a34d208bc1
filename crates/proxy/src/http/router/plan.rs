//! What a route asks for one request: rewrites and mutations are applied to it, times and the
//! retry policy are kept.

use std::{borrow::Cow, time::Duration};

use http::HeaderValue;
use tokio::time::Instant;

use super::{
    super::{exchange::Exchange, headers, mutation, request::Head},
    asked,
};

/// Envoy's default route timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// Envoy's default stream idle timeout.
const DEFAULT_IDLE: Duration = Duration::from_secs(300);

/// What is to be done with one request.
pub(super) struct Plan<'a> {
    pub(super) retry: Option<Cow<'a, engine::RetryPolicy>>,
    /// When the whole exchange must be over.
    pub(super) deadline: Option<Instant>,
    /// How long the stream may be idle.
    pub(super) idle: Option<Duration>,
    pub(super) count_attempts: bool,
    pub(super) suppress_envoy_headers: bool,
    pub(super) hash: Option<u64>,
    /// A cookie that consistent hashing made for the client.
    pub(super) set_cookie: Option<HeaderValue>,
    pub(super) mirrors: Vec<&'a xds::MirrorPolicy>,
    /// Path or host are not what the client sent.
    pub(super) rewritten: bool,
    /// The host becomes the endpoint's name.
    pub(super) auto_host: bool,
    /// Tell the server who we are.
    pub(super) tell_upstream: bool,
    pub(super) skip_external: bool,
    pub(super) upstream_discovery: bool,
    route: &'a xds::HeaderMutations,
    weighted: Option<&'a xds::HeaderMutations>,
}

impl<'a> Plan<'a> {
    /// Reads a route and applies to the request what does not depend on the attempt.
    pub(super) fn new(
        head: &mut Head,
        (virtual_host, route): (&engine::VirtualHost, &'a engine::Route),
        action: &'a xds::RouteAction,
        weighted: Option<&'a xds::ClusterWeight>,
        exchange: &Exchange,
    ) -> Self {
        let config = &exchange.http.manager.engine.config;
        let timeout = asked::timeout(&mut head.headers).unwrap_or_else(|| timeout(head, action));
        let worker = &exchange.http.connection.worker;
        let idle = action.idle_timeout.or(config.stream_idle_timeout).unwrap_or(DEFAULT_IDLE);
        let peer = peer_metadata(exchange);
        let hashed = super::hash::hash(&action.hash_policy, head, exchange);
        let mut plan = Self {
            retry: asked::retry_policy(&mut head.headers, route.retry_policy.as_ref()),
            deadline: timeout.map(|timeout| Instant::now() + timeout),
            idle: (!idle.is_zero() && head.upgrade.is_none()).then_some(idle),
            count_attempts: virtual_host.include_request_attempt_count,
            suppress_envoy_headers: suppresses(exchange),
            hash: hashed.hash,
            set_cookie: hashed.set_cookie,
            mirrors: action
                .request_mirror_policies
                .iter()
                .filter(|mirror| {
                    mirror.runtime_fraction.is_none_or(|share| {
                        worker.random() % 1_000_000 < u64::from(share.millionths())
                    })
                })
                .collect(),
            rewritten: false,
            auto_host: false,
            tell_upstream: peer.upstream_propagation,
            skip_external: peer.skip_external_clusters,
            upstream_discovery: peer.upstream_discovery,
            route: &route.config.headers,
            weighted: weighted.map(|weighted| &weighted.headers),
        };
        if head.upgrade.is_some() {
            plan.deadline = None;
            plan.retry = None;
        }
        plan.rewrite(head, route, action, weighted);
        for mutations in [plan.weighted, Some(plan.route)].into_iter().flatten() {
            if !mutations.request_add.is_empty() || !mutations.request_remove.is_empty() {
                mutation::request(mutations, &mut head.headers, exchange);
            }
        }
        if let Some(timeout) = timeout.filter(|_| !plan.suppress_envoy_headers) {
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            head.headers.insert(headers::EXPECTED_TIMEOUT, HeaderValue::from(millis));
        }
        decorate(head, &route.config.operation, exchange);
        plan
    }

    /// Header mutations for the answer, the more specific first.
    pub(super) fn mutations(&self) -> impl Iterator<Item = &'a xds::HeaderMutations> {
        let all = [self.weighted, Some(self.route)].into_iter().flatten();
        all.filter(|m| !m.response_add.is_empty() || !m.response_remove.is_empty())
    }

    fn rewrite(
        &mut self,
        head: &mut Head,
        route: &engine::Route,
        action: &xds::RouteAction,
        weighted: Option<&xds::ClusterWeight>,
    ) {
        if let Some(path) = route.rewrite_path(&head.path)
            && path != head.path
        {
            if !self.suppress_envoy_headers
                && let Ok(original) = HeaderValue::from_str(&head.path)
            {
                head.headers.insert(headers::ORIGINAL_PATH, original);
            }
            head.path = path;
            self.rewritten = true;
        }
        let host = match weighted.map(|weighted| &weighted.host_rewrite) {
            None | Some(xds::HostRewrite::None) => &action.host_rewrite,
            Some(other) => other,
        };
        match host {
            xds::HostRewrite::None => {}
            xds::HostRewrite::Literal(host) => {
                if !self.suppress_envoy_headers
                    && let Ok(original) = HeaderValue::from_str(&head.authority)
                {
                    head.headers.insert(headers::ORIGINAL_HOST, original);
                }
                head.authority.clone_from(host);
                self.rewritten = true;
            }
            xds::HostRewrite::Auto => self.auto_host = true,
        }
    }
}

/// How long the exchange may take; none: as long as it likes.
fn timeout(head: &Head, action: &xds::RouteAction) -> Option<Duration> {
    let route = action.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let route = (!route.is_zero()).then_some(route);
    let Some(max) = action.grpc_timeout_header_max else { return route };
    let asked = head
        .headers
        .get(headers::GRPC_TIMEOUT)
        .and_then(|value| value.to_str().ok())
        .and_then(grpc_timeout);
    match asked {
        None => route,
        Some(asked) if max.is_zero() => Some(asked),
        Some(asked) => Some(asked.min(max)),
    }
}

/// `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2). More is no time-out.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(count * 3_600),
        'M' => Duration::from_secs(count * 60),
        'S' => Duration::from_secs(count),
        'm' => Duration::from_millis(count),
        'u' => Duration::from_micros(count),
        'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

fn suppresses(exchange: &Exchange) -> bool {
    exchange.http.manager.engine.filters.iter().any(|filter| {
        matches!(filter, engine::HttpFilter::Router(router) if router.suppress_envoy_headers)
    })
}

fn peer_metadata(exchange: &Exchange) -> xds::PeerMetadata {
    let filters = &exchange.http.manager.engine.filters;
    let found = filters.iter().find_map(|filter| match filter {
        engine::HttpFilter::PeerMetadata(peer) => Some(*peer),
        _ => None,
    });
    found.unwrap_or_default()
}

/// Names the operation for the next proxy's traces.
fn decorate(head: &mut Head, operation: &str, exchange: &Exchange) {
    let outbound = exchange.http.connection.direction() == xds::TrafficDirection::Outbound;
    if outbound
        && !operation.is_empty()
        && let Ok(value) = HeaderValue::from_str(operation)
    {
        head.headers.insert(headers::DECORATOR, value);
    } else {
        head.headers.remove(headers::DECORATOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_cannot_overflow() {
        assert_eq!(grpc_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(grpc_timeout("1H"), Some(Duration::from_secs(3_600)));
        assert!(grpc_timeout("99999999H").is_some());
        for bad in ["", "m", "999999999S", "-1S", "1x", "1é"] {
            assert_eq!(grpc_timeout(bad), None, "{bad}");
        }
    }
}
