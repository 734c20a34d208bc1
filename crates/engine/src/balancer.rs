//! Load balancing: which host of a cluster takes a request.
//!
//! A balancer belongs to one worker and keeps only what its own order needs; hosts and their
//! counters are shared. Follows Envoy's load balancers: priorities, panic threshold, round robin,
//! least request of n random choices, random, ring hash.

use std::sync::{Arc, atomic::Ordering};

use crate::{Host, HostSet, hash_ring::HashRing};

/// What a choice may go by.
pub struct Pick<'a> {
    /// Random numbers.
    pub random: &'a mut dyn FnMut() -> u64,
    /// The hash of the request, for consistent hashing; none: a random one.
    pub hash: Option<u64>,
    /// Hosts that are not wanted, such as those of earlier attempts.
    pub avoid: &'a dyn Fn(&Host) -> bool,
    /// How often a host that is not wanted is replaced by another choice.
    pub attempts: u32,
}

/// One worker's balancer for one cluster.
#[derive(Debug)]
pub struct Balancer {
    policy: xds::LbPolicy,
    panic_threshold: u32,
    next: usize,
    current_weights: Vec<(Arc<Host>, i64)>,
    ring: Option<(Arc<HostSet>, Vec<bool>, HashRing)>,
}

impl Balancer {
    /// A balancer of a cluster.
    pub fn new(cluster: &xds::Cluster) -> Self {
        Self {
            policy: cluster.lb_policy.clone(),
            panic_threshold: cluster.healthy_panic_threshold.unwrap_or(50),
            next: 0,
            current_weights: Vec::new(),
            ring: None,
        }
    }

    /// Starts round robin at another place, so that workers do not all begin with the same host.
    pub fn seed(&mut self, random: u64) {
        self.next = usize::try_from(random % 1024).unwrap_or(0);
    }

    /// Chooses a host; none: no host may take the request.
    pub fn pick(&mut self, hosts: &Arc<HostSet>, pick: &mut Pick<'_>) -> Option<Arc<Host>> {
        let mut last = None;
        for _ in 0..=pick.attempts {
            let host = self.pick_once(hosts, pick)?;
            if !(pick.avoid)(&host) {
                return Some(host);
            }
            last = Some(host);
        }
        last
    }

    fn pick_once(&mut self, hosts: &Arc<HostSet>, pick: &mut Pick<'_>) -> Option<Arc<Host>> {
        if matches!(self.policy, xds::LbPolicy::RingHash { .. } | xds::LbPolicy::Maglev { .. }) {
            return self.pick_by_hash(hosts, pick);
        }
        let level = choose_priority(hosts, pick)?;
        let healthy = |host: &&Arc<Host>| host.is_healthy();
        let count = level.iter().filter(healthy).count();
        let panic = count * 100 < level.len() * self.panic_threshold as usize;
        if panic || count == level.len() {
            return self.pick_among(level.iter(), level.len(), pick);
        }
        if count > 0 {
            return self.pick_among(level.iter().filter(healthy), count, pick);
        }
        let degraded = |host: &&Arc<Host>| host.is_degraded();
        let count = level.iter().filter(degraded).count();
        self.pick_among(level.iter().filter(degraded), count, pick)
    }

