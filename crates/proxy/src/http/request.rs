//! A request from its head to the router: it is checked, put into one form that every later part
//! sees alike, and taken through the filters.

use std::{net::SocketAddr, rc::Rc};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts,
    uri::PathAndQuery,
};
use hyper::{body::Incoming, upgrade::OnUpgrade};

use super::{
    body::ResponseBody, codec::HttpConnection, edge, exchange::Exchange, filters, headers,
    local_reply::LocalReply, router, upgrade,
};
use crate::facts::RequestLine;

/// The most headers of a request; Envoy's default `max_headers_count`.
const MAX_HEADERS: usize = 100;

/// A request's head in the form in which everything looks at it.
pub(super) struct Head {
    pub(super) method: Method,
    /// Path and query, normalised.
    pub(super) path: String,
    pub(super) authority: String,
    pub(super) scheme: &'static str,
    pub(super) headers: http::HeaderMap,
    pub(super) http2: bool,
    /// The client, as trusted headers tell.
    pub(super) remote: SocketAddr,
    /// The other end of an upgrade, and its protocol.
    pub(super) upgrade: Option<(OnUpgrade, HeaderValue)>,
    /// The upstream's ALPN names, if a filter chose them.
    pub(super) alpn: Option<std::sync::Arc<[xds::AlpnOverride]>>,
    /// The request's origin for CORS, if it is allowed.
    pub(super) cors: super::cors::State,
    /// Whether a peer told who it is, and so wants to know who we are.
    pub(super) tell_peer: bool,
}

impl Head {
    /// The form that the engine looks at.
    pub(super) fn info(&self) -> engine::RequestInfo<'_> {
        engine::RequestInfo {
            authority: &self.authority,
            path: &self.path,
            method: self.method.as_str(),
            scheme: self.scheme,
            headers: &self.headers,
        }
    }

    /// The form that logs show.
    pub(super) fn line(&self) -> RequestLine {
        RequestLine {
            method: self.method.clone(),
            path: self.path.clone(),
            authority: self.authority.clone(),
            scheme: self.scheme,
            protocol: if self.http2 { "HTTP/2" } else { "HTTP/1.1" },
        }
    }
}

/// Serves one request.
pub(super) async fn handle(
    http: Rc<HttpConnection>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    http.on_request();
    let mut exchange = Exchange::new(&http);
    let (mut head, body) = match read(&http, request) {
        Ok(read) => read,
        Err(refusal) => {
            let (reply, line) = *refusal;
            exchange.facts.request = Some(line);
            return reply.into_response(exchange);
        }
    };
    exchange.facts.remote = head.remote;
    exchange.on_request(head.line(), &head.headers);
    let worker = Rc::clone(&http.connection.worker);
    let snapshot = worker.snapshot();
    let decision = http
        .manager
        .routes(&snapshot)
        .and_then(|routes| routes.route(&head.info(), worker.random()));
    name_route(&mut exchange, decision.as_ref(), &snapshot);
    if let Err(reply) = filters::run(&mut head, decision.as_ref(), &mut exchange).await {
        return reply.into_response(exchange);
    }
    router::route(head, body, decision, &snapshot, exchange).await
}

/// Takes note of where the request would go, so that the log of a refusal shows it too.
fn name_route(
    exchange: &mut Exchange,
    decision: Option<&engine::RouteDecision<'_>>,
    snapshot: &crate::snapshot::Snapshot,
) {
    let Some(route) = decision.and_then(|decision| decision.route) else { return };
    exchange.facts.route_name.clone_from(&route.config.name);
    if let xds::Action::Route(action) = &route.config.action
        && let xds::ClusterSpecifier::Cluster(name) = &action.cluster
        && let Some(cluster) = snapshot.clusters.get(name.as_str())
    {
        exchange.facts.upstream_cluster = Some(std::sync::Arc::clone(&cluster.shared.name));
    }
}

/// What is answered to a request that cannot be read, and what can be logged of it.
type Refusal = (LocalReply, RequestLine);

fn read(
    http: &HttpConnection,
    mut request: Request<Incoming>,
) -> Result<(Head, Incoming), Box<Refusal>> {
    let upgrade = upgrade::wanted(&mut request);
    let (parts, body) = request.into_parts();
    let line = RequestLine {
        method: parts.method.clone(),
        path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        authority: String::new(),
        scheme: "http",
        protocol: if http.is_http2() { "HTTP/2" } else { "HTTP/1.1" },
    };
    match head(http, parts, upgrade) {
        Ok(head) => Ok((head, body)),
        Err(reply) => Err(Box::new((*reply, line))),
    }
}

