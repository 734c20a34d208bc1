//! Load assignments.

use pb::envoy::config::{
    core::v3 as core,
    endpoint::v3::{
        self as endpoint, ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
        cluster_load_assignment::Policy, lb_endpoint::HostIdentifier,
    },
};

use super::{
    address,
    context::{Context, Result, fields},
    metadata,
};
use crate::{Endpoint, HealthStatus, LoadAssignment, Locality, LocalityEndpoints};

pub(super) fn encode(value: &LoadAssignment) -> ClusterLoadAssignment {
    let policy = value
        .overprovisioning_factor
        .map(|factor| Policy { overprovisioning_factor: Some(factor), ..Default::default() });
    ClusterLoadAssignment {
        cluster_name: value.cluster_name.clone(),
        endpoints: value.localities.iter().map(encode_locality_endpoints).collect(),
        policy,
        ..Default::default()
    }
}

pub(super) fn decode(message: ClusterLoadAssignment, cx: &mut Context) -> Result<LoadAssignment> {
    fields! {
        cx, message => ClusterLoadAssignment { cluster_name, endpoints, policy }
        rejected { named_endpoints }
    }
    let overprovisioning_factor = cx.optional("policy", policy, |policy, cx| {
        fields! {
            cx, policy => Policy { overprovisioning_factor }
            ignored { endpoint_stale_after, weighted_priority_health }
            rejected { drop_overloads }
        }
        Ok(overprovisioning_factor)
    })?;
    Ok(LoadAssignment {
        cluster_name,
        localities: cx.each("endpoints", endpoints, decode_locality_endpoints)?,
        overprovisioning_factor: overprovisioning_factor.flatten(),
    })
}

fn encode_locality_endpoints(value: &LocalityEndpoints) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        locality: encode_locality(&value.locality),
        lb_endpoints: value.endpoints.iter().map(encode_endpoint).collect(),
        load_balancing_weight: value.load_balancing_weight,
        priority: value.priority,
        ..Default::default()
    }
}

fn decode_locality_endpoints(
    message: LocalityLbEndpoints,
    cx: &mut Context,
) -> Result<LocalityEndpoints> {
    fields! {
        cx, message => LocalityLbEndpoints {
            locality, lb_endpoints, load_balancing_weight, priority,
        }
        ignored { metadata, proximity }
        rejected { lb_config }
    }
    Ok(LocalityEndpoints {
        locality: decode_locality(locality),
        priority,
        load_balancing_weight,
        endpoints: cx.each("lb_endpoints", lb_endpoints, decode_endpoint)?,
    })
}

pub(super) fn encode_locality(value: &Locality) -> Option<core::Locality> {
    (*value != Locality::default()).then(|| core::Locality {
        region: value.region.clone(),
        zone: value.zone.clone(),
        sub_zone: value.sub_zone.clone(),
    })
}

pub(super) fn decode_locality(message: Option<core::Locality>) -> Locality {
    let core::Locality { region, zone, sub_zone } = message.unwrap_or_default();
    Locality { region, zone, sub_zone }
}

fn encode_endpoint(value: &Endpoint) -> LbEndpoint {
    let health_status = match value.health_status {
        HealthStatus::Unknown => core::HealthStatus::Unknown,
        HealthStatus::Healthy => core::HealthStatus::Healthy,
        HealthStatus::Unhealthy => core::HealthStatus::Unhealthy,
        HealthStatus::Draining => core::HealthStatus::Draining,
        HealthStatus::Degraded => core::HealthStatus::Degraded,
    };
    LbEndpoint {
        health_status: health_status.into(),
        metadata: metadata::encode(&value.metadata),
        load_balancing_weight: value.load_balancing_weight,
        host_identifier: Some(HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(address::encode(&value.address)),
            ..Default::default()
        })),
    }
}

fn decode_endpoint(message: LbEndpoint, cx: &mut Context) -> Result<Endpoint> {
    let LbEndpoint { health_status, metadata, load_balancing_weight, host_identifier } = message;
    let endpoint = match host_identifier {
        Some(HostIdentifier::Endpoint(endpoint)) => Some(endpoint),
        Some(HostIdentifier::EndpointName(_)) => {
            return cx.fail_at("endpoint_name", "is not supported");
        }
        None => None,
    };
    let address = cx.required("endpoint", endpoint, |endpoint, cx| {
        fields! {
            cx, endpoint => endpoint::Endpoint { address }
            ignored { health_check_config, hostname, additional_addresses, observability_name }
        }
        cx.required("address", address, address::decode)
    })?;
    let health_status = match cx.enumeration("health_status", health_status)? {
        core::HealthStatus::Unknown => HealthStatus::Unknown,
        core::HealthStatus::Healthy => HealthStatus::Healthy,
        // Envoy takes a host whose checks time out for an unhealthy one.
        core::HealthStatus::Unhealthy | core::HealthStatus::Timeout => HealthStatus::Unhealthy,
        core::HealthStatus::Draining => HealthStatus::Draining,
        core::HealthStatus::Degraded => HealthStatus::Degraded,
    };
    let metadata = metadata::decode(metadata, cx);
    Ok(Endpoint { address, health_status, load_balancing_weight, metadata })
}