    fn pick_among<'a>(
        &mut self,
        hosts: impl Iterator<Item = &'a Arc<Host>> + Clone,
        count: usize,
        pick: &mut Pick<'_>,
    ) -> Option<Arc<Host>> {
        if count == 0 {
            return None;
        }
        let weighted = {
            let mut weights = hosts.clone().map(|host| host.weight);
            let first = weights.next();
            weights.any(|weight| Some(weight) != first)
        };
        match self.policy {
            xds::LbPolicy::RoundRobin if weighted => self.smooth_round_robin(hosts),
            xds::LbPolicy::RoundRobin => {
                self.next = self.next.wrapping_add(1);
                hosts.clone().nth(self.next % count).map(Arc::clone)
            }
            xds::LbPolicy::LeastRequest { choice_count } => {
                least_request(hosts, count, choice_count.unwrap_or(2), pick)
            }
            _ => random_host(hosts, count, weighted, pick),
        }
    }

    /// Round robin by weight that does not send a heavy host all its turns in a row.
    fn smooth_round_robin<'a>(
        &mut self,
        hosts: impl Iterator<Item = &'a Arc<Host>>,
    ) -> Option<Arc<Host>> {
        let mut old = std::mem::take(&mut self.current_weights);
        let mut total = 0;
        for host in hosts {
            let found = old.iter().position(|(other, _)| Arc::ptr_eq(other, host));
            let current = found.map_or(0, |index| old.swap_remove(index).1);
            let weight = i64::from(host.weight);
            total += weight;
            self.current_weights.push((Arc::clone(host), current + weight));
        }
        let (host, current) =
            self.current_weights.iter_mut().max_by_key(|(_, current)| *current)?;
        *current -= total;
        Some(Arc::clone(host))
    }

    fn pick_by_hash(&mut self, hosts: &Arc<HostSet>, pick: &mut Pick<'_>) -> Option<Arc<Host>> {
        let health: Vec<bool> = hosts.hosts().map(|host| host.is_healthy()).collect();
        let stale = self
            .ring
            .as_ref()
            .is_none_or(|(set, seen, _)| !Arc::ptr_eq(set, hosts) || *seen != health);
        if stale {
            let usable: Vec<Arc<Host>> = {
                let level = choose_priority(hosts, pick)?;
                level.iter().filter(|host| host.is_healthy()).map(Arc::clone).collect()
            };
            self.ring = Some((Arc::clone(hosts), health, HashRing::new(&self.policy, usable)));
        }
        let hash = pick.hash.unwrap_or_else(|| (pick.random)());
        self.ring.as_ref().and_then(|(_, _, ring)| ring.host(hash)).map(Arc::clone)
    }
}

fn choose_priority<'a>(hosts: &'a HostSet, pick: &mut Pick<'_>) -> Option<&'a [Arc<Host>]> {
    let priorities = hosts.priorities();
    if priorities.len() <= 1 {
        return priorities.first().map(Vec::as_slice);
    }
    let mut point = u32::try_from((pick.random)() % 100).unwrap_or(0);
    for (index, load) in hosts.priority_loads().into_iter().enumerate() {
        match point.checked_sub(load) {
            Some(rest) => point = rest,
            None => return priorities.get(index).map(Vec::as_slice),
        }
    }
    priorities.first().map(Vec::as_slice)
}

/// The one with the fewest open requests for its weight, of some chosen at random.
///
/// COMPAT: Envoy schedules hosts of unequal weight by deadline; here weights bias the comparison.
fn least_request<'a>(
    hosts: impl Iterator<Item = &'a Arc<Host>> + Clone,
    count: usize,
    choices: u32,
    pick: &mut Pick<'_>,
) -> Option<Arc<Host>> {
    let load = |host: &Host| {
        let open = u64::from(host.state.active_requests.load(Ordering::Relaxed)) + 1;
        open * 1_000_000 / u64::from(host.weight)
    };
    let mut best: Option<&Arc<Host>> = None;
    for _ in 0..choices.max(1) {
        let index = index_below(count, (pick.random)());
        let candidate = hosts.clone().nth(index)?;
        if best.is_none_or(|best| load(candidate) < load(best)) {
            best = Some(candidate);
        }
    }
    best.map(Arc::clone)
}

fn random_host<'a>(
    mut hosts: impl Iterator<Item = &'a Arc<Host>> + Clone,
    count: usize,
    weighted: bool,
    pick: &mut Pick<'_>,
) -> Option<Arc<Host>> {
    let random = (pick.random)();
    let index = if weighted {
        let total = hosts.clone().map(|host| u64::from(host.weight)).sum();
        crate::listener::weighted_index(hosts.clone().map(|host| host.weight), total, random)?
    } else {
        index_below(count, random)
    };
    hosts.nth(index).map(Arc::clone)
}

fn index_below(count: usize, random: u64) -> usize {
    usize::try_from(random % (count.max(1) as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