fn head(
    http: &HttpConnection,
    parts: Parts,
    upgrade: Option<(OnUpgrade, HeaderValue)>,
) -> Result<Head, Box<LocalReply>> {
    let config = &http.manager.engine.config;
    let connection = &http.connection;
    if parts.version < Version::HTTP_11 && !config.accept_http_10 {
        let status = StatusCode::UPGRADE_REQUIRED;
        return Err(Box::new(LocalReply::new(status, "Upgrade Required", "low_version")));
    }
    let too_many = parts.headers.len() > MAX_HEADERS;
    if too_many || headers::size(&parts.headers) > http.manager.max_header_bytes {
        return Err(Box::new(LocalReply::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Request Header Fields Too Large",
            "request_headers_too_large",
        )));
    }
    framing(&parts)?;
    plain_line(http, &parts)?;
    let authority = authority(&parts, config.strip_any_host_port)?;
    let path = path(http, &parts)?;
    let upgrade = match upgrade {
        Some((end, protocol)) if upgrade::is_allowed(config, &protocol) => Some((end, protocol)),
        Some((_, protocol)) if upgrade::is_ignored(&protocol) => None,
        Some(_) => {
            let status = StatusCode::FORBIDDEN;
            return Err(Box::new(LocalReply::new(status, "", "upgrade_failed")));
        }
        None => None,
    };
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    headers.remove(header::EXPECT);
    if http.is_http2() {
        headers::join_cookies(&mut headers);
    }
    headers::remove_hop_by_hop(&mut headers, upgrade.is_some());
    let scheme = if connection.tls.is_some() { "https" } else { "http" };
    let mut head = Head {
        method: parts.method,
        path,
        authority,
        scheme,
        headers,
        http2: http.is_http2(),
        remote: connection.remote,
        upgrade,
        alpn: None,
        cors: super::cors::State::default(),
        tell_peer: false,
    };
    edge::apply(http, &mut head);
    Ok(head)
}

/// Refuses codings other than `chunked`, which nothing here undoes (RFC 9112, section 6.1). A length
/// beside `chunked` was dropped by the codec.
fn framing(parts: &Parts) -> Result<(), Box<LocalReply>> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
        return Err(Box::new(LocalReply::broken(
            StatusCode::NOT_IMPLEMENTED,
            "Not Implemented",
            "http1.invalid_transfer_encoding",
        )));
    }
    Ok(())
}

/// Refuses methods in lower case, which a server may take for the ones in upper case; paths with
/// bytes that do not belong into them; and schemes that the connection does not have.
fn plain_line(http: &HttpConnection, parts: &Parts) -> Result<(), Box<LocalReply>> {
    let path = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    let odd_method = parts.method.as_str().bytes().any(|byte| byte.is_ascii_lowercase());
    let broken = |status, body, details| Err(Box::new(LocalReply::broken(status, body, details)));
    if odd_method || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return broken(StatusCode::BAD_REQUEST, "Bad Request", "http1.codec_error");
    }
    match parts.uri.scheme_str() {
        _ if http.is_http2() => Ok(()),
        None | Some("http") => Ok(()),
        Some("https") if http.connection.tls.is_some() => Ok(()),
        Some("https") => {
            let details = "http1.https_url_on_plaintext_connection";
            broken(StatusCode::FORBIDDEN, "Forbidden", details)
        }
        Some(_) => broken(StatusCode::BAD_REQUEST, "Bad Request", "http1.invalid_scheme"),
    }
}

/// The one host that the request names (RFC 9112, section 3.2; RFC 9113, section 8.3.1).
fn authority(parts: &Parts, strip_port: bool) -> Result<String, Box<LocalReply>> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Box::new(LocalReply::bad_request("multiple_host_headers")));
    }
    let text = match (parts.uri.authority(), host) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => {
            host.to_str().map_err(|_| Box::new(LocalReply::bad_request("invalid_host")))?
        }
        (None, None) if parts.version == Version::HTTP_10 => "",
        (None, None) => return Err(Box::new(no_words("missing_host_header"))),
    };
    if !text.bytes().all(is_host_byte) || (text.is_empty() && parts.version != Version::HTTP_10) {
        return Err(Box::new(LocalReply::bad_request("invalid_host")));
    }
    let text = if strip_port { without_port(text) } else { text };
    Ok(text.to_owned())
}

/// What may stand in a host and port (RFC 3986, section 3.2.2), without user information.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// 400 as the connection manager gives it, without words.
fn no_words(details: &'static str) -> LocalReply {
    LocalReply::new(StatusCode::BAD_REQUEST, "", details)
        .header(header::CONNECTION, HeaderValue::from_static("close"))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

fn path(http: &HttpConnection, parts: &Parts) -> Result<String, Box<LocalReply>> {
    let raw = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    if parts.method == Method::CONNECT {
        return Ok(String::new());
    }
    match engine::path::normalize(raw, http.manager.engine.normalization) {
        Ok(engine::path::Normalized::Path(path)) => Ok(path.into_owned()),
        Ok(engine::path::Normalized::Redirect(path)) => {
            let mut reply =
                LocalReply::new(StatusCode::TEMPORARY_REDIRECT, "", "path_normalization_redirect");
            if let Ok(location) = HeaderValue::from_str(&path) {
                reply = reply.header(header::LOCATION, location);
            }
            Err(Box::new(reply))
        }
        Err(_) => Err(Box::new(no_words("path_normalization_failed"))),
    }
}
