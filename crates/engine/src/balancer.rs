//! Load balancing: which host of a cluster takes a request.
//!
//! A balancer belongs to one worker and keeps only what its own order needs; hosts and their
//! counters are shared. Follows Envoy's load balancers: priorities, panic threshold, round robin,
//! least request of n random choices, random, ring hash, Maglev. What is derived from the hosts'
//! health is computed when it changes, not for each choice.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    Host, HostSet,
    hash_ring::HashRing,
    locality::split,
    priority::{Census, Share, shares},
};

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
    panic_threshold: u64,
    /// Whether localities share the load by their weights.
    by_locality: bool,
    start: usize,
    view: Option<View>,
}

/// The hosts that may be chosen, as their health was at one moment.
#[derive(Debug)]
struct View {
    hosts: Arc<HostSet>,
    health_epoch: u64,
    groups: Vec<Group>,
}

/// Hosts of one priority and state, among which the policy chooses.
#[derive(Debug)]
struct Group {
    /// The sum of its own and all earlier groups' shares of the load, in parts of [`Balancer::whole`].
    up_to: u64,
    hosts: Vec<Arc<Host>>,
    /// Whether the hosts' weights differ.
    weighted: bool,
    next: usize,
    /// What each host has saved up, for round robin by weight.
    credits: Vec<i64>,
    ring: Option<HashRing>,
}

impl Balancer {
    /// A balancer of a cluster.
    pub fn new(cluster: &xds::Cluster) -> Self {
        Self {
            policy: cluster.lb_policy.clone(),
            panic_threshold: u64::from(cluster.healthy_panic_threshold.unwrap_or(50).min(100)),
            by_locality: cluster.locality_weighted,
            start: 0,
            view: None,
        }
    }

    /// What groups share: percents, or finer parts where localities have weights.
    fn whole(&self) -> u64 {
        100 * self.parts()
    }

    /// Parts of a percent.
    fn parts(&self) -> u64 {
        if self.by_locality { 1 << 20 } else { 1 }
    }

    /// Starts round robin at another place, so that workers do not all begin with the same host.
    pub fn seed(&mut self, random: u64) {
        self.start = usize::try_from(random % 1024).unwrap_or(0);
        self.view = None;
    }

    /// Chooses a host; none: no host may take the request.
    pub fn pick(&mut self, hosts: &Arc<HostSet>, pick: &mut Pick<'_>) -> Option<Arc<Host>> {
        let by_hash =
            matches!(self.policy, xds::LbPolicy::RingHash { .. } | xds::LbPolicy::Maglev { .. });
        let mut last = None;
        for attempt in 0..=pick.attempts {
            let hash = if by_hash { pick.hash } else { None };
            let number = hash.unwrap_or_else(|| (pick.random)());
            let (policy, group) = self.group(hosts, number)?;
            let host = group.pick(policy, (number, attempt), pick.random)?;
            if !(pick.avoid)(host) {
                return Some(Arc::clone(host));
            }
            last = Some(Arc::clone(host));
        }
        last
    }

    /// The group that `number` falls on.
    fn group(&mut self, hosts: &Arc<HostSet>, number: u64) -> Option<(&xds::LbPolicy, &mut Group)> {
        let epoch = hosts.health_epoch();
        let current = self
            .view
            .as_ref()
            .is_some_and(|view| view.health_epoch == epoch && Arc::ptr_eq(&view.hosts, hosts));
        if !current {
            self.view = Some(self.view_of(hosts, epoch));
        }
        let whole = self.whole();
        let groups = &mut self.view.as_mut()?.groups;
        let point = if groups.len() > 1 { number % whole } else { 0 };
        let group = groups.iter_mut().find(|group| point < group.up_to)?;
        Some((&self.policy, group))
    }

