//! What an HTTP route does besides forwarding: redirects, rewrites, retries, faults, mirrors,
//! cross-origin rules and header changes.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::virtual_service::Destination;
use crate::value::{Percent, StringMatch, duration};

/// Header changes in both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Before the request goes on.
    pub request: HeaderOperations,
    /// Before the response goes back.
    pub response: HeaderOperations,
}

/// Header changes in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// Overwrite. `Host` or `:authority` in a request rewrites the host.
    pub set: BTreeMap<String, String>,
    /// Append.
    pub add: BTreeMap<String, String>,
    /// Remove.
    pub remove: Vec<String>,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRedirect {
    /// Replaces the whole path.
    pub uri: String,
    /// Replaces the matched prefix of the path; excludes `uri`.
    pub prefix_rewrite: String,
    /// Replaces the authority.
    pub authority: String,
    /// Replaces the port; excludes `derive_port`.
    pub port: Option<u16>,
    /// How to find the port.
    pub derive_port: Option<RedirectPortSelection>,
    /// Replaces the scheme.
    pub scheme: String,
    /// 301 (when absent), 302, 303, 307 or 308.
    pub redirect_code: Option<u32>,
}

/// Where a redirect takes its port from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RedirectPortSelection {
    /// 80 for http, 443 for https.
    #[default]
    FromProtocolDefault,
    /// The port of the request.
    FromRequestPort,
}

/// An answer without a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpDirectResponse {
    /// The status code.
    pub status: u32,
    /// The body.
    pub body: Option<HttpBody>,
}

/// A body, as text or base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpBody {
    /// As text.
    pub string: Option<String>,
    /// As base64; excludes `string`.
    pub bytes: Option<String>,
}

/// Changes to what is forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRewrite {
    /// Replaces the path, or its matched prefix.
    pub uri: String,
    /// Replaces the authority.
    pub authority: String,
    /// Rewrites the path by regular expression; excludes `uri`.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A substitution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// What to find.
    #[serde(rename = "match")]
    pub pattern: String,
    /// What to put there; `\1` is the first group.
    pub rewrite: String,
}

/// Retries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRetry {
    /// How often; 0 or less: never.
    pub attempts: i32,
    /// Timeout of each try; absent: the route's.
    #[serde(deserialize_with = "duration::option")]
    pub per_try_timeout: Option<Duration>,
    /// Conditions and status codes, comma separated; empty: the default set.
    pub retry_on: String,
    /// Also try other localities.
    pub retry_remote_localities: Option<bool>,
    /// Avoid hosts that were tried; absent: true.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Base interval; absent: 25 ms.
    #[serde(deserialize_with = "duration::option")]
    pub backoff: Option<Duration>,
}

/// Faults injected at the client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFaultInjection {
    /// Wait before forwarding.
    pub delay: Option<Delay>,
    /// Answer instead of forwarding.
    pub abort: Option<Abort>,
}

/// An injected delay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delay {
    /// Deprecated whole percent.
    pub percent: Option<u32>,
    /// Share of requests.
    pub percentage: Option<Percent>,
    /// How long.
    #[serde(deserialize_with = "duration::option")]
    pub fixed_delay: Option<Duration>,
    /// Refused when validated: neither Istio nor Mizzen has it.
    #[serde(deserialize_with = "duration::option")]
    pub exponential_delay: Option<Duration>,
}

/// An injected answer: exactly one of the statuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Abort {
    /// HTTP status, 200 to 599.
    pub http_status: Option<u32>,
    /// gRPC status by its name, such as `UNAVAILABLE`.
    pub grpc_status: Option<String>,
    /// Refused when validated: neither Istio nor Mizzen has it.
    pub http2_error: Option<String>,
    /// Share of requests.
    pub percentage: Option<Percent>,
}

/// A shadow destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMirrorPolicy {
    /// Where.
    pub destination: Destination,
    /// Share of requests; absent: all.
    pub percentage: Option<Percent>,
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Deprecated: exact origins.
    pub allow_origin: Vec<String>,
    /// Origins.
    pub allow_origins: Vec<StringMatch>,
    /// `access-control-allow-methods`.
    pub allow_methods: Vec<String>,
    /// `access-control-allow-headers`.
    pub allow_headers: Vec<String>,
    /// `access-control-expose-headers`.
    pub expose_headers: Vec<String>,
    /// `access-control-max-age`, in whole seconds on the wire.
    #[serde(deserialize_with = "duration::option")]
    pub max_age: Option<Duration>,
    /// `access-control-allow-credentials`.
    pub allow_credentials: Option<bool>,
    /// What happens to preflights that match no origin.
    pub unmatched_preflights: UnmatchedPreflights,
}

/// What happens to preflights that match no allowed origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnmatchedPreflights {
    /// Not said: forward.
    #[default]
    Unspecified,
    /// Forward to the destination.
    Forward,
    /// Answer without forwarding.
    Ignore,
}
