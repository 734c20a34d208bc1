//! EnvoyFilter: changes to what a proxy is sent, in Envoy's own terms. The values are kept as they
//! are written; what they mean is known where the proxies' messages are.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{label::WorkloadSelector, security::PolicyTargetReference, value::Unsupported};

/// `networking.istio.io` EnvoyFilter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilter {
    /// The workloads of the namespace (of all namespaces, in the root namespace); absent: all.
    pub workload_selector: Option<EnvoyFilterSelector>,
    /// Gateways or services of the Gateway API in place of the selector.
    pub target_refs: Vec<PolicyTargetReference>,
    /// The patches, in the order of their application.
    pub config_patches: Vec<EnvoyConfigObjectPatch>,
    /// Smaller ones are applied first.
    pub priority: i32,
}

/// The selector of an EnvoyFilter; `labels`, unlike that of the policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilterSelector {
    /// Labels that a workload must have, all of them.
    pub labels: BTreeMap<String, String>,
}

impl EnvoyFilterSelector {
    /// Whether a workload with `labels` is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        WorkloadSelector { match_labels: self.labels.clone() }.matches(labels)
    }
}

/// One patch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyConfigObjectPatch {
    /// What is changed.
    pub apply_to: ApplyTo,
    /// Which of them.
    #[serde(rename = "match")]
    pub matches: EnvoyFilterMatch,
    /// How.
    pub patch: EnvoyFilterPatch,
}

/// What a patch changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ApplyTo {
    /// Not said.
    #[default]
    Invalid,
    /// Listeners.
    Listener,
    /// Filter chains.
    FilterChain,
    /// Network filters.
    NetworkFilter,
    /// HTTP filters.
    HttpFilter,
    /// Route configurations.
    RouteConfiguration,
    /// Virtual hosts.
    VirtualHost,
    /// Routes.
    HttpRoute,
    /// Clusters.
    Cluster,
    /// Extensions that are discovered on their own.
    ExtensionConfig,
    /// The proxy's bootstrap.
    Bootstrap,
    /// Listener filters.
    ListenerFilter,
}

/// On which side of which proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PatchContext {
    /// All.
    #[default]
    Any,
    /// Into a sidecar's workload.
    SidecarInbound,
    /// Out of it.
    SidecarOutbound,
    /// Gateways.
    Gateway,
    /// Waypoints.
    Waypoint,
}

/// What must hold for a patch to be applied; what is absent always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilterMatch {
    /// Side and proxy.
    pub context: PatchContext,
    /// The proxy's version and metadata.
    pub proxy: Option<ProxyMatch>,
    /// The listener and what is inside of it.
    pub listener: Option<EnvoyListenerMatch>,
    /// The route configuration and what is inside of it.
    pub route_configuration: Option<EnvoyRouteConfigurationMatch>,
    /// The cluster.
    pub cluster: Option<EnvoyClusterMatch>,
    /// Waypoints.
    pub waypoint: Option<Unsupported>,
}

/// What is asked of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyMatch {
    /// A regular expression for its version.
    pub proxy_version: String,
    /// Of its node metadata, all of these.
    pub metadata: BTreeMap<String, String>,
}

/// What is asked of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyListenerMatch {
    /// The service's port (a gateway's own).
    pub port_number: u16,
    /// Not used by Istio either.
    pub port_name: Option<Unsupported>,
    /// A filter chain.
    pub filter_chain: Option<EnvoyFilterChainMatch>,
    /// A listener filter's name.
    pub listener_filter: String,
    /// The listener's name.
    pub name: String,
}

/// What is asked of a filter chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilterChainMatch {
    /// Its name.
    pub name: String,
    /// A server name.
    pub sni: String,
    /// `raw_buffer` or `tls`.
    pub transport_protocol: String,
    /// Names with commas between them; one must be among the chain's.
    pub application_protocols: String,
    /// A network filter.
    pub filter: Option<EnvoyFilterNameMatch>,
    /// The chain's destination port.
    pub destination_port: u16,
}

/// A network filter and an HTTP filter inside of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilterNameMatch {
    /// The network filter's name.
    pub name: String,
    /// The HTTP filter.
    pub sub_filter: Option<EnvoySubFilterMatch>,
}

/// An HTTP filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoySubFilterMatch {
    /// Its name.
    pub name: String,
}

/// What is asked of a route configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyRouteConfigurationMatch {
    /// The port that it is for.
    pub port_number: u16,
    /// Of a gateway: the port's name.
    pub port_name: String,
    /// The Gateway, as `namespace/name`.
    pub gateway: String,
    /// A virtual host.
    pub vhost: Option<EnvoyVirtualHostMatch>,
    /// Its name.
    pub name: String,
}

/// What is asked of a virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyVirtualHostMatch {
    /// Its name.
    pub name: String,
    /// One of its domains.
    pub domain_name: String,
    /// A route.
    pub route: Option<EnvoyRouteMatch>,
}

/// What is asked of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyRouteMatch {
    /// Its name.
    pub name: String,
    /// What it does.
    pub action: EnvoyRouteAction,
}

/// What a route does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EnvoyRouteAction {
    /// Anything.
    #[default]
    Any,
    /// It goes to clusters.
    Route,
    /// It redirects.
    Redirect,
    /// It answers itself.
    DirectResponse,
}

/// What is asked of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyClusterMatch {
    /// The service's port; an inbound cluster's: the workload's.
    pub port_number: u16,
    /// The service's host name.
    pub service: String,
    /// The subset.
    pub subset: String,
    /// The whole name; nothing else counts then.
    pub name: String,
}

/// The change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilterPatch {
    /// The operation.
    pub operation: PatchOperation,
    /// A message of the type that the patch applies to, or a part of one, in protobuf's JSON form.
    pub value: Option<serde_json::Value>,
    /// Where an added filter goes.
    pub filter_class: FilterClass,
}

/// What is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PatchOperation {
    /// Not said.
    #[default]
    Invalid,
    /// By protobuf's merge; lists grow.
    Merge,
    /// Adds.
    Add,
    /// Takes away.
    Remove,
    /// Inserts before what matches.
    InsertBefore,
    /// Inserts after what matches.
    InsertAfter,
    /// Inserts at the beginning.
    InsertFirst,
    /// Puts another in the place of what matches.
    Replace,
    /// As MERGE, but lists are replaced.
    MergeAndReplaceList,
}

/// Where an added filter goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FilterClass {
    /// Mizzen chooses.
    #[default]
    Unspecified,
    /// After authentication.
    Authn,
    /// After authorization.
    Authz,
    /// Before metrics.
    Stats,
}
