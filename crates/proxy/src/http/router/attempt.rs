//! One attempt: a host, a connection, the request, and the head of the answer.

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use http::{HeaderValue, Request, Response, Uri, Version, header, uri};
use hyper::body::Incoming;

use super::{
    super::{
        body::{RequestBody, grpc_status},
        exchange::Exchange,
        headers,
        request::Head,
    },
    Forward,
    failure::{Failure, Kind, connect_failure, send_failure},
};
use crate::{
    cluster::Cluster,
    flags::Flags,
    stats::Peer,
    upstream::{Alpn, Destination, Lease, SendError, Target, Wire},
};

/// How often a pooled connection that turns out to be closed is replaced without counting it as an
/// attempt: nothing of the request was sent on it.
const STALE_CONNECTIONS: u32 = 3;

/// The head of an answer.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    pub(super) since: Instant,
    _open: OpenRequest,
}

impl Answer {
    pub(super) fn retry_reason(&self) -> engine::RetryReason {
        let headers = self.response.headers();
        engine::RetryReason::Response {
            status: self.response.status().as_u16(),
            grpc_status: grpc_status(headers),
            rate_limited: headers.contains_key(headers::RATE_LIMITED),
        }
    }
}

/// Counts an attempt at its host until the answer is over.
struct OpenRequest(Option<Arc<engine::Host>>);

impl OpenRequest {
    fn new(host: Option<&Arc<engine::Host>>) -> Self {
        if let Some(host) = host {
            host.state.active_requests.fetch_add(1, Relaxed);
            host.state.total_requests.fetch_add(1, Relaxed);
        }
        Self(host.map(Arc::clone))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if let Some(host) = &self.0 {
            host.state.active_requests.fetch_sub(1, Relaxed);
        }
    }
}

