//! The endpoints of an outbound cluster (EDS): those of the port, in the subset, by locality, with
//! what each says about its workload and the TLS that it takes.

mod locality;

use std::collections::BTreeMap;

use config::{label, networking::Subset};
use xds::{Endpoint, HealthStatus, LoadAssignment, Metadata, Struct, Value};

use locality::{Caller, Placed};

use crate::{
    Proxy, PushContext,
    cluster::{OutboundName, is_eds},
    destination_rule::Policy,
    world::{Service, ServiceEndpoint, ServicePort, Workload},
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
    let scoped = push.scope(proxy).find(cluster.host)?;
    let service = &scoped.service;
    let port = service.port(cluster.port).filter(|port| scoped.has(port.port))?;
    let rule = push.destination_rules.find(proxy, service);
    let subset = match cluster.subset {
        "" => None,
        name => Some(rule?.subset(name)?),
    };
    let policy = rule.map(|rule| rule.policy(cluster.port, subset)).unwrap_or_default();
    if !is_eds(service, proxy, policy) {
        return None;
    }
    let only_mtls = sni.is_some();
    Some(assignment(push, proxy, name, &Endpoints { service, port, subset, policy, only_mtls }))
}

/// Which endpoints of a service are meant.
pub(crate) struct Endpoints<'a> {
    pub(crate) service: &'a Service,
    pub(crate) port: &'a ServicePort,
    pub(crate) subset: Option<&'a Subset>,
    pub(crate) policy: Policy<'a>,
    /// Without those that take no mutual TLS.
    pub(crate) only_mtls: bool,
}

/// The endpoints of a port, by locality, under a cluster's name.
pub(crate) fn assignment(
    push: &PushContext,
    proxy: &Proxy,
    name: &str,
    wanted: &Endpoints<'_>,
) -> LoadAssignment {
    // With a minimum of health the proxy may call endpoints whatever their health: those that are
    // not ready must not be among them.
    let outlier = wanted.policy.outlier_detection;
    let only_ready = outlier.is_some_and(|outlier| outlier.min_health_percent > 0);
    let no_labels = BTreeMap::new();
    let endpoints = push.world.endpoints(wanted.service).iter().filter(|endpoint| {
        let labels = endpoint.workload.as_ref().map_or(&no_labels, |workload| &workload.labels);
        endpoint.port_name == wanted.port.name
            && (!only_ready || endpoint.health != HealthStatus::Unhealthy)
            // What is passed through is mesh TLS: others could not read it.
            && (!wanted.only_mtls || push.takes_mtls(endpoint))
            && wanted.subset.is_none_or(|subset| label::selects(&subset.labels, labels))
    });
    let placed = endpoints.map(|found| Placed {
        endpoint: endpoint(push, found),
        locality: &found.locality,
        labels: found.workload.as_ref().map_or(&no_labels, |workload| &workload.labels),
    });
    let policy = wanted.policy;
    let caller = Caller {
        locality: &proxy.locality,
        labels: &proxy.labels,
        setting: policy.load_balancer.and_then(|lb| lb.locality_lb_setting.as_ref()),
        has_outlier_detection: policy.outlier_detection.is_some(),
    };
    LoadAssignment {
        cluster_name: name.to_owned(),
        localities: caller.arrange(placed.collect()),
        overprovisioning_factor: None,
    }
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
        address: found.address.clone(),
        health_status: found.health,
        load_balancing_weight: Some(found.weight),
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
