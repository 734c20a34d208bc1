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

/// Hosts by hash, as positions in the list that it was made of.
#[derive(Debug)]
pub(crate) enum HashRing {
    /// Points in order, each with its host.
    Ring(Vec<(u64, u32)>),
    /// A host a slot.
    Maglev(Vec<u32>),
}

impl HashRing {
    pub(crate) fn new(policy: &xds::LbPolicy, hosts: &[Arc<Host>]) -> Self {
        match policy {
            xds::LbPolicy::Maglev { table_size } => {
                Self::Maglev(maglev(hosts, table_size.unwrap_or(TABLE_SIZE)))
            }
            xds::LbPolicy::RingHash { minimum_ring_size } => {
                Self::Ring(ring(hosts, minimum_ring_size.unwrap_or(RING_SIZE)))
            }
            _ => Self::Ring(ring(hosts, RING_SIZE)),
        }
    }

    /// The host of a hash. Further attempts (from 1) go on to other places, so that a retry can
    /// reach another host.
    pub(crate) fn host(&self, hash: u64, attempt: u32) -> Option<usize> {
        let attempt = u64::from(attempt);
        let index = match self {
            Self::Ring(points) => {
                let length = points.len() as u64;
                let at = points.partition_point(|(point, _)| *point < hash) as u64;
                let at = at.wrapping_add(attempt).checked_rem(length)?;
                points.get(usize::try_from(at).ok()?)?.1
            }
            Self::Maglev(slots) => {
                let hash = if attempt == 0 { hash } else { hash ^ (u64::MAX - attempt + 1) };
                let at = hash.checked_rem(slots.len() as u64)?;
                *slots.get(usize::try_from(at).ok()?)?
            }
        };
        usize::try_from(index).ok()
    }
}

/// COMPAT: which host a hash falls on differs from Envoy (it uses xxHash64); the spread and the
/// share that moves when a host comes or goes do not.
fn hash_of(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

fn ring(hosts: &[Arc<Host>], minimum: u64) -> Vec<(u64, u32)> {
    let total: u64 = hosts.iter().map(|host| u64::from(host.weight)).sum();
    let least = hosts.iter().map(|host| u64::from(host.weight)).min().unwrap_or(1);
    // So many points that the lightest host has at least one, and the ring is large enough.
    let size = minimum.max(total.div_ceil(least)).min(MAX_RING_SIZE);
    let mut points = Vec::new();
    for (index, host) in (0..).zip(hosts) {
        let share = (u64::from(host.weight) * size).div_ceil(total.max(1));
        points.extend((0..share).map(|n| (hash_of((&host.endpoint.address, n)), index)));
    }
    points.sort_unstable();
    points
}

/// One host's turn in filling a Maglev table.
struct Turn {
    offset: u64,
    skip: u64,
    next: u64,
    credit: u64,
}

/// The table of the Maglev paper: hosts take turns, by weight, to claim the next free slot of
/// their own permutation.
fn maglev(hosts: &[Arc<Host>], size: u64) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    let Ok(length) = usize::try_from(size) else { return Vec::new() };
    if hosts.is_empty() || length < 2 {
        return Vec::new();
    }
    let heaviest = hosts.iter().map(|host| u64::from(host.weight)).max().unwrap_or(1);
    let turn = |host: &Arc<Host>| Turn {
        offset: hash_of((&host.endpoint.address, "offset")) % size,
        skip: hash_of((&host.endpoint.address, "skip")) % (size - 1) + 1,
        next: 0,
        credit: 0,
    };
    let mut turns: Vec<Turn> = hosts.iter().map(turn).collect();
    let mut slots = vec![FREE; length];
    let mut filled = 0;
    while filled < length {
        for ((index, host), turn) in (0..).zip(hosts).zip(&mut turns) {
            turn.credit += u64::from(host.weight);
            if turn.credit < heaviest || filled == length {
                continue;
            }
            turn.credit -= heaviest;
            claim(&mut slots, turn, index);
            filled += 1;
        }
    }
    slots
}

/// Gives the next free slot of a host's permutation to it.
fn claim(slots: &mut [u32], turn: &mut Turn, index: u32) {
    let size = slots.len() as u64;
    loop {
        let at = usize::try_from((turn.offset + turn.next * turn.skip) % size).unwrap_or(0);
        turn.next += 1;
        if let Some(slot) = slots.get_mut(at).filter(|slot| **slot == u32::MAX) {
            *slot = index;
            return;
        }
    }
}
