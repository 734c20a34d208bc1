//! What users write: Kubernetes and Istio objects, parsed from YAML and validated, with
//! diagnostics that name the file, line and field.
//!
//! Pure: no file, no clock, no environment. A caller hands texts to a [`Catalog`] and asks it for
//! the objects that stand; a file with an error keeps its last good version. The rules are those
//! of Istio's API and of Kubernetes' strict field validation: what a field means is in each type,
//! what is refused is in `validate`, what is only doubtful is in [`analyze`].

mod analyze;
mod catalog;
mod cluster_ip;
mod diagnostic;
mod entry_ip;
pub mod host;
pub mod k8s;
pub mod label;
mod mesh;
pub mod networking;
mod object;
mod parse;
mod protocol;
mod report;
pub mod security;
pub mod telemetry;
mod validate;
pub mod value;
pub mod visibility;
mod yaml;

pub use analyze::analyze;
pub use catalog::{Catalog, Update};
pub use cluster_ip::{assign_cluster_ips, cluster_ip};
pub use diagnostic::{Diagnostic, Severity};
pub use entry_ip::assign_entry_ips;
pub use k8s::{
    ConfigMap, Deployment, EndpointSlice, Namespace, Pod, Secret, Service, ServiceAccount,
};
pub use mesh::{
    AccessLogEncoding, DefaultProviders, EnvoyFileAccessLog, ExtensionProvider,
    InboundTrafficPolicy, InboundTrafficPolicyMode, LogFormat, MeshConfig, OutboundTrafficPolicy,
    OutboundTrafficPolicyMode, PathNormalization, PathNormalizationType, PrometheusProvider,
    ProxyConfig,
};
pub use networking::{
    DestinationRule, EnvoyFilter, Gateway, ServiceEntry, Sidecar, VirtualService, WorkloadEntry,
    WorkloadGroup,
};
pub use object::{Kind, Object, ObjectKey, ObjectMeta, Origin, Spec};
pub use parse::{Parsed, parse_file};
pub use protocol::Protocol;
pub use security::{AuthorizationPolicy, PeerAuthentication};
pub use telemetry::Telemetry;
