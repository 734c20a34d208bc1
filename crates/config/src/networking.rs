//! The API group `networking.istio.io`: VirtualService, DestinationRule, Gateway, ServiceEntry,
//! WorkloadEntry, WorkloadGroup and Sidecar, with Istio's names and full field sets. Defaults that are not a type's own are said at the field.

mod destination_rule;
mod envoy_filter;
mod gateway;
mod load_balancer;
mod proxy_config;
mod route_policy;
mod service_entry;
mod sidecar;
mod virtual_service;
mod workload_entry;

pub use destination_rule::{
    ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, DestinationRule, H2UpgradePolicy,
    Http2KeepAlive, HttpSettings, OutlierDetection, PortTrafficPolicy, ProxyProtocol,
    ProxyProtocolVersion, RetryBudget, Subset, TcpKeepalive, TcpSettings, TrafficPolicy,
    TunnelSettings,
};
pub use envoy_filter::{
    ApplyTo, EnvoyClusterMatch, EnvoyConfigObjectPatch, EnvoyFilter, EnvoyFilterChainMatch,
    EnvoyFilterMatch, EnvoyFilterNameMatch, EnvoyFilterPatch, EnvoyFilterSelector,
    EnvoyListenerMatch, EnvoyRouteAction, EnvoyRouteConfigurationMatch, EnvoyRouteMatch,
    EnvoySubFilterMatch, EnvoyVirtualHostMatch, FilterClass, PatchContext, PatchOperation,
    ProxyMatch,
};
pub use gateway::{
    Gateway, Port, Server, ServerTlsMode, ServerTlsSettings, TlsCertificate, TlsProtocol,
};
pub use load_balancer::{
    Aggression, ConsistentHashLb, CookieAttribute, Distribute, Failover, HttpCookie,
    LoadBalancerSettings, LocalityLoadBalancerSetting, MagLev, RingHash, SimpleLb,
    WarmupConfiguration, ZoneAwareLoadBalancerSetting,
};
pub use proxy_config::{ProxyConfig, ProxyImage};
pub use route_policy::{
    Abort, CorsPolicy, Delay, HeaderOperations, Headers, HttpBody, HttpDirectResponse,
    HttpFaultInjection, HttpMirrorPolicy, HttpRedirect, HttpRetry, HttpRewrite,
    RedirectPortSelection, RegexRewrite, UnmatchedPreflights,
};
pub use service_entry::{Location, Resolution, ServiceEntry};
pub use sidecar::{
    CaptureMode, EgressListener, IngressListener, Sidecar, SidecarOutboundMode,
    SidecarOutboundTrafficPolicy,
};
pub use virtual_service::{
    Delegate, Destination, HttpMatchRequest, HttpRoute, HttpRouteDestination, L4MatchAttributes,
    PortSelector, RouteDestination, TcpRoute, TlsMatchAttributes, TlsRoute, VirtualService,
};
pub use workload_entry::{
    HttpHealthCheck, ReadinessProbe, TcpHealthCheck, WorkloadEntry, WorkloadGroup,
    WorkloadGroupMeta, WorkloadLabels,
};
