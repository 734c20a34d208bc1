//! What one object must be by itself, as Istio's and Kubernetes' own validation has it. What
//! depends on other objects is in `analyze`.

mod authorization_policy;
mod checks;
mod destination_rule;
mod envoy_filter;
mod gateway;
mod http_route;
mod kubernetes;
mod load_balancer;
mod mesh_config;
pub(crate) mod names;
mod peer_authentication;
mod proxy_config;
mod route_policy;
mod service_entry;
mod sidecar;
mod telemetry;
#[cfg(test)]
mod tests;
mod virtual_service;
mod workload;
mod workload_entry;

use crate::{ObjectMeta, Spec, report::Report, yaml::Path};

/// Checks `spec`, which is in the object that `report` knows.
pub(crate) fn spec(spec: &Spec, meta: &ObjectMeta, report: &mut Report<'_>) {
    let path = Path::Root.field("spec");
    match spec {
        Spec::Namespace(_) | Spec::ServiceAccount(_) => {}
        Spec::Service(service) => kubernetes::service(service, &path, report),
        Spec::Pod(pod) => kubernetes::pod(pod, report),
        Spec::ConfigMap(map) => mesh_config::config_map(map, report),
        Spec::Secret(secret) => kubernetes::secret(secret, report),
        Spec::EndpointSlice(slice) => kubernetes::endpoint_slice(slice, report),
        Spec::Deployment(deployment) => workload::deployment(deployment, &path, report),
        Spec::VirtualService(vs) => virtual_service::check(vs, &path, report),
        Spec::DestinationRule(rule) => destination_rule::check(rule, meta, &path, report),
        Spec::Gateway(gateway) => gateway::check(gateway, &path, report),
        Spec::PeerAuthentication(pa) => peer_authentication::check(pa, &path, report),
        Spec::ProxyConfig(config) => proxy_config::check(config, &path, report),
        Spec::Telemetry(telemetry) => telemetry::check(telemetry, &path, report),
        Spec::EnvoyFilter(filter) => envoy_filter::check(filter, &path, report),
        Spec::AuthorizationPolicy(ap) => authorization_policy::check(ap, meta, &path, report),
        Spec::ServiceEntry(entry) => service_entry::check(entry, &path, report),
        Spec::WorkloadEntry(entry) => workload_entry::check(entry, &path, report),
        Spec::WorkloadGroup(group) => workload_entry::group(group, &path, report),
        Spec::Sidecar(sidecar) => sidecar::check(sidecar, &path, report),
    }
}
