//! Route configurations (`envoy.config.route.v3`).

use std::{collections::BTreeMap, time::Duration};

use crate::{
    FractionalPercent, HeaderMatcher, HttpFault, Metadata, Opaque, QueryParameterMatcher,
    RbacFilter, RegexMatchAndSubstitute, StringMatcher,
};

/// Virtual hosts to choose from by the request's host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteConfiguration {
    /// Its name: the resource's name.
    pub name: String,
    /// The virtual hosts; no domain stands in two of them.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Refuse the configuration when a cluster is missing.
    pub validate_clusters: bool,
    /// Match domains without the host's port.
    pub ignore_port_in_host_matching: bool,
    /// The longest direct response in bytes; none: Envoy's 4096.
    pub max_direct_response_body_size_bytes: Option<u32>,
}

/// Routes for some domains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VirtualHost {
    /// Its name, for logs and statistics.
    pub name: String,
    /// Exact names, `*.suffix`, `prefix.*` or `*`.
    pub domains: Vec<String>,
    /// Routes in order; the first match wins.
    pub routes: Vec<Route>,
    /// Answer plaintext requests with a redirect to HTTPS.
    pub require_tls: bool,
    /// Send `x-envoy-attempt-count` upstream.
    pub include_request_attempt_count: bool,
    /// Per-filter configuration by the filter's name.
    pub typed_per_filter_config: BTreeMap<String, PerFilterConfig>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Its name, for logs.
    pub name: String,
    /// Which requests it takes.
    pub route_match: RouteMatch,
    /// What it does with them.
    pub action: Action,
    /// Where it comes from (`istio`/`config`).
    pub metadata: Metadata,
    /// The operation's name in traces.
    pub operation: String,
    /// What is done to headers.
    pub headers: HeaderMutations,
    /// Per-filter configuration by the filter's name.
    pub typed_per_filter_config: BTreeMap<String, PerFilterConfig>,
}

/// Criteria on a request, all of which must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteMatch {
    /// The path.
    pub path: PathMatch,
    /// Compare exact and prefix paths with regard to case.
    pub case_sensitive: bool,
    /// Headers.
    pub headers: Vec<HeaderMatcher>,
    /// Query parameters.
    pub query_parameters: Vec<QueryParameterMatcher>,
    /// Only this share of requests; none: all.
    pub runtime_fraction: Option<FractionalPercent>,
}

impl RouteMatch {
    /// Matches every request.
    pub fn any() -> Self {
        Self::path(PathMatch::Prefix("/".to_owned()))
    }

    /// Matches by path alone.
    pub fn path(path: PathMatch) -> Self {
        Self {
            path,
            case_sensitive: true,
            headers: Vec::new(),
            query_parameters: Vec::new(),
            runtime_fraction: None,
        }
    }
}

/// How a path (without query) is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// Its beginning, as a string.
    Prefix(String),
    /// Its beginning, up to a slash or the end.
    PathSeparatedPrefix(String),
    /// The whole.
    Path(String),
    /// An RE2 expression that matches the whole.
    Regex(String),
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sends the request to a cluster.
    Route(Box<RouteAction>),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Answers by itself.
    DirectResponse(DirectResponse),
    /// Hands the request to whoever serves it in this process (proxyless servers).
    NonForwarding,
}

/// How a request is sent on (`RouteAction`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteAction {
    /// Where to.
    pub cluster: ClusterSpecifier,
    /// The status when the cluster is missing; none: 503.
    pub cluster_not_found_response_code: Option<u16>,
    /// How long the whole exchange may take; none: Envoy's 15 s; zero: forever.
    pub timeout: Option<Duration>,
    /// How long the stream may be idle; none: the connection manager's.
    pub idle_timeout: Option<Duration>,
    /// The most that `grpc-timeout` may ask for; zero: whatever it asks; none: it is ignored.
    pub grpc_timeout_header_max: Option<Duration>,
    /// When and how often failed attempts are repeated.
    pub retry_policy: Option<RetryPolicy>,
    /// Replaces the matched path prefix (the whole of an exact path).
    pub prefix_rewrite: Option<String>,
    /// Rewrites the path.
    pub regex_rewrite: Option<RegexMatchAndSubstitute>,
    /// Replaces the host.
    pub host_rewrite: HostRewrite,
    /// What consistent hashing goes by.
    pub hash_policy: Vec<HashPolicy>,
    /// Copies to send elsewhere.
    pub request_mirror_policies: Vec<MirrorPolicy>,
}

/// Where a request is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClusterSpecifier {
    /// One cluster.
    Cluster(String),
    /// One of several, by weight.
    Weighted(Vec<ClusterWeight>),
}

