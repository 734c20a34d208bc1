//! The router: answers by itself where the route says so, else sends the request upstream, again
//! where the route's policy allows, within the route's time.

mod asked;
mod attempt;
mod failure;
mod hash;
mod plan;

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    body::{Replay, RequestBody, ResponseBody, Source},
    exchange::Exchange,
    headers,
    local_reply::LocalReply,
    mirror, mutation,
    request::Head,
    response, upgrade,
};
use crate::{cluster::Cluster, snapshot::Snapshot};

use attempt::Answer;
use failure::Failure;
use plan::Plan;

/// Sends a request where its route says.
pub(super) async fn route(
    mut head: Head,
    body: Incoming,
    decision: Option<engine::RouteDecision<'_>>,
    snapshot: &Snapshot,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let Some((virtual_host, route)) =
        decision.and_then(|decision| Some((decision.virtual_host, decision.route?)))
    else {
        exchange.http.manager.stats.no_route.inc();
        return LocalReply::no_route().into_response(exchange);
    };
    if virtual_host.require_tls && head.scheme != "https" {
        exchange.facts.route_name.clear();
        exchange.facts.upstream_cluster = None;
        return to_https(&head).into_response(exchange);
    }
    match &route.config.action {
        xds::Action::Redirect(redirect) => {
            let mut reply = redirect_reply(&head, route, redirect);
            mutate_reply(&mut reply, route, &head, &exchange);
            reply.into_response(exchange)
        }
        xds::Action::DirectResponse(direct) => {
            let status = StatusCode::from_u16(direct.status).unwrap_or(StatusCode::OK);
            let mut reply = LocalReply::new(status, "", "direct_response");
            reply.body = direct.body.clone().into();
            mutate_reply(&mut reply, route, &head, &exchange);
            reply.into_response(exchange)
        }
        xds::Action::NonForwarding => LocalReply::no_route().into_response(exchange),
        xds::Action::Route(action) => {
            let random = exchange.http.connection.worker.random();
            let Some((name, weighted)) = route.cluster(random) else {
                return LocalReply::no_cluster(None).into_response(exchange);
            };
            let Some(cluster) = snapshot.clusters.get(name).map(Arc::clone) else {
                exchange.http.manager.stats.no_cluster.inc();
                exchange.facts.upstream_cluster = Some(name.into());
                return LocalReply::no_cluster(action.cluster_not_found_response_code)
                    .into_response(exchange);
            };
            let plan = Plan::new(&mut head, (virtual_host, route), action, weighted, &exchange);
            Forward { snapshot, plan, cluster }.run(head, body, exchange).await
        }
    }
}

fn mutate_reply(reply: &mut LocalReply, route: &engine::Route, head: &Head, exchange: &Exchange) {
    let mutations = &route.config.headers;
    if mutations.response_add.is_empty() && mutations.response_remove.is_empty() {
        return;
    }
    let mut map: http::HeaderMap = reply.headers.drain(..).collect();
    mutation::response(mutations, &mut map, &head.headers, exchange);
    reply.headers.extend(map.iter().map(|(name, value)| (name.clone(), value.clone())));
}

fn to_https(head: &Head) -> LocalReply {
    let location = format!("https://{}{}", head.authority, head.path);
    located(StatusCode::MOVED_PERMANENTLY, &location)
}

fn located(status: StatusCode, location: &str) -> LocalReply {
    match HeaderValue::from_str(location) {
        Ok(value) => LocalReply::new(status, "", "direct_response").header(header::LOCATION, value),
        Err(_) => LocalReply::bad_request("redirect_location_invalid"),
    }
}

fn redirect_reply(head: &Head, route: &engine::Route, redirect: &xds::Redirect) -> LocalReply {
    let scheme = if redirect.scheme.is_empty() { head.scheme } else { &redirect.scheme };
    let (old_host, old_port) = match head.authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (head.authority.as_str(), None),
    };
    let host = if redirect.host.is_empty() { old_host } else { &redirect.host };
    let port = match redirect.port {
        Some(port) => Some(port.to_string()),
        // The old scheme's own port does not outlive it; another one stays.
        None if redirect.host.is_empty() => old_port
            .filter(|port| !matches!((head.scheme, *port), ("http", "80") | ("https", "443")))
            .map(str::to_owned),
        None => None,
    };
    let port =
        port.filter(|port| !matches!((scheme, port.as_str()), ("http", "80") | ("https", "443")));
    let (path, query) = match head.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (head.path.as_str(), None),
    };
    let path = match &redirect.path {
        xds::RedirectPath::Keep => path.to_owned(),
        xds::RedirectPath::Full(full) => full.clone(),
        xds::RedirectPath::Prefix(prefix) => route.replace_matched(path, prefix),
    };
    let query = query.filter(|_| !redirect.strip_query && !path.contains('?'));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let status = StatusCode::from_u16(redirect.response_code);
    let location = format!("{scheme}://{host}{port}{path}{query}");
    located(status.unwrap_or(StatusCode::MOVED_PERMANENTLY), &location)
}

