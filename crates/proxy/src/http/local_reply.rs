//! Answers that the proxy gives by itself, with the words that Envoy uses.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{body::ResponseBody, exchange::Exchange, response};
use crate::flags::Flags;

/// An answer of the proxy's own.
#[derive(Debug)]
pub(super) struct LocalReply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) flags: Flags,
    pub(super) details: Cow<'static, str>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// gRPC's status where it does not follow from the HTTP status.
    pub(super) grpc_status: Option<u32>,
}

impl LocalReply {
    pub(super) fn new(status: StatusCode, body: &'static str, details: &'static str) -> Self {
        Self {
            status,
            body: Bytes::from_static(body.as_bytes()),
            flags: Flags::default(),
            details: Cow::Borrowed(details),
            headers: Vec::new(),
            grpc_status: None,
        }
    }

    #[must_use]
    pub(super) fn flag(mut self, flag: Flags) -> Self {
        self.flags = flag;
        self
    }

    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 400 for a request that breaks the rules of HTTP.
    pub(super) fn bad_request(details: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad Request", details)
            .flag(Flags::DOWNSTREAM_PROTOCOL_ERROR)
    }

    /// An answer to a request whose end or meaning is not sure; nothing more is read from its
    /// connection.
    pub(super) fn broken(status: StatusCode, body: &'static str, details: &'static str) -> Self {
        Self::new(status, body, details)
            .flag(Flags::DOWNSTREAM_PROTOCOL_ERROR)
            .header(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// 404 without a body: no route.
    pub(super) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "", "route_not_found").flag(Flags::NO_ROUTE)
    }

    /// 503 without a body (or the route's status): the route's cluster does not exist.
    pub(super) fn no_cluster(status: Option<u16>) -> Self {
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        Self::new(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), "", "cluster_not_found")
            .flag(Flags::NO_CLUSTER)
    }

    /// 503: no host of the cluster may take the request.
    pub(super) fn no_healthy_upstream() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream", "no_healthy_upstream")
            .flag(Flags::NO_HEALTHY_UPSTREAM)
    }

    /// 504: the route's time is over.
    pub(super) fn timeout(details: &'static str) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", details)
            .flag(Flags::UPSTREAM_REQUEST_TIMEOUT)
    }

    /// 403: a policy does not let it pass.
    pub(super) fn rbac_denied(policy: Option<&str>) -> Self {
        let mut reply = Self::new(StatusCode::FORBIDDEN, "RBAC: access denied", "");
        let policy = policy.unwrap_or("none");
        reply.details = format!("rbac_access_denied_matched_policy[{policy}]").into();
        reply
    }

    /// 503: a circuit breaker is open.
    pub(super) fn overflow() -> Self {
        let mut reply = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream connect error or disconnect/reset before headers. reset reason: overflow",
            "upstream_reset_before_response_started{overflow}",
        )
        .flag(Flags::UPSTREAM_OVERFLOW);
        reply.headers.push((
            HeaderName::from_static("x-envoy-overloaded"),
            HeaderValue::from_static("true"),
        ));
        reply
    }

    /// The answer, with what every answer has.
    pub(super) fn into_response(self, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
        exchange.facts.flags.insert(self.flags);
        exchange.facts.details = self.details.clone();
        let mut response = if exchange.grpc { self.grpc_response() } else { self.plain_response() };
        // What the route says of the body's type goes before what is said by default.
        if self.headers.iter().any(|(name, _)| name == header::CONTENT_TYPE) {
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        let line = exchange.facts.request.as_ref();
        let head_only = line.is_some_and(|line| line.method == http::Method::HEAD);
        let body = if exchange.grpc || head_only { Bytes::new() } else { self.body };
        response::finish(&mut exchange, &mut response);
        let (parts, ()) = response.into_parts();
        Response::from_parts(parts, ResponseBody::full(body, exchange))
    }

    fn plain_response(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if !self.body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        response
    }

    /// gRPC's answers carry their status in a header and are always 200.
    fn grpc_response(&self) -> Response<()> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let status = self.grpc_status.unwrap_or_else(|| grpc_status_of(self.status));
        headers.insert("grpc-status", HeaderValue::from(status));
        if !self.body.is_empty() {
            let message = percent_encode(&self.body);
            if let Ok(message) = HeaderValue::from_str(&message) {
                headers.insert("grpc-message", message);
            }
        }
        response
    }
}

/// gRPC's mapping of HTTP statuses (`doc/http-grpc-status-mapping.md`).
fn grpc_status_of(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `grpc-message` is percent-encoded (gRPC over HTTP/2).
fn percent_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'%' => out.push(char::from(*byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