    fn view_of(&self, hosts: &Arc<HostSet>, health_epoch: u64) -> View {
        let levels = hosts.priorities();
        let censuses: Vec<Census> = levels.iter().map(|level| census(level)).collect();
        let shares = shares(&censuses, hosts.overprovisioning_factor(), self.panic_threshold);
        let mut groups = Vec::new();
        let mut up_to = 0;
        let mut add = |share: u64, hosts: Vec<Arc<Host>>| {
            if share > 0 {
                up_to += share;
                groups.push(Group::new(up_to, hosts, self.start));
            }
        };
        let factor = hosts.overprovisioning_factor();
        for (priority, (level, share)) in levels.iter().zip(shares).enumerate() {
            let Share { healthy, degraded, panic } = share;
            for (percent, wanted) in
                [(healthy, Host::is_healthy as fn(&Host) -> bool), (degraded, Host::is_degraded)]
            {
                let usable = |host: &Host| panic || wanted(host);
                let share = percent * self.parts();
                if !self.by_locality {
                    add(share, select(level, usable));
                    continue;
                }
                let factor = (!panic).then_some(factor);
                for (share, members) in
                    split(share, (level, hosts.localities(priority)), factor, usable)
                {
                    add(share, members);
                }
            }
        }
        // Round robin goes on where it was.
        for (group, old) in groups.iter_mut().zip(self.view.iter().flat_map(|view| &view.groups)) {
            group.next = old.next;
        }
        View { hosts: Arc::clone(hosts), health_epoch, groups }
    }
}

fn census(level: &[Arc<Host>]) -> Census {
    let count = |state: fn(&Host) -> bool| level.iter().filter(|host| state(host)).count() as u64;
    Census {
        total: level.len() as u64,
        healthy: count(Host::is_healthy),
        degraded: count(Host::is_degraded),
    }
}

fn select(level: &[Arc<Host>], wanted: impl Fn(&Host) -> bool) -> Vec<Arc<Host>> {
    level.iter().filter(|host| wanted(host)).cloned().collect()
}

impl Group {
    fn new(up_to: u64, hosts: Vec<Arc<Host>>, next: usize) -> Self {
        let first = hosts.first().map(|host| host.weight);
        let weighted = hosts.iter().any(|host| Some(host.weight) != first);
        let credits = if weighted { vec![0; hosts.len()] } else { Vec::new() };
        Self { up_to, hosts, weighted, next, credits, ring: None }
    }

    fn pick(
        &mut self,
        policy: &xds::LbPolicy,
        (hash, attempt): (u64, u32),
        random: &mut dyn FnMut() -> u64,
    ) -> Option<&Arc<Host>> {
        match policy {
            xds::LbPolicy::RoundRobin if self.weighted => self.round_robin_by_weight(),
            xds::LbPolicy::RoundRobin => {
                self.next = self.next.wrapping_add(1);
                self.hosts.get(self.next.checked_rem(self.hosts.len())?)
            }
            xds::LbPolicy::LeastRequest { choice_count } => {
                least_request(&self.hosts, choice_count.unwrap_or(2), random)
            }
            xds::LbPolicy::RingHash { .. } | xds::LbPolicy::Maglev { .. } => {
                let hosts = &self.hosts;
                let ring = self.ring.get_or_insert_with(|| HashRing::new(policy, hosts));
                hosts.get(ring.host(hash, attempt)?)
            }
            // Envoy's random balancer does not look at weights either.
            xds::LbPolicy::Random | xds::LbPolicy::ClusterProvided => one_of(&self.hosts, random()),
        }
    }

    /// Round robin that does not send a heavy host all its turns in a row.
    fn round_robin_by_weight(&mut self) -> Option<&Arc<Host>> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, (host, credit)) in self.hosts.iter().zip(&mut self.credits).enumerate() {
            let weight = i64::from(host.weight);
            total += weight;
            *credit += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((index, *credit));
            }
        }
        let (index, _) = best?;
        *self.credits.get_mut(index)? -= total;
        self.hosts.get(index)
    }
}

/// The one with the fewest open requests for its weight, of some chosen at random.
///
/// COMPAT: Envoy schedules hosts of unequal weight by deadline; here weights bias the comparison.
fn least_request<'a>(
    hosts: &'a [Arc<Host>],
    choices: u32,
    random: &mut dyn FnMut() -> u64,
) -> Option<&'a Arc<Host>> {
    let load = |host: &Host| {
        let open = u64::from(host.state.active_requests.load(Ordering::Relaxed)) + 1;
        open * 1_000_000 / u64::from(host.weight)
    };
    let mut best: Option<(&Arc<Host>, u64)> = None;
    for _ in 0..choices.max(1) {
        let candidate = one_of(hosts, random())?;
        let found = load(candidate);
        if best.is_none_or(|(_, least)| found < least) {
            best = Some((candidate, found));
        }
    }
    best.map(|(host, _)| host)
}

fn one_of(hosts: &[Arc<Host>], random: u64) -> Option<&Arc<Host>> {
    let index = random.checked_rem(hosts.len() as u64)?;
    hosts.get(usize::try_from(index).ok()?)
}

#[cfg(test)]
mod tests;
