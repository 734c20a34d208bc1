//! The HTTP connection manager (`envoy.extensions.filters.network.http_connection_manager.v3`).

use std::time::Duration;

use crate::{AccessLog, HttpFilter, RouteConfiguration};

/// Speaks HTTP on a connection, runs HTTP filters and routes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpConnectionManager {
    /// Prefix of its statistics.
    pub stat_prefix: String,
    /// Which HTTP version clients speak.
    pub codec_type: CodecType,
    /// Where its routes come from.
    pub route_specifier: RouteSpecifier,
    /// HTTP filters in order; the last one is the router.
    pub http_filters: Vec<HttpFilter>,
    /// Where finished requests are logged.
    pub access_log: Vec<AccessLog>,
    /// Take the client's address from the connection and append it to `x-forwarded-for`.
    pub use_remote_address: bool,
    /// How many proxies in front are trusted to have set `x-forwarded-for`.
    pub xff_num_trusted_hops: u32,
    /// What happens to `x-forwarded-client-cert`.
    pub forward_client_cert: ForwardClientCert,
    /// What an added `x-forwarded-client-cert` element tells.
    pub client_cert_details: ClientCertDetails,
    /// The `server` header of responses; empty: `envoy`.
    pub server_name: String,
    /// What happens to the `server` header.
    pub server_header: ServerHeader,
    /// Normalise paths (RFC 3986: dot segments, unreserved escapes) before anything reads them.
    pub normalize_path: bool,
    /// Fold repeated slashes of paths.
    pub merge_slashes: bool,
    /// What happens to `%2F` and `%5C` in paths.
    pub escaped_slashes: EscapedSlashes,
    /// Make an `x-request-id` when there is none.
    pub generate_request_id: bool,
    /// Use the request id that a trusted client sent (`always_set…` and `preserve…` are false).
    pub preserve_external_request_id: bool,
    /// How long a stream may be idle; none: Envoy's 5 min; zero: forever.
    pub stream_idle_timeout: Option<Duration>,
    /// How long the whole request may take to arrive; none or zero: no limit.
    pub request_timeout: Option<Duration>,
    /// How long a request's headers may take to arrive; none or zero: no limit.
    pub request_headers_timeout: Option<Duration>,
    /// How long connections may be idle; none: Envoy's 1 h; zero: forever.
    pub idle_timeout: Option<Duration>,
    /// How long connections live at most; none: no limit.
    pub max_connection_duration: Option<Duration>,
    /// How many requests a connection takes; none: no limit.
    pub max_requests_per_connection: Option<u32>,
    /// The most header bytes of a request, in KiB; none: Envoy's 60.
    pub max_request_headers_kb: Option<u32>,
    /// How many streams an HTTP/2 client may open; none: Envoy's default.
    pub max_concurrent_streams: Option<u32>,
    /// Upgrades that pass, such as `websocket`.
    pub upgrade_types: Vec<String>,
    /// Send `100 Continue` of the upstream on, instead of answering it here.
    pub proxy_100_continue: bool,
    /// Take HTTP/1.0 requests.
    pub accept_http_10: bool,
    /// Ignore the port in a `Host` header's domain when virtual hosts are matched and strip it.
    pub strip_any_host_port: bool,
}

/// Which HTTP version clients speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CodecType {
    /// As ALPN or the first bytes say.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Where routes come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteSpecifier {
    /// A route configuration of this name, over ADS.
    Rds(String),
    /// Given here.
    Inline(Box<RouteConfiguration>),
}

/// What happens to `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForwardClientCert {
    /// Removed.
    #[default]
    Sanitize,
    /// Kept when the connection is mutual TLS.
    ForwardOnly,
    /// Appended to when the connection is mutual TLS.
    AppendForward,
    /// Replaced when the connection is mutual TLS, else removed.
    SanitizeSet,
    /// Kept always.
    AlwaysForwardOnly,
}

/// What an added `x-forwarded-client-cert` element tells besides `By` and `Hash`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientCertDetails {
    /// The subject.
    pub subject: bool,
    /// The certificate in PEM, URL encoded.
    pub cert: bool,
    /// The chain in PEM, URL encoded.
    pub chain: bool,
    /// DNS names.
    pub dns: bool,
    /// URI names.
    pub uri: bool,
}

/// What happens to the `server` header of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServerHeader {
    /// Replaced.
    #[default]
    Overwrite,
    /// Added when absent.
    AppendIfAbsent,
    /// Left alone.
    PassThrough,
}

/// What happens to escaped slashes of paths (`PathWithEscapedSlashesAction`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EscapedSlashes {
    /// Kept.
    #[default]
    Keep,
    /// The request is refused with 400.
    Reject,
    /// Unescaped, and the client redirected (307) to the result.
    UnescapeAndRedirect,
    /// Unescaped, and the request goes on.
    UnescapeAndForward,
}
