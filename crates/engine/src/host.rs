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

/// The lowest priority that is used, as Envoy allows; those below count as it.
const LOWEST_PRIORITY: usize = 128;

/// The hosts of a cluster, by priority.
#[derive(Debug, Default)]
pub struct HostSet {
    priorities: Vec<Vec<Arc<Host>>>,
    /// The localities of each priority with their weights; without one it takes no load where
    /// weights count.
    localities: Vec<Vec<(xds::Locality, u32)>>,
    overprovisioning_factor: Option<u32>,
    /// How often a host was ejected or came back, in this set and those before and after it.
    health_epoch: Arc<AtomicU64>,
}

impl HostSet {
    /// The hosts of a load assignment; `previous` lends the state of addresses that it also had.
    pub fn new(assignment: &xds::LoadAssignment, previous: &HostSet) -> Self {
        let known: HashMap<&xds::Address, &Arc<HostState>> =
            previous.hosts().map(|host| (&host.endpoint.address, &host.state)).collect();
        let mut fresh: HashMap<xds::Address, Arc<HostState>> = HashMap::new();
        let mut priorities: Vec<Vec<Arc<Host>>> = Vec::new();
        let mut localities: Vec<Vec<(xds::Locality, u32)>> = Vec::new();
        for locality in &assignment.localities {
            let index = usize::try_from(locality.priority).unwrap_or(0).min(LOWEST_PRIORITY);
            if priorities.len() <= index {
                priorities.resize_with(index + 1, Vec::new);
                localities.resize_with(index + 1, Vec::new);
            }
            let weight = locality.load_balancing_weight.unwrap_or(0);
            localities[index].push((locality.locality.clone(), weight));
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
        Self {
            priorities,
            localities,
            overprovisioning_factor: assignment.overprovisioning_factor,
            health_epoch: Arc::clone(&previous.health_epoch),
        }
    }

    /// Hosts by priority.
    pub fn priorities(&self) -> &[Vec<Arc<Host>>] {
        &self.priorities
    }

    /// The localities of a priority with their weights.
    pub(crate) fn localities(&self, priority: usize) -> &[(xds::Locality, u32)] {
        self.localities.get(priority).map_or(&[], Vec::as_slice)
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.priorities.iter().flatten()
    }

    /// How much more than its part a host can take, in percent; 140 unless the control plane says
    /// otherwise.
    pub(crate) fn overprovisioning_factor(&self) -> u64 {
        u64::from(self.overprovisioning_factor.unwrap_or(140))
    }

    /// Changes whenever a host's health does.
    pub(crate) fn health_epoch(&self) -> u64 {
        self.health_epoch.load(Ordering::Acquire)
    }

    /// To be called after a host was ejected or came back.
    pub(crate) fn health_changed(&self) {
        self.health_epoch.fetch_add(1, Ordering::Release);
    }
}
