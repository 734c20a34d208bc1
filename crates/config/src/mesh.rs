//! MeshConfig: the mesh's own settings, from the key `mesh` of the ConfigMap `istio` in the root
//! namespace. Defaults are Istio's; what is not implemented is reported when it is set.

mod provider;

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::{
    k8s, networking,
    value::{Accepted, Unsupported, duration},
};

pub use provider::{
    DefaultProviders, EnvoyFileAccessLog, ExtensionProvider, LogFormat, PrometheusProvider,
};

/// The namespace in which the mesh's own settings are looked for.
pub(crate) const ROOT_NAMESPACE: &str = "istio-system";

/// Settings of the whole mesh.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// The trust domain of identities; `cluster.local`.
    pub trust_domain: String,
    /// Other names of the trust domain.
    pub trust_domain_aliases: Vec<String>,
    /// The namespace of mesh-wide resources; `istio-system`.
    pub root_namespace: String,
    /// Mutual TLS to destinations that take it, without a DestinationRule; true.
    pub enable_auto_mtls: bool,
    /// Calls to hosts that nobody declared.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Where a sidecar delivers calls to its application.
    pub inbound_traffic_policy: InboundTrafficPolicy,
    /// File of the access log (`/dev/stdout`); empty: none.
    pub access_log_file: String,
    /// Its format; empty: Envoy's default.
    pub access_log_format: String,
    /// Text or JSON.
    pub access_log_encoding: AccessLogEncoding,
    /// Timeout of connections to destinations; absent: 10 s.
    #[serde(deserialize_with = "duration::option")]
    pub connect_timeout: Option<Duration>,
    /// How long detection of a protocol waits; absent or 0: for ever.
    #[serde(deserialize_with = "duration::option")]
    pub protocol_detection_timeout: Option<Duration>,
    /// Keepalive of connections to destinations.
    pub tcp_keepalive: Option<networking::TcpKeepalive>,
    /// Retries of routes that say nothing.
    pub default_http_retry_policy: Option<networking::HttpRetry>,
    /// Who sees Services that say nothing; empty: everyone.
    pub default_service_export_to: Vec<String>,
    /// Who sees VirtualServices that say nothing; empty: everyone.
    pub default_virtual_service_export_to: Vec<String>,
    /// Who sees DestinationRules that say nothing; empty: everyone.
    pub default_destination_rule_export_to: Vec<String>,
    /// How paths are normalised before they are matched.
    pub path_normalization: PathNormalization,
    /// Whether HTTP/1.1 is upgraded to HTTP/2; DO_NOT_UPGRADE.
    pub h2_upgrade_policy: networking::H2UpgradePolicy,
    /// The sidecars' own settings.
    pub default_config: ProxyConfig,
    /// Merge the application's metrics into the sidecar's; true.
    pub enable_prometheus_merge: bool,
    /// Outbound port of sidecars; 15001.
    pub proxy_listen_port: u16,
    /// Inbound port of sidecars; 15006.
    pub proxy_inbound_listen_port: u16,
    /// Not used.
    pub proxy_http_port: Option<Unsupported>,
    /// Not used.
    pub ingress_class: Accepted,
    /// Not used.
    pub ingress_service: Accepted,
    /// Not used.
    pub ingress_selector: Accepted,
    /// Not used.
    pub ingress_controller_mode: Accepted,
    /// Not used.
    pub enable_tracing: Option<Unsupported>,
    /// Not used.
    pub enable_envoy_access_log_service: Option<Unsupported>,
    /// Not used.
    pub disable_envoy_listener_log: Option<Unsupported>,
    /// Whom others can name.
    pub extension_providers: Vec<ExtensionProvider>,
    /// Whom those mean who name nobody.
    pub default_providers: DefaultProviders,
    /// Not used.
    pub ca: Option<Unsupported>,
    /// Not used.
    pub ca_certificates: Option<Unsupported>,
    /// Not used.
    pub certificates: Option<Unsupported>,
    /// Not used.
    pub locality_lb_setting: Option<Unsupported>,
    /// Not used.
    pub zone_aware_lb_setting: Option<Unsupported>,
    /// Not used.
    pub dns_refresh_rate: Option<Unsupported>,
    /// Not used.
    pub inbound_cluster_stat_name: Option<Unsupported>,
    /// Not used.
    pub outbound_cluster_stat_name: Option<Unsupported>,
    /// Not used.
    pub service_settings: Option<Unsupported>,
    /// Not used.
    pub discovery_selectors: Option<Unsupported>,
    /// Not used.
    pub default_inbound_http_retry_policy: Option<Unsupported>,
    /// Not used.
    #[serde(rename = "meshMTLS")]
    pub mesh_mtls: Option<Unsupported>,
    /// Not used.
    pub tls_defaults: Option<Unsupported>,
    /// Not used.
    pub default_traffic_policy: Option<Unsupported>,
    /// Not used.
    pub config_sources: Option<Unsupported>,
    /// Not used.
    pub hbone_idle_timeout: Option<Unsupported>,
    /// Not used.
    pub service_entry_visibility: Option<Unsupported>,
    /// Not used.
    pub service_scope_configs: Option<Unsupported>,
    /// Not used.
    pub verify_certificate_at_client: Option<Unsupported>,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            root_namespace: ROOT_NAMESPACE.to_owned(),
            enable_auto_mtls: true,
            outbound_traffic_policy: OutboundTrafficPolicy::default(),
            inbound_traffic_policy: InboundTrafficPolicy::default(),
            access_log_file: String::new(),
            access_log_format: String::new(),
            access_log_encoding: AccessLogEncoding::default(),
            connect_timeout: None,
            protocol_detection_timeout: None,
            tcp_keepalive: None,
            default_http_retry_policy: None,
            default_service_export_to: Vec::new(),
            default_virtual_service_export_to: Vec::new(),
            default_destination_rule_export_to: Vec::new(),
            path_normalization: PathNormalization::default(),
            h2_upgrade_policy: networking::H2UpgradePolicy::default(),
            default_config: ProxyConfig::default(),
            enable_prometheus_merge: true,
            proxy_listen_port: 15001,
            proxy_inbound_listen_port: 15006,
            proxy_http_port: None,
            ingress_class: Accepted,
            ingress_service: Accepted,
            ingress_selector: Accepted,
            ingress_controller_mode: Accepted,
            enable_tracing: None,
            enable_envoy_access_log_service: None,
            disable_envoy_listener_log: None,
            extension_providers: Vec::new(),
            default_providers: DefaultProviders::default(),
            ca: None,
            ca_certificates: None,
            certificates: None,
            locality_lb_setting: None,
            zone_aware_lb_setting: None,
            dns_refresh_rate: None,
            inbound_cluster_stat_name: None,
            outbound_cluster_stat_name: None,
            service_settings: None,
            discovery_selectors: None,
            default_inbound_http_retry_policy: None,
            mesh_mtls: None,
            tls_defaults: None,
            default_traffic_policy: None,
            config_sources: None,
            hbone_idle_timeout: None,
            service_entry_visibility: None,
            service_scope_configs: None,
            verify_certificate_at_client: None,
        }
    }
}