/// A request on its way to a cluster.
pub(super) struct Forward<'a> {
    snapshot: &'a Snapshot,
    plan: Plan<'a>,
    cluster: Arc<Cluster>,
}

impl Forward<'_> {
    async fn run(
        mut self,
        mut head: Head,
        body: Incoming,
        mut exchange: Box<Exchange>,
    ) -> Response<ResponseBody> {
        let shared = Arc::clone(&self.cluster.shared);
        exchange.facts.upstream_cluster = Some(Arc::clone(&shared.name));
        exchange.cluster = Some(Arc::clone(&shared));
        if shared.stats.rq_active.get() >= shared.limits.requests {
            shared.stats.rq_pending_overflow.inc();
            return LocalReply::overflow().into_response(exchange);
        }
        shared.stats.rq_total.inc();
        exchange.active = Some(Active::new(&self.cluster));
        if self.plan.rewritten {
            exchange.facts.request = Some(head.line());
        }
        let mut body = self.body(&head, body, &exchange);
        let mut attempts = 0;
        let mut tried = Vec::new();
        let mut retrying = None;
        loop {
            attempts += 1;
            exchange.facts.attempts = attempts;
            let outcome = self.attempt(&mut head, body.next(), &mut exchange, &mut tried).await;
            drop(retrying.take());
            let reason =
                if exchange.body_broken.get() { None } else { self.retry_reason(&outcome) };
            let Some(reason) = reason else {
                return self.settle(outcome, head, exchange, &body);
            };
            if !self.may_retry(attempts, &body, &mut exchange) {
                return self.settle(outcome, head, exchange, &body);
            }
            tracing::debug!(cluster = %shared.name, ?reason, attempts, "repeats a request");
            drop(outcome);
            shared.stats.rq_retry.inc();
            retrying = Some(Retrying::new(&self.cluster));
            if !self.back_off(attempts, &exchange).await {
                return LocalReply::timeout("response_timeout").into_response(exchange);
            }
            // A cluster that was replaced meanwhile is not asked again.
            let fresh = exchange.http.connection.worker.snapshot();
            if let Some(cluster) = fresh.clusters.get(&*shared.name) {
                self.cluster = Arc::clone(cluster);
            }
        }
    }

    /// The request's body, copied to mirrors, and kept where it may be sent again.
    fn body(&self, head: &Head, body: Incoming, exchange: &Exchange) -> Bodies {
        let copies = mirror::start(&self.plan.mirrors, self.snapshot, head, exchange, &body);
        if body.is_end_stream() {
            return Bodies::Empty;
        }
        let source = Source::new(
            body,
            (Rc::clone(&exchange.received), Rc::clone(&exchange.body_broken)),
            copies,
        );
        if self.plan.retry.is_some() {
            Bodies::Kept(Replay::new(source))
        } else {
            Bodies::Once(Some(Box::new(source)))
        }
    }

    fn retry_reason(&self, outcome: &Result<Answer, Failure>) -> Option<engine::RetryReason> {
        let policy = self.plan.retry.as_ref()?;
        let reason = match outcome {
            Ok(answer) => answer.retry_reason(),
            Err(failure) => failure.retry?,
        };
        policy.retries(reason).then_some(reason)
    }

    fn may_retry(&self, attempts: u32, body: &Bodies, exchange: &mut Exchange) -> bool {
        let Some(policy) = self.plan.retry.as_ref() else { return false };
        let shared = &self.cluster.shared;
        if !body.can_repeat() {
            return false;
        }
        if attempts > policy.num_retries {
            shared.stats.rq_retry_limit_exceeded.inc();
            exchange.facts.flags.insert(crate::flags::Flags::RETRY_LIMIT_EXCEEDED);
            return false;
        }
        let open = shared.stats.rq_active.get() + shared.stats.rq_pending_active.get();
        if shared.stats.rq_retry_active.get() >= shared.limits.retries(open) {
            shared.stats.rq_retry_overflow.inc();
            exchange.facts.flags.insert(crate::flags::Flags::UPSTREAM_OVERFLOW);
            return false;
        }
        true
    }

    /// Waits before the next attempt; false when the route's time is over.
    async fn back_off(&self, attempts: u32, exchange: &Exchange) -> bool {
        let Some(policy) = self.plan.retry.as_ref() else { return true };
        let wait = policy.back_off(attempts, exchange.http.connection.worker.random());
        let until = Instant::now() + wait;
        match self.plan.deadline {
            Some(deadline) if deadline <= until => {
                tokio::time::sleep_until(deadline).await;
                false
            }
            _ => {
                tokio::time::sleep_until(until).await;
                true
            }
        }
    }

    /// The attempt's outcome is the request's.
    fn settle(
        &self,
        outcome: Result<Answer, Failure>,
        head: Head,
        mut exchange: Box<Exchange>,
        body: &Bodies,
    ) -> Response<ResponseBody> {
        body.release();
        match outcome {
            Err(_) if exchange.body_broken.get() => {
                exchange.keep_request_headers(&head.headers);
                let details = if head.http2 { "http2.remote_reset" } else { "http1.codec_error" };
                LocalReply::broken(StatusCode::BAD_REQUEST, "Bad Request", details)
                    .into_response(exchange)
            }
            Ok(answer) => self.answer(answer, head, exchange),
            Err(failure) => {
                exchange.keep_request_headers(&head.headers);
                exchange.facts.transport_failure.clone_from(&failure.transport_failure);
                let attempts = exchange.facts.attempts;
                let mut response = failure.reply(attempts).into_response(exchange);
                head.cors.apply(response.headers_mut());
                response
            }
        }
    }

    fn answer(
        &self,
        answer: Answer,
        head: Head,
        mut exchange: Box<Exchange>,
    ) -> Response<ResponseBody> {
        let Answer { response, lease, since, .. } = answer;
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let (parts, incoming) = response.into_parts();
        let mut response = Response::from_parts(parts, ());
        response::sanitize(&mut response, upgraded && head.upgrade.is_some());
        exchange.facts.code = response.status().as_u16();
        self.respond(&mut response, &head, &mut exchange, since.elapsed());
        exchange.set_details("via_upstream");
        exchange.keep_request_headers(&head.headers);
        response::finish(&mut exchange, &mut response);
        let (parts, ()) = response.into_parts();
        if upgraded && let Some((client, _)) = head.upgrade {
            return upgrade::tunnel(parts, client, incoming, lease, exchange);
        }
        let limits = super::body::Limits::new(self.plan.deadline, self.plan.idle);
        Response::from_parts(parts, ResponseBody::stream(incoming, lease, exchange, limits))
    }

    /// Gives the answer's head what the route and the mesh add to it.
    fn respond(
        &self,
        response: &mut Response<()>,
        head: &Head,
        exchange: &mut Exchange,
        took: Duration,
    ) {
        let connection = Rc::clone(&exchange.http.connection);
        let map = response.headers_mut();
        map.remove(headers::PEER_METADATA_ID);
        if let Some(metadata) = map.remove(headers::PEER_METADATA)
            && self.plan.upstream_discovery
        {
            let mut istio = connection.worker.istio.borrow_mut();
            exchange.peer = istio.peer_by_header(metadata.as_bytes());
        }
        if !self.plan.suppress_envoy_headers {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            map.insert(headers::SERVICE_TIME, HeaderValue::from(millis));
        }
        if head.tell_peer {
            let worker = &connection.worker;
            map.insert(headers::PEER_METADATA_ID, worker.peer_id.clone());
            map.insert(headers::PEER_METADATA, worker.peer_metadata.clone());
        }
        for mutations in self.plan.mutations() {
            mutation::response(mutations, map, &head.headers, exchange);
        }
        if let Some(cookie) = &self.plan.set_cookie {
            map.append(header::SET_COOKIE, cookie.clone());
        }
        head.cors.apply(map);
    }
}

