//! Virtual addresses of Services outside a cluster: stable, so that a restart chooses the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use crate::k8s::{Service, ServiceType};

/// 10.96.0.0/12, Kubernetes' usual Service range.
const BASE: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const SIZE: u32 = 1 << 20;
/// The API server's and the DNS server's addresses in a usual cluster.
const RESERVED: [u32; 2] = [BASE + 1, BASE + 10];

/// The virtual address of the Service `namespace/name`: a hash of both names, in 10.96.0.0/12.
#[must_use]
pub fn cluster_ip(namespace: &str, name: &str) -> Ipv4Addr {
    let hash = fnv(namespace, name);
    let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 2^20")]
    let offset = (folded % u64::from(SIZE)) as u32;
    usable_from(offset)
}

/// FNV-1a over two names with a separator that neither contains: fixed for ever, unlike a library's
/// hasher.
pub(crate) fn fnv(namespace: &str, name: &str) -> u64 {
    let bytes = namespace.bytes().chain([b'/']).chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The first usable address at or after `offset`, going round.
fn usable_from(offset: u32) -> Ipv4Addr {
    let mut offset = offset % SIZE;
    loop {
        let address = BASE + offset;
        if !matches!(address & 0xff, 0 | 0xff) && !RESERVED.contains(&address) {
            return Ipv4Addr::from(address);
        }
        offset = (offset + 1) % SIZE;
    }
}

/// Addresses for all Services, by namespace and name. Explicit addresses are honoured; headless
/// and ExternalName Services have none. Where hashes collide the first by (namespace, name) keeps
/// its address and the others take the next free one.
pub fn assign_cluster_ips<'a>(
    services: impl IntoIterator<Item = (&'a str, &'a str, &'a Service)>,
) -> BTreeMap<(String, String), Ipv4Addr> {
    let mut wanted: BTreeMap<(&str, &str), Option<Ipv4Addr>> = BTreeMap::new();
    for (namespace, name, service) in services {
        if service.is_headless() || service.service_type == ServiceType::ExternalName {
            continue;
        }
        wanted.insert((namespace, name), service.cluster_ip.parse().ok());
    }
    let mut taken: BTreeSet<Ipv4Addr> = wanted.values().filter_map(|address| *address).collect();
    let mut assigned = BTreeMap::new();
    for ((namespace, name), explicit) in wanted {
        let address = explicit.unwrap_or_else(|| free_address(cluster_ip(namespace, name), &taken));
        taken.insert(address);
        assigned.insert((namespace.to_owned(), name.to_owned()), address);
    }
    assigned
}

fn free_address(first: Ipv4Addr, taken: &BTreeSet<Ipv4Addr>) -> Ipv4Addr {
    let mut address = first;
    while taken.contains(&address) {
        address = usable_from(u32::from(address) - BASE + 1);
    }
    address
}

#[cfg(test)]
mod tests;