impl MeshConfig {
    /// The mesh's settings among `objects`: those of the ConfigMap `istio` in `istio-system`, or
    /// the defaults.
    #[must_use]
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a std::sync::Arc<crate::Object>>) -> Self {
        objects
            .into_iter()
            .find_map(|object| match &object.spec {
                crate::Spec::ConfigMap(k8s::ConfigMap { mesh: Some(mesh), .. }) => {
                    Some(MeshConfig::clone(mesh))
                }
                _ => None,
            })
            .unwrap_or_default()
    }

    /// The timeout of connections to destinations.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(Duration::from_secs(10))
    }
}

/// Calls to hosts that nobody declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// Pass or refuse.
    pub mode: OutboundTrafficPolicyMode,
}

/// Pass or refuse calls to hosts that nobody declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundTrafficPolicyMode {
    /// Pass them on.
    #[default]
    AllowAny,
    /// Refuse them.
    RegistryOnly,
}

/// Where a sidecar delivers calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InboundTrafficPolicy {
    /// The pod's address or the loopback.
    pub mode: InboundTrafficPolicyMode,
}

/// The address at which an application gets its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundTrafficPolicyMode {
    /// The one that the caller used.
    #[default]
    Passthrough,
    /// The loopback.
    Localhost,
}

