//! VirtualService: hosts, and the routes that calls to them take.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::route_policy::{
    CorsPolicy, Headers, HttpDirectResponse, HttpFaultInjection, HttpMirrorPolicy, HttpRedirect,
    HttpRetry, HttpRewrite,
};
use crate::value::{Percent, StringMatch, duration};

/// `networking.istio.io` VirtualService.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// DNS names, `*.` wildcards or (behind a gateway) IP addresses. Empty: this is a delegate.
    pub hosts: Vec<String>,
    /// `mesh`, `name` or `namespace/name`. Empty means `["mesh"]`: see [`Self::gateways_or_mesh`].
    pub gateways: Vec<String>,
    /// Routes for HTTP, HTTP/2 and gRPC, first match first.
    pub http: Vec<HttpRoute>,
    /// Routes for TLS that is passed through, by SNI.
    pub tls: Vec<TlsRoute>,
    /// Routes for all else.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that may see it; empty means the mesh's default.
    pub export_to: Vec<String>,
}

impl VirtualService {
    /// The gateways, with the default `mesh` when none is named.
    #[must_use]
    pub fn gateways_or_mesh(&self) -> Vec<&str> {
        if self.gateways.is_empty() {
            return vec!["mesh"];
        }
        self.gateways.iter().map(String::as_str).collect()
    }

    /// Whether it is bound to sidecars.
    #[must_use]
    pub fn applies_to_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|gateway| gateway == "mesh")
    }

    /// Whether other VirtualServices delegate to it (it names no host of its own).
    #[must_use]
    pub fn is_delegate(&self) -> bool {
        self.hosts.is_empty()
    }
}

/// One HTTP rule: what it matches and what then happens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// The route's name, in access logs.
    pub name: String,
    /// Any of these; empty matches all.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatchRequest>,
    /// Where it goes, by weight. One of this, `redirect`, `direct_response`, `delegate`.
    pub route: Vec<HttpRouteDestination>,
    /// Answer with a redirect.
    pub redirect: Option<HttpRedirect>,
    /// Answer at once.
    pub direct_response: Option<HttpDirectResponse>,
    /// Go on in another VirtualService.
    pub delegate: Option<Delegate>,
    /// Change the path or authority before forwarding.
    pub rewrite: Option<HttpRewrite>,
    /// Whole request's timeout; absent or 0: none.
    #[serde(deserialize_with = "duration::option")]
    pub timeout: Option<Duration>,
    /// Retries; absent: the mesh's default.
    pub retries: Option<HttpRetry>,
    /// Faults to inject.
    pub fault: Option<HttpFaultInjection>,
    /// One shadow destination (older form, excludes `mirrors`).
    pub mirror: Option<Destination>,
    /// Shadow destinations.
    pub mirrors: Vec<HttpMirrorPolicy>,
    /// Deprecated whole percent for `mirror`.
    #[serde(alias = "mirror_percent")]
    pub mirror_percent: Option<u32>,
    /// Share of requests for `mirror`; absent: all.
    pub mirror_percentage: Option<Percent>,
    /// Cross-origin policy.
    pub cors_policy: Option<CorsPolicy>,
    /// Header changes for all destinations of the rule.
    pub headers: Option<Headers>,
}

/// One block of conditions, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatchRequest {
    /// Appended to the route's name.
    pub name: String,
    /// The path (without query).
    pub uri: Option<StringMatch>,
    /// `http` or `https`.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The authority (Host).
    pub authority: Option<StringMatch>,
    /// Headers by name.
    pub headers: BTreeMap<String, StringMatch>,
    /// The listener's (service's) port.
    pub port: Option<u16>,
    /// Only for clients with these labels (chosen by the control plane).
    pub source_labels: BTreeMap<String, String>,
    /// Overrides the VirtualService's gateways.
    pub gateways: Vec<String>,
    /// Query parameters by name.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Compare `uri` (exact and prefix) without case.
    pub ignore_uri_case: bool,
    /// Headers that must not match.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Only for clients of this namespace.
    pub source_namespace: String,
    /// Prefix of the route's statistics.
    pub stat_prefix: String,
}

/// A weighted HTTP destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteDestination {
    /// Where.
    pub destination: Destination,
    /// Share among the rule's destinations; ignored when there is only one.
    pub weight: u32,
    /// Header changes for this destination.
    pub headers: Option<Headers>,
}

/// A weighted TCP or TLS destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteDestination {
    /// Where.
    pub destination: Destination,
    /// Share among the rule's destinations; ignored when there is only one.
    pub weight: u32,
}

/// A service, with its subset and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// A host of the registry; a short name is resolved in the rule's namespace.
    pub host: String,
    /// A subset of the host's DestinationRule; empty: none.
    pub subset: String,
    /// The port; absent: the service's only one, or the listener's.
    pub port: Option<PortSelector>,
}

/// A port by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// The service's port.
    pub number: u16,
}

/// Another VirtualService (without hosts) that holds the routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace; empty: the root VirtualService's.
    pub namespace: String,
}

/// One TLS rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// Any of these; required.
    #[serde(rename = "match")]
    pub matches: Vec<TlsMatchAttributes>,
    /// Where it goes.
    pub route: Vec<RouteDestination>,
}

/// Conditions on a TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsMatchAttributes {
    /// Server names; each must be covered by the VirtualService's hosts.
    pub sni_hosts: Vec<String>,
    /// Destination addresses, IP or CIDR.
    pub destination_subnets: Vec<String>,
    /// The port.
    pub port: Option<u16>,
    /// Only for clients with these labels.
    pub source_labels: BTreeMap<String, String>,
    /// Overrides the VirtualService's gateways.
    pub gateways: Vec<String>,
    /// Only for clients of this namespace.
    pub source_namespace: String,
}

/// One TCP rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// Any of these; empty matches all.
    #[serde(rename = "match")]
    pub matches: Vec<L4MatchAttributes>,
    /// Where it goes.
    pub route: Vec<RouteDestination>,
}

/// Conditions on a TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L4MatchAttributes {
    /// Destination addresses, IP or CIDR.
    pub destination_subnets: Vec<String>,
    /// The port.
    pub port: Option<u16>,
    /// Ignored, as in Istio.
    pub source_subnet: String,
    /// Only for clients with these labels.
    pub source_labels: BTreeMap<String, String>,
    /// Overrides the VirtualService's gateways.
    pub gateways: Vec<String>,
    /// Only for clients of this namespace.
    pub source_namespace: String,
}
