//! Endpoints of a cluster (`envoy.config.endpoint.v3`).

use crate::{Address, Metadata};

/// The endpoints of one cluster (`ClusterLoadAssignment`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LoadAssignment {
    /// The cluster's (or its EDS service's) name: the resource's name.
    pub cluster_name: String,
    /// Endpoints by locality.
    pub localities: Vec<LocalityEndpoints>,
    /// How much a locality is over-provisioned, in percent; none: Envoy's 140.
    pub overprovisioning_factor: Option<u32>,
}

/// Endpoints in one locality with one priority (`LocalityLbEndpoints`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalityEndpoints {
    /// Where they are.
    pub locality: Locality,
    /// 0 is used first.
    pub priority: u32,
    /// The locality's weight; none: it takes no load where weights by locality are used.
    pub load_balancing_weight: Option<u32>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A place: region, zone and sub-zone, each perhaps empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// The region.
    pub region: String,
    /// The zone.
    pub zone: String,
    /// The sub-zone.
    pub sub_zone: String,
}

/// One endpoint (`LbEndpoint`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is reached.
    pub address: Address,
    /// What the control plane knows of its health.
    pub health_status: HealthStatus,
    /// Its share of the load; none: 1.
    pub load_balancing_weight: Option<u32>,
    /// `istio`/`workload`, `envoy.transport_socket_match`/`tlsMode`, …
    pub metadata: Metadata,
}

/// Health as the control plane tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HealthStatus {
    /// Not known; counts as healthy.
    #[default]
    Unknown,
    /// Healthy.
    Healthy,
    /// Not to be used.
    Unhealthy,
    /// Not for new requests.
    Draining,
    /// Used when there are not enough healthy ones.
    Degraded,
}
