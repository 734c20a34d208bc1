//! Endpoints by locality: shares, and which place steps in for which.
//!
//! One of three arrangements, as Istio has them: shares by the client's locality (`distribute`),
//! labels in order (`failoverPriority`), or nearness with a region to fail over to. The last two
//! need outlier detection: without it nobody would notice that a place fails.

use std::collections::{BTreeMap, BTreeSet};

use config::networking::{Distribute, LocalityLoadBalancerSetting};
use xds::{Endpoint, Locality, LocalityEndpoints};

/// The labels of a locality's parts.
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUB_ZONE: &str = "topology.istio.io/subzone";

/// An endpoint with what its place among others goes by.
#[derive(Clone, Debug)]
pub(super) struct Placed<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) locality: &'a Locality,
    pub(super) labels: &'a BTreeMap<String, String>,
}

/// Whose calls they are, and what is wished for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    pub(super) locality: &'a Locality,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) setting: Option<&'a LocalityLoadBalancerSetting>,
    /// Whether failing endpoints are noticed.
    pub(super) has_outlier_detection: bool,
}

impl Caller<'_> {
    /// The endpoints by priority and locality, with the localities' weights.
    pub(super) fn arrange(self, endpoints: Vec<Placed<'_>>) -> Vec<LocalityEndpoints> {
        let enabled = self.setting.and_then(|setting| setting.enabled).unwrap_or(true);
        let share = self.setting.and_then(|setting| {
            setting.distribute.iter().find(|share| covers(&share.from, self.locality))
        });
        let shares = self.setting.is_some_and(|setting| !setting.distribute.is_empty());
        let rank = |placed: &Placed<'_>| {
            if enabled && !shares { self.rank(placed) } else { 0 }
        };
        let mut groups: BTreeMap<(usize, &Locality), Vec<Endpoint>> = BTreeMap::new();
        for placed in endpoints {
            groups.entry((rank(&placed), placed.locality)).or_default().push(placed.endpoint);
        }
        let ranks: BTreeSet<usize> = groups.keys().map(|(rank, _)| *rank).collect();
        let mut localities: Vec<LocalityEndpoints> = groups
            .into_iter()
            .map(|((rank, locality), endpoints)| LocalityEndpoints {
                // The ranks that are there, counted from 0.
                priority: u32::try_from(ranks.range(..rank).count()).unwrap_or(u32::MAX),
                load_balancing_weight: Some(total_weight(&endpoints)),
                locality: locality.clone(),
                endpoints,
            })
            .collect();
        if let Some(share) = share.filter(|_| enabled) {
            distribute(share, &mut localities);
        }
        localities
    }

    /// 0 is called first; the others step in.
    fn rank(self, placed: &Placed<'_>) -> usize {
        if !self.has_outlier_detection {
            return 0;
        }
        let order = self.setting.map_or(&[][..], |setting| &setting.failover_priority);
        if !order.is_empty() {
            return self.rank_by_labels(order, placed);
        }
        let (from, to) = (self.locality, placed.locality);
        if *from == Locality::default() {
            return 0;
        }
        if from.region == to.region {
            return match (from.zone == to.zone, from.sub_zone == to.sub_zone) {
                (true, true) => 0,
                (true, false) => 1,
                (false, _) => 2,
            };
        }
        let rules = self.setting.into_iter().flat_map(|setting| &setting.failover);
        let mut rules = rules.filter(|rule| rule.from == from.region).peekable();
        let elsewhere = rules.peek().is_some() && !rules.any(|rule| rule.to == to.region);
        if elsewhere { 4 } else { 3 }
    }

    /// How many of the labels, from the first that differs on, do not match.
    fn rank_by_labels(self, order: &[String], placed: &Placed<'_>) -> usize {
        let matches = |wanted: &&String| {
            let (key, value) = match wanted.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (wanted.as_str(), None),
            };
            let theirs = label(key, placed.labels, placed.locality);
            theirs == value.or_else(|| label(key, self.labels, self.locality))
        };
        order.len() - order.iter().take_while(matches).count()
    }
}

/// A label, where the parts of the locality count as labels.
fn label<'a>(
    key: &str,
    labels: &'a BTreeMap<String, String>,
    locality: &'a Locality,
) -> Option<&'a str> {
    let place = match key {
        REGION => locality.region.as_str(),
        ZONE => locality.zone.as_str(),
        SUB_ZONE => locality.sub_zone.as_str(),
        _ => "",
    };
    labels.get(key).map(String::as_str).or(Some(place).filter(|place| !place.is_empty()))
}

/// Whether a pattern such as `region/zone/*` or `*` covers a locality.
fn covers(pattern: &str, locality: &Locality) -> bool {
    let parts = [&locality.region, &locality.zone, &locality.sub_zone];
    let mut wanted = pattern.split('/');
    for part in parts {
        match wanted.next() {
            None | Some("*") => return true,
            Some(wanted) if wanted == part => {}
            Some(_) => return false,
        }
    }
    true
}

fn total_weight(endpoints: &[Endpoint]) -> u32 {
    endpoints.iter().map(|endpoint| endpoint.load_balancing_weight.unwrap_or(1)).sum()
}

/// Gives each locality its share, rounded up; those of no share are emptied.
fn distribute(share: &Distribute, localities: &mut [LocalityEndpoints]) {
    let mut left: Vec<&mut LocalityEndpoints> = localities.iter_mut().collect();
    // The most specific patterns take their localities first.
    let mut shares: Vec<(&String, &u32)> = share.to.iter().collect();
    shares.sort_by_key(|(pattern, _)| (pattern.contains('*'), std::cmp::Reverse(pattern.len())));
    for (pattern, percent) in shares {
        let (mut taken, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|locality| covers(pattern, &locality.locality));
        left = rest;
        let weight =
            |locality: &LocalityEndpoints| u64::from(locality.load_balancing_weight.unwrap_or(0));
        let total: u64 = taken.iter().map(|locality| weight(locality)).sum();
        for locality in &mut taken {
            let own = (weight(locality) * u64::from(*percent)).div_ceil(total.max(1));
            // Envoy knows no weight of zero.
            locality.load_balancing_weight = u32::try_from(own).ok().filter(|own| *own > 0);
        }
    }
    for locality in left {
        locality.endpoints.clear();
        locality.load_balancing_weight = None;
    }
}

#[cfg(test)]
mod tests;
