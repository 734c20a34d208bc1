//! Addresses are stable, usable and never shared.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn the_hash_never_changes() {
    // What a restart relies on; computed by hand from FNV-1a's definition.
    assert_eq!(cluster_ip("bookinfo", "reviews"), Ipv4Addr::new(10, 109, 6, 217));
    assert_eq!(cluster_ip("bookinfo", "ratings"), Ipv4Addr::new(10, 111, 134, 175));
}

#[test]
fn explicit_addresses_are_honoured_and_some_services_have_none() {
    let own = cluster_ip("shop", "a");
    let service = |cluster_ip: &str, service_type| Service {
        cluster_ip: cluster_ip.to_owned(),
        service_type,
        ..Service::default()
    };
    let explicit = service(&own.to_string(), ServiceType::ClusterIP);
    let plain = service("", ServiceType::NodePort);
    let headless = service("None", ServiceType::ClusterIP);
    let external = service("", ServiceType::ExternalName);
    let assigned = assign_cluster_ips([
        ("shop", "z", &explicit),
        ("shop", "a", &plain),
        ("shop", "h", &headless),
        ("shop", "e", &external),
    ]);
    assert_eq!(assigned.len(), 2);
    assert_eq!(assigned[&("shop".to_owned(), "z".to_owned())], own);
    assert_ne!(assigned[&("shop".to_owned(), "a".to_owned())], own, "it moved out of the way");
}

fn is_usable(address: Ipv4Addr) -> bool {
    let number = u32::from(address);
    (BASE..BASE + SIZE).contains(&number)
        && !matches!(number & 0xff, 0 | 0xff)
        && !RESERVED.contains(&number)
}

proptest! {
    #[test]
    fn addresses_are_usable(namespace in "[a-z]{1,20}", name in "[a-z0-9-]{1,40}") {
        prop_assert!(is_usable(cluster_ip(&namespace, &name)));
    }

    #[test]
    fn no_two_services_share_one(names in prop::collection::btree_set("[a-d]{1,6}", 1..300)) {
        let service = Service::default();
        let assigned = assign_cluster_ips(names.iter().map(|name| ("n", name.as_str(), &service)));
        let distinct: BTreeSet<Ipv4Addr> = assigned.values().copied().collect();
        prop_assert_eq!(distinct.len(), names.len());
        prop_assert!(distinct.into_iter().all(is_usable));
        // The order in which they come does not matter.
        let again = assign_cluster_ips(names.iter().rev().map(|name| ("n", name.as_str(), &service)));
        prop_assert_eq!(assigned, again);
    }
}

#[test]
fn the_ends_of_the_range_are_passed_over() {
    assert_eq!(usable_from(0), Ipv4Addr::new(10, 96, 0, 2));
    assert_eq!(usable_from(10), Ipv4Addr::new(10, 96, 0, 11));
    assert_eq!(usable_from(255), Ipv4Addr::new(10, 96, 1, 1));
    assert_eq!(usable_from(SIZE - 1), Ipv4Addr::new(10, 96, 0, 2));
}