/// One of several clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterWeight {
    /// The cluster's name.
    pub name: String,
    /// Its share of the sum of weights.
    pub weight: u32,
    /// What is done to headers when it is chosen.
    pub headers: HeaderMutations,
    /// A host rewrite when it is chosen.
    pub host_rewrite: HostRewrite,
}

/// What becomes of the `Host` header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostRewrite {
    /// It stays.
    #[default]
    None,
    /// It becomes this.
    Literal(String),
    /// It becomes the endpoint's host name (DNS clusters).
    Auto,
}

/// When and how often failed attempts are repeated (`RetryPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RetryPolicy {
    /// Conditions, separated by commas.
    pub retry_on: String,
    /// How often; none: 1.
    pub num_retries: Option<u32>,
    /// How long an attempt may take; none: the route's timeout.
    pub per_try_timeout: Option<Duration>,
    /// Statuses for `retriable-status-codes`.
    pub retriable_status_codes: Vec<u16>,
    /// Do not choose endpoints that were tried (`previous_hosts`).
    pub avoid_previous_hosts: bool,
    /// How often an endpoint is chosen anew for that; zero: Envoy's 1.
    pub host_selection_retry_max_attempts: i64,
    /// The wait before the first retry and the longest wait; none: 25 ms and ten times that.
    pub back_off: Option<RetryBackOff>,
}

/// Waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryBackOff {
    /// The base of the exponential.
    pub base_interval: Duration,
    /// The longest; none: ten times the base.
    pub max_interval: Option<Duration>,
}

/// What consistent hashing goes by (`RouteAction.HashPolicy`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashPolicy {
    /// A header's value.
    Header(String),
    /// A cookie's value; with a lifetime it is made when absent (zero: a session cookie).
    Cookie {
        /// The cookie's name.
        name: String,
        /// Its path.
        path: String,
        /// How long it lives; none: it is not made.
        ttl: Option<Duration>,
        /// More attributes of one that is made, by name; without a value the name alone.
        attributes: Vec<(String, String)>,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter's value.
    QueryParameter(String),
}

/// A copy to send elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MirrorPolicy {
    /// The cluster.
    pub cluster: String,
    /// Which share of requests; none: all.
    pub runtime_fraction: Option<FractionalPercent>,
    /// Leave the host as it is, without the suffix `-shadow`.
    pub disable_shadow_host_suffix: bool,
}

/// A redirect (`RedirectAction`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Redirect {
    /// The new scheme; empty: the same.
    pub scheme: String,
    /// The new host; empty: the same.
    pub host: String,
    /// The new port; none: the same.
    pub port: Option<u16>,
    /// The new path.
    pub path: RedirectPath,
    /// 301, 302, 303, 307 or 308.
    pub response_code: u16,
    /// Drop the query.
    pub strip_query: bool,
}

/// What becomes of the path of a redirect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum RedirectPath {
    /// It stays.
    #[default]
    Keep,
    /// It becomes this.
    Full(String),
    /// The matched prefix becomes this.
    Prefix(String),
}

/// An answer without an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DirectResponse {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// What is done to headers on the way there and back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeaderMutations {
    /// Added to or set in the request.
    pub request_add: Vec<HeaderValueOption>,
    /// Removed from the request.
    pub request_remove: Vec<String>,
    /// Added to or set in the response.
    pub response_add: Vec<HeaderValueOption>,
    /// Removed from the response.
    pub response_remove: Vec<String>,
}

/// A header to add or to set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderValueOption {
    /// The name.
    pub name: String,
    /// The value, which may hold command operators such as `%REQ(x)%`.
    pub value: String,
    /// Replace what is there, instead of appending.
    pub overwrite: bool,
}

/// A filter's configuration on a virtual host or route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PerFilterConfig {
    /// For the fault filter.
    Fault(HttpFault),
    /// For the RBAC filter; none: it is off here.
    Rbac(Option<RbacFilter>),
    /// For the CORS filter.
    Cors(CorsPolicy),
    /// For one that Mizzen does not know; a proxy of ours refuses it.
    Opaque(Opaque),
}

/// Cross-origin resource sharing (`CorsPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CorsPolicy {
    /// Origins that are allowed.
    pub allow_origin: Vec<StringMatcher>,
    /// `access-control-allow-methods`.
    pub allow_methods: String,
    /// `access-control-allow-headers`.
    pub allow_headers: String,
    /// `access-control-expose-headers`.
    pub expose_headers: String,
    /// `access-control-max-age`.
    pub max_age: String,
    /// `access-control-allow-credentials`; none: not sent.
    pub allow_credentials: Option<bool>,
    /// Send preflights of origins that are not allowed upstream; none: Envoy's true.
    pub forward_not_matching_preflights: Option<bool>,
}