impl Forward<'_> {
    /// Makes one attempt.
    pub(super) async fn attempt(
        &self,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
        tried: &mut Vec<SocketAddr>,
    ) -> Result<Answer, Failure> {
        let Some(target) = self.pick(exchange, tried) else {
            self.cluster.shared.stats.cx_none_healthy.inc();
            return Err(Failure::new(Kind::NoHost, None));
        };
        tried.push(target.address);
        exchange.facts.upstream_host = Some(target.address);
        let outcome = self.in_time(head, body, exchange, &target).await;
        self.record(&outcome, &target, exchange);
        outcome
    }

    fn pick(&self, exchange: &Exchange, tried: &[SocketAddr]) -> Option<Target> {
        let connection = &exchange.http.connection;
        let policy = self.plan.retry.as_deref().filter(|policy| policy.avoid_previous_hosts);
        let wanted = Destination {
            original: connection.destination,
            hash: self.plan.hash,
            avoid: if policy.is_some() { tried } else { &[] },
            attempts: policy.map_or(0, |policy| policy.host_selection_attempts),
        };
        let worker = &connection.worker;
        worker.cluster(&self.cluster).pick(worker, &self.cluster, &wanted)
    }

    /// Makes the attempt within the route's and the policy's time.
    async fn in_time(
        &self,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
        target: &Target,
    ) -> Result<Answer, Failure> {
        let now = tokio::time::Instant::now();
        let per_try = self.plan.retry.as_ref().and_then(|policy| policy.per_try_timeout);
        let per_try = per_try.map(|timeout| now + timeout);
        let idle = self.plan.idle.map(|idle| now + idle);
        let end = [self.plan.deadline, per_try, idle].into_iter().flatten().min();
        let sending = self.send(head, body, exchange, target);
        let Some(end) = end else { return sending.await };
        match tokio::time::timeout_at(end, sending).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                let stats = &self.cluster.shared.stats;
                if Some(end) == self.plan.deadline || Some(end) != per_try {
                    stats.rq_timeout.inc();
                    return Err(Failure::new(Kind::Timeout, None));
                }
                stats.rq_per_try_timeout.inc();
                let reason = engine::RetryReason::PerTryTimeout;
                Err(Failure::new(Kind::PerTryTimeout, Some(reason)))
            }
        }
    }

    async fn send(
        &self,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
        target: &Target,
    ) -> Result<Answer, Failure> {
        let worker = Rc::clone(&exchange.http.connection.worker);
        let local = worker.cluster(&self.cluster);
        let open = OpenRequest::new(target.host.as_ref());
        let (wire, alpn) = self.wire(head, exchange);
        let mut body = Some(body);
        let mut unsent = None;
        for stale in 0..=STALE_CONNECTIONS {
            let checkout = local.checkout(&worker, target, (wire, alpn.clone()), &head.authority);
            let mut lease = checkout.await.map_err(connect_failure)?;
            exchange.facts.upstream_local = lease.upstream().local;
            exchange.upstream_principal = lease.upstream().principal.clone();
            let request = match unsent.take() {
                Some(request) => request,
                None => {
                    let body = body.take().unwrap_or(RequestBody::Empty);
                    self.request(head, body, exchange, (&lease, target))?
                }
            };
            let since = Instant::now();
            match lease.send(request).await {
                Ok(response) if has_two_ends(&response) => return Err(protocol_error()),
                Ok(response) => return Ok(Answer { response, lease, since, _open: open }),
                Err(SendError { unsent: Some(request), .. }) if stale < STALE_CONNECTIONS => {
                    unsent = Some(*request);
                }
                Err(error) => return Err(send_failure(&error)),
            }
        }
        Err(Failure::reset(
            "connection termination",
            Flags::UPSTREAM_CONNECTION_TERMINATION,
            engine::RetryReason::ResetBeforeRequest,
        ))
    }

    /// Which HTTP version is spoken, and the ALPN names that `istio.alpn` wants offered.
    fn wire(&self, head: &Head, exchange: &Exchange) -> (Wire, Option<Alpn>) {
        use xds::UpstreamHttpProtocol as Protocol;
        let wire = match self.cluster.shared.config.http.protocol {
            _ if head.upgrade.is_some() => Wire::Http1,
            Protocol::Http1 => Wire::Http1,
            Protocol::Http2 => Wire::Http2,
            Protocol::UseDownstream if exchange.http.is_http2() => Wire::Http2,
            Protocol::UseDownstream => Wire::Http1,
            Protocol::Auto => Wire::Auto,
        };
        let wanted = if wire == Wire::Http2 {
            xds::UpstreamProtocol::Http2
        } else {
            xds::UpstreamProtocol::Http11
        };
        let overrides = head.alpn.as_ref().filter(|_| self.cluster.shared.alpn_override);
        (wire, overrides.and_then(|overrides| Alpn::new(overrides, wanted)))
    }

    /// The request as it goes out on this connection.
    fn request(
        &self,
        head: &Head,
        body: RequestBody,
        exchange: &Exchange,
        (lease, target): (&Lease, &Target),
    ) -> Result<Request<RequestBody>, Failure> {
        let authority = match target.host.as_ref().map(|host| &host.endpoint.address) {
            Some(xds::Address::Hostname { host, .. }) if self.plan.auto_host => host.clone(),
            _ => head.authority.clone(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        let map = request.headers_mut();
        map.clone_from(&head.headers);
        let worker = &exchange.http.connection.worker;
        let external = self.plan.skip_external && is_external(&self.cluster);
        if self.plan.tell_upstream && !external {
            map.insert(headers::PEER_METADATA_ID, worker.peer_id.clone());
            map.insert(headers::PEER_METADATA, worker.peer_metadata.clone());
        }
        if self.plan.count_attempts {
            map.insert(headers::ATTEMPT_COUNT, HeaderValue::from(exchange.facts.attempts));
        }
        let invalid = |_| protocol_error();
        if lease.is_http2() {
            map.remove(header::UPGRADE);
            *request.version_mut() = Version::HTTP_2;
            let built = Uri::builder()
                .scheme(if head.scheme == "https" { uri::Scheme::HTTPS } else { uri::Scheme::HTTP })
                .authority(authority)
                .path_and_query(head.path.as_str())
                .build();
            *request.uri_mut() = built.map_err(invalid)?;
        } else {
            map.remove(header::TE);
            if let Some((_, protocol)) = &head.upgrade {
                map.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                map.insert(header::UPGRADE, protocol.clone());
            }
            let host = HeaderValue::try_from(authority).map_err(|_| protocol_error())?;
            map.insert(header::HOST, host);
            // For methods that rarely have a body, the codec sends one only when it is announced.
            if !http_body::Body::is_end_stream(request.body())
                && !request.headers().contains_key(header::CONTENT_LENGTH)
                && head.upgrade.is_none()
            {
                let chunked = HeaderValue::from_static("chunked");
                request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
            }
            *request.uri_mut() =
                Uri::builder().path_and_query(head.path.as_str()).build().map_err(invalid)?;
        }
        Ok(request)
    }

    /// Tells statistics and the outlier detector how the attempt ended.
    fn record(&self, outcome: &Result<Answer, Failure>, target: &Target, exchange: &mut Exchange) {
        let stats = &self.cluster.shared.stats;
        let (result, failed) = match outcome {
            Ok(answer) => {
                let status = answer.response.status().as_u16();
                stats.completed(status);
                (engine::Outcome::Response(status), status >= 500)
            }
            Err(failure) => {
                match failure.kind {
                    Kind::NoHost | Kind::Overflow => return,
                    Kind::Reset { flag: Flags::UPSTREAM_REMOTE_RESET, .. } => {
                        stats.rq_rx_reset.inc();
                    }
                    _ => {}
                }
                stats.rq_5xx.inc();
                (engine::Outcome::LocalOriginFailure, true)
            }
        };
        let Some(host) = &target.host else { return };
        if failed {
            host.state.failed_requests.fetch_add(1, Relaxed);
        }
        let worker = &exchange.http.connection.worker;
        // The newest set of hosts is what ejections are measured by.
        let snapshot = worker.snapshot();
        let cluster = snapshot.clusters.get(&*self.cluster.shared.name).unwrap_or(&self.cluster);
        cluster.record(host, result, worker.random());
        if exchange.peer == 0
            && exchange.http.connection.direction() != xds::TrafficDirection::Inbound
            && let Some(peer) = Peer::from_endpoint(&host.endpoint.metadata)
        {
            exchange.peer = worker.istio.borrow_mut().peer(&peer);
        }
    }
}

fn protocol_error() -> Failure {
    let flag = Flags::UPSTREAM_PROTOCOL_ERROR;
    Failure::new(Kind::Reset { reason: "protocol error", flag }, None)
}

/// Whether a length and a coding both claim to say where the answer ends.
fn has_two_ends(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH)
}

fn is_external(cluster: &Cluster) -> bool {
    let metadata = &cluster.shared.config.metadata;
    match metadata.get("istio", "external") {
        Some(xds::Value::Bool(external)) => *external,
        Some(xds::Value::String(text)) => text == "true",
        _ => {
            let name = &*cluster.shared.name;
            matches!(name, "PassthroughCluster" | "BlackHoleCluster" | "InboundPassthroughCluster")
        }
    }
}
