//! Hosts of a cluster, and the set of them that a load assignment gives.
//!
//! A host outlives the load assignment that named it: its counters and its ejection go on when the
//! next assignment names the same address. Counters are atomics, since all workers share a host.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

/// One endpoint with what the proxy knows of it.
#[derive(Debug)]
pub struct Host {
    /// As the control plane told it.
    pub endpoint: xds::Endpoint,
    /// Where it is.
    pub locality: xds::Locality,
    /// Its share of the load, at least 1.
    pub weight: u32,
    /// What is shared with the host of the same address in other assignments.
    pub state: Arc<HostState>,
}

/// What the proxy learned of an address.
#[derive(Debug, Default)]
pub struct HostState {
    /// Open requests (or connections of TCP).
    pub active_requests: AtomicU32,
    /// Open connections.
    pub active_connections: AtomicU32,
    /// Requests so far.
    pub total_requests: AtomicU64,
    /// Requests that failed so far (5xx or no answer).
    pub failed_requests: AtomicU64,
    /// Connections so far.
    pub total_connections: AtomicU64,
    /// Connections that did not come up so far.
    pub failed_connections: AtomicU64,
    pub(crate) ejected: AtomicBool,
    pub(crate) ejected_at_ms: AtomicU64,
    pub(crate) ejections: AtomicU32,
    pub(crate) consecutive_5xx: AtomicU32,
    pub(crate) consecutive_gateway_failure: AtomicU32,
    pub(crate) consecutive_local_origin_failure: AtomicU32,
}

impl Host {
    /// Whether outlier detection has taken it out.
    pub fn is_ejected(&self) -> bool {
        self.state.ejected.load(Ordering::Relaxed)
    }

    /// Whether requests may go there: the control plane does not say otherwise, and it is not
    /// ejected.
    pub fn is_healthy(&self) -> bool {
        let told = matches!(
            self.endpoint.health_status,
            xds::HealthStatus::Unknown | xds::HealthStatus::Healthy
        );
        told && !self.is_ejected()
    }

    /// Whether it is used when there are not enough healthy ones.
    pub fn is_degraded(&self) -> bool {
        self.endpoint.health_status == xds::HealthStatus::Degraded && !self.is_ejected()
    }
}

/// The hosts of a cluster, by priority.
#[derive(Debug, Default)]
pub struct HostSet {
    priorities: Vec<Vec<Arc<Host>>>,
    overprovisioning_factor: u32,
}

impl HostSet {
    /// The hosts of a load assignment; `previous` lends the state of addresses that it also had.
    pub fn new(assignment: &xds::LoadAssignment, previous: &HostSet) -> Self {
        let known: HashMap<&xds::Address, &Arc<HostState>> =
            previous.hosts().map(|host| (&host.endpoint.address, &host.state)).collect();
        let mut fresh: HashMap<xds::Address, Arc<HostState>> = HashMap::new();
        let mut priorities: Vec<Vec<Arc<Host>>> = Vec::new();
        for locality in &assignment.localities {
            let index = usize::try_from(locality.priority).unwrap_or(0);
            if priorities.len() <= index {
                priorities.resize_with(index + 1, Vec::new);
            }
            for endpoint in &locality.endpoints {
                let state = match known.get(&endpoint.address) {
                    Some(state) => Arc::clone(state),
                    None => Arc::clone(fresh.entry(endpoint.address.clone()).or_default()),
                };
                priorities[index].push(Arc::new(Host {
                    endpoint: endpoint.clone(),
                    locality: locality.locality.clone(),
                    weight: endpoint.load_balancing_weight.unwrap_or(1).max(1),
                    state,
                }));
            }
        }
        let overprovisioning_factor = assignment.overprovisioning_factor.unwrap_or(140);
        Self { priorities, overprovisioning_factor }
    }

    /// Hosts by priority.
    pub fn priorities(&self) -> &[Vec<Arc<Host>>] {
        &self.priorities
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.priorities.iter().flatten()
    }

    /// Each priority's share of the load, in percent: as much as its healthy hosts can take, times
    /// the over-provisioning factor; what is left goes to the next (Envoy's priority levels).
    pub fn priority_loads(&self) -> Vec<u32> {
        let healths: Vec<u32> = self.priorities.iter().map(|hosts| self.health(hosts)).collect();
        let total: u32 = healths.iter().sum::<u32>().min(100);
        if total == 0 {
            return (0..healths.len()).map(|index| if index == 0 { 100 } else { 0 }).collect();
        }
        let mut left = 100;
        healths
            .iter()
            .map(|health| {
                let load = (health * 100 / total).min(left);
                left -= load;
                load
            })
            .collect()
    }

    fn health(&self, hosts: &[Arc<Host>]) -> u32 {
        let usable = hosts.iter().filter(|host| host.is_healthy() || host.is_degraded()).count();
        let percent = usable.checked_mul(self.overprovisioning_factor as usize);
        percent
            .and_then(|scaled| scaled.checked_div(hosts.len()))
            .map_or(0, |percent| u32::try_from(percent).unwrap_or(100).min(100))
    }
}