/// The request's body over its attempts.
enum Bodies {
    Empty,
    Once(Option<Box<Source>>),
    Kept(Replay),
}

impl Bodies {
    fn next(&mut self) -> RequestBody {
        match self {
            Self::Empty => RequestBody::Empty,
            Self::Once(source) => source.take().map_or(RequestBody::Empty, RequestBody::Stream),
            Self::Kept(replay) => replay.reader(),
        }
    }

    fn can_repeat(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(_) => false,
            Self::Kept(replay) => replay.is_kept(),
        }
    }

    fn release(&self) {
        if let Self::Kept(replay) = self {
            replay.release();
        }
    }
}

/// Counts a request in its cluster until its answer is over.
pub(super) struct Active(Arc<Cluster>);

impl Active {
    fn new(cluster: &Arc<Cluster>) -> Self {
        cluster.shared.stats.rq_active.inc();
        Self(Arc::clone(cluster))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.shared.stats.rq_active.dec();
    }
}

/// Counts a retry in its cluster while it is under way.
struct Retrying(Arc<Cluster>);

impl Retrying {
    fn new(cluster: &Arc<Cluster>) -> Self {
        cluster.shared.stats.rq_retry_active.inc();
        Self(Arc::clone(cluster))
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.shared.stats.rq_retry_active.dec();
    }
}
