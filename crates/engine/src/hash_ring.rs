//! Consistent hashing: a ring of points, or a Maglev table, over the hosts that may be used.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::Host;

/// The smallest ring unless configured (Istio's `minimumRingSize`).
const RING_SIZE: u64 = 1024;
/// The largest ring (Envoy's `maximum_ring_size`).
const MAX_RING_SIZE: u64 = 8 * 1024 * 1024;
/// The size of a Maglev table unless configured.
const TABLE_SIZE: u64 = 65_537;

/// Hosts by hash.
#[derive(Debug)]
pub(crate) enum HashRing {
    /// Points in order, each with its host.
    Ring(Vec<(u64, Arc<Host>)>),
    /// A host a slot.
    Maglev(Vec<Arc<Host>>),
}

impl HashRing {
    pub(crate) fn new(policy: &xds::LbPolicy, hosts: Vec<Arc<Host>>) -> Self {
        match policy {
            xds::LbPolicy::Maglev { table_size } => {
                Self::Maglev(maglev(&hosts, table_size.unwrap_or(TABLE_SIZE)))
            }
            xds::LbPolicy::RingHash { minimum_ring_size } => {
                Self::Ring(ring(&hosts, minimum_ring_size.unwrap_or(RING_SIZE)))
            }
            _ => Self::Ring(ring(&hosts, RING_SIZE)),
        }
    }

    pub(crate) fn host(&self, hash: u64) -> Option<&Arc<Host>> {
        match self {
            Self::Ring(points) => {
                let at = points.partition_point(|(point, _)| *point < hash);
                points.get(at).or_else(|| points.first()).map(|(_, host)| host)
            }
            Self::Maglev(slots) => {
                let at = hash.checked_rem(slots.len() as u64)?;
                slots.get(usize::try_from(at).ok()?)
            }
        }
    }
}

/// COMPAT: which host a hash falls on differs from Envoy (it uses xxHash64); the spread and the
/// share that moves when a host comes or goes do not.
fn hash_of(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

fn ring(hosts: &[Arc<Host>], minimum: u64) -> Vec<(u64, Arc<Host>)> {
    let total: u64 = hosts.iter().map(|host| u64::from(host.weight)).sum();
    let least = hosts.iter().map(|host| u64::from(host.weight)).min().unwrap_or(1);
    // So many points that the lightest host has at least one, and the ring is large enough.
    let size = minimum.max(total.div_ceil(least)).min(MAX_RING_SIZE);
    let mut points = Vec::new();
    for host in hosts {
        let share = (u64::from(host.weight) * size).div_ceil(total.max(1));
        points.extend(
            (0..share).map(|index| (hash_of((&host.endpoint.address, index)), Arc::clone(host))),
        );
    }
    points.sort_by_key(|(point, _)| *point);
    points
}

/// The table of the Maglev paper: hosts take turns, by weight, to claim the next free slot of
/// their own permutation.
fn maglev(hosts: &[Arc<Host>], size: u64) -> Vec<Arc<Host>> {
    let Ok(length) = usize::try_from(size) else { return Vec::new() };
    if hosts.is_empty() || length < 2 {
        return Vec::new();
    }
    let heaviest = hosts.iter().map(|host| host.weight).max().unwrap_or(1);
    let mut turns: Vec<(u64, u64, u64, u64)> = hosts
        .iter()
        .map(|host| {
            let offset = hash_of((&host.endpoint.address, "offset")) % size;
            let skip = hash_of((&host.endpoint.address, "skip")) % (size - 1) + 1;
            (offset, skip, 0, 0)
        })
        .collect();
    let mut slots: Vec<Option<usize>> = vec![None; length];
    let mut filled = 0;
    while filled < length {
        for (index, (offset, skip, next, credit)) in turns.iter_mut().enumerate() {
            *credit += u64::from(hosts[index].weight);
            if *credit < u64::from(heaviest) || filled == length {
                continue;
            }
            *credit -= u64::from(heaviest);
            loop {
                let at = usize::try_from((*offset + *next * *skip) % size).unwrap_or(0);
                *next += 1;
                if slots[at].is_none() {
                    slots[at] = Some(index);
                    filled += 1;
                    break;
                }
            }
        }
    }
    slots.into_iter().flatten().map(|index| Arc::clone(&hosts[index])).collect()
}