/// The access log's encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AccessLogEncoding {
    /// Lines of text.
    #[default]
    Text,
    /// JSON objects.
    Json,
}

/// How paths are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathNormalization {
    /// The way.
    pub normalization: PathNormalizationType,
}

/// Ways of normalising paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PathNormalizationType {
    /// BASE.
    #[default]
    Default,
    /// Not at all.
    None,
    /// RFC 3986: dot segments resolved, `\` as `/`.
    Base,
    /// And adjacent slashes merged.
    MergeSlashes,
    /// And `%2F`, `%5C` decoded first.
    DecodeAndMergeSlashes,
}

/// Settings of the sidecars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// Worker threads; absent: by the machine's cores (2 in a sidecar).
    pub concurrency: Option<u32>,
    /// How long a drain takes; absent: 45 s.
    #[serde(deserialize_with = "duration::option")]
    pub drain_duration: Option<Duration>,
    /// How long connections may end at termination; absent: 5 s.
    #[serde(deserialize_with = "duration::option")]
    pub termination_drain_duration: Option<Duration>,
    /// More environment of the proxy.
    pub proxy_metadata: BTreeMap<String, String>,
    /// Start the application only when the proxy is ready.
    pub hold_application_until_proxy_starts: Option<bool>,
    /// Where the control plane is.
    pub discovery_address: Option<Unsupported>,
    /// Not used.
    pub config_path: Accepted,
    /// Not used.
    pub binary_path: Accepted,
    /// Not used.
    pub service_cluster: Option<Unsupported>,
    /// Not used.
    pub proxy_admin_port: Option<Unsupported>,
    /// Not used.
    pub status_port: Option<Unsupported>,
    /// Not used.
    pub control_plane_auth_policy: Option<Unsupported>,
    /// Not used.
    pub stat_name_length: Accepted,
    /// Not used.
    pub interception_mode: Option<Unsupported>,
    /// Not used.
    pub tracing: Option<Unsupported>,
    /// Not used.
    pub gateway_topology: Option<Unsupported>,
    /// Not used.
    pub proxy_stats_matcher: Option<Unsupported>,
    /// Not used.
    pub ca_certificates_pem: Option<Unsupported>,
    /// Not used.
    pub image: Accepted,
    /// Not used.
    pub private_key_provider: Option<Unsupported>,
    /// Not used.
    pub proxy_headers: Option<Unsupported>,
    /// Not used.
    pub runtime_values: Option<Unsupported>,
    /// Not used.
    pub readiness_probe: Option<Unsupported>,
    /// Not used.
    pub file_flush_interval: Option<Unsupported>,
    /// Not used.
    pub file_flush_min_size_kb: Option<Unsupported>,
    /// Not used.
    pub stats_compression: Option<Unsupported>,
    /// Not used.
    pub connection_settings: Option<Unsupported>,
    /// Not used.
    pub tracing_service_name: Option<Unsupported>,
    /// Not used.
    pub envoy_access_log_service: Option<Unsupported>,
    /// Not used.
    pub envoy_metrics_service: Option<Unsupported>,
    /// Not used.
    pub extra_stat_tags: Option<Unsupported>,
    /// Not used.
    pub discovery_refresh_delay: Option<Unsupported>,
    /// Not used.
    pub zipkin_address: Option<Unsupported>,
    /// Not used.
    pub statsd_udp_address: Option<Unsupported>,
    /// Not used.
    pub envoy_metrics_service_address: Option<Unsupported>,
    /// Not used.
    pub availability_zone: Option<Unsupported>,
    /// Not used.
    pub custom_config_file: Option<Unsupported>,
    /// Not used.
    pub proxy_bootstrap_template_path: Option<Unsupported>,
    /// Not used.
    pub sds: Option<Unsupported>,
    /// Not used.
    pub mesh_id: Option<Unsupported>,
}
