//! Virtual addresses of ServiceEntries' hosts that have none: stable, so that a restart chooses
//! the same, and the same for DNS and for listeners.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use crate::{
    Object, ServiceEntry, Spec, cluster_ip::fnv, host::is_wildcard, networking::Resolution,
};

/// 240.240.0.0/16, Istio's range.
const BASE: u32 = u32::from_be_bytes([240, 240, 0, 0]);
const SIZE: u32 = 1 << 16;

/// The label by which a ServiceEntry opts out.
const OPT_OUT: &str = "networking.istio.io/enable-autoallocate-ip";

/// Addresses for the hosts of ServiceEntries without any, by namespace and host. None for wildcard
/// hosts and where the proxy does not choose the endpoint (NONE, DYNAMIC_DNS). Where hashes collide
/// the first by (namespace, host) keeps its address and the others take the next free one.
pub fn assign_entry_ips<'a>(
    objects: impl IntoIterator<Item = &'a Object>,
) -> BTreeMap<(String, String), Ipv4Addr> {
    let mut taken: BTreeSet<Ipv4Addr> = BTreeSet::new();
    let mut wanted: BTreeSet<(&str, String)> = BTreeSet::new();
    for object in objects {
        let Spec::ServiceEntry(entry) = &object.spec else { continue };
        taken.extend(entry.addresses.iter().filter_map(|text| text.parse::<Ipv4Addr>().ok()));
        let opted_out = object.meta.labels.get(OPT_OUT).is_some_and(|value| value == "false");
        if opted_out || !is_eligible(entry) {
            continue;
        }
        let hosts = entry.hosts.iter().filter(|host| !is_wildcard(host));
        wanted.extend(hosts.map(|host| (&*object.meta.namespace, host.to_ascii_lowercase())));
    }
    let mut assigned = BTreeMap::new();
    // A mesh with more hosts than there are addresses leaves the last ones without.
    for (namespace, host) in wanted.into_iter().take(usize::from(u16::MAX) / 2) {
        let mut address = preferred(namespace, &host);
        while !taken.insert(address) {
            address = usable_from(u32::from(address) - BASE + 1);
        }
        assigned.insert((namespace.to_owned(), host), address);
    }
    assigned
}

fn is_eligible(entry: &ServiceEntry) -> bool {
    entry.addresses.is_empty()
        && !matches!(entry.resolution, Resolution::None | Resolution::DynamicDns)
}

fn preferred(namespace: &str, host: &str) -> Ipv4Addr {
    let hash = fnv(namespace, host);
    let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 2^16")]
    let offset = (folded % u64::from(SIZE)) as u32;
    usable_from(offset)
}

/// The first usable address at or after `offset`, going round.
fn usable_from(offset: u32) -> Ipv4Addr {
    let mut offset = offset % SIZE;
    while matches!(offset & 0xff, 0 | 0xff) {
        offset = (offset + 1) % SIZE;
    }
    Ipv4Addr::from(BASE + offset)
}

#[cfg(test)]
mod tests;
