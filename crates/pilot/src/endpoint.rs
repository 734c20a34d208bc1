//! The endpoints of an outbound cluster (EDS): those of the port, in the subset, by locality, with
//! what each says about its workload and the TLS that it takes.

mod locality;

use std::collections::BTreeMap;

use config::label;
use xds::{Address, Endpoint, HealthStatus, LoadAssignment, Metadata, Struct, Value};

use locality::{Caller, Placed};

use crate::{
    Proxy, PushContext,
    cluster::{OutboundName, is_eds},
    world::{ServiceEndpoint, Workload},
};

/// The cluster id of workloads of the one cluster that there is.
const CLUSTER_ID: &str = "Kubernetes";

/// The endpoints of the cluster `name`, or none when the proxy has no such EDS cluster.
pub(crate) fn load_assignment(
    push: &PushContext,
    proxy: &Proxy,
    name: &str,
) -> Option<LoadAssignment> {
    let sni = proxy.is_router().then(|| OutboundName::parse_sni(name)).flatten();
    let cluster = OutboundName::parse(name).or(sni)?;
    let service = push.world.service(cluster.host)?;
    if !service.visibility.includes(&proxy.namespace) {
        return None;
    }
    let port = service.port(cluster.port)?;
    let rule = push.destination_rules.find(proxy, service);
    let subset = match cluster.subset {
        "" => None,
        name => Some(rule?.subset(name)?),
    };
    let policy = rule.map(|rule| rule.policy(cluster.port, subset)).unwrap_or_default();
    if !is_eds(service, proxy, policy) {
        return None;
    }
    // With a minimum of health the proxy may call endpoints whatever their health: those that are
    // not ready must not be among them.
    let only_ready = policy.outlier_detection.is_some_and(|outlier| outlier.min_health_percent > 0);
    let no_labels = BTreeMap::new();
    let endpoints = push.world.endpoints(cluster.host).iter().filter(|endpoint| {
        let labels = endpoint.workload.as_ref().map_or(&no_labels, |workload| &workload.labels);
        endpoint.port_name == port.name
            && (!only_ready || endpoint.health != HealthStatus::Unhealthy)
            // What is passed through is mesh TLS: others could not read it.
            && (sni.is_none() || push.takes_mtls(endpoint))
            && subset.is_none_or(|subset| label::selects(&subset.labels, labels))
    });
    let placed = endpoints.map(|found| Placed {
        endpoint: endpoint(push, found),
        locality: &found.locality,
        labels: found.workload.as_ref().map_or(&no_labels, |workload| &workload.labels),
    });
    let caller = Caller {
        locality: &proxy.locality,
        labels: &proxy.labels,
        setting: policy.load_balancer.and_then(|lb| lb.locality_lb_setting.as_ref()),
        has_outlier_detection: policy.outlier_detection.is_some(),
    };
    Some(LoadAssignment {
        cluster_name: name.to_owned(),
        localities: caller.arrange(placed.collect()),
        overprovisioning_factor: None,
    })
}

fn endpoint(push: &PushContext, found: &ServiceEndpoint) -> Endpoint {
    let mut metadata = Metadata::default();
    if let Some(workload) = &found.workload {
        metadata.0.insert("istio".to_owned(), workload_metadata(workload));
        if push.takes_mtls(found) {
            metadata.0.insert(
                "envoy.transport_socket_match".to_owned(),
                Struct::from([("tlsMode".to_owned(), Value::from("istio"))]),
            );
        }
    }
    Endpoint {
        address: Address::socket(found.ip, found.port),
        health_status: found.health,
        load_balancing_weight: Some(1),
        metadata,
    }
}

/// `workload`: name, namespace, canonical name, canonical revision and cluster.
fn workload_metadata(workload: &Workload) -> Struct {
    let text = format!(
        "{};{};{};{};{CLUSTER_ID}",
        workload.workload_name,
        workload.namespace,
        workload.canonical_name(),
        workload.canonical_revision(),
    );
    Struct::from([("workload".to_owned(), Value::from(text))])
}
