//! Which hosts are chosen, and how often.

use std::collections::BTreeMap;

use super::*;

fn endpoint(last: u8, weight: u32, health_status: xds::HealthStatus) -> xds::Endpoint {
    xds::Endpoint {
        address: xds::Address::socket([10, 0, 0, last], 80),
        health_status,
        load_balancing_weight: Some(weight),
        metadata: xds::Metadata::default(),
    }
}

fn assignment(priorities: Vec<Vec<xds::Endpoint>>) -> xds::LoadAssignment {
    let localities = priorities.into_iter().zip(0..).map(|(endpoints, priority)| {
        xds::LocalityEndpoints { priority, endpoints, ..xds::LocalityEndpoints::default() }
    });
    xds::LoadAssignment { localities: localities.collect(), ..xds::LoadAssignment::default() }
}

fn set(endpoints: Vec<xds::Endpoint>) -> Arc<HostSet> {
    Arc::new(HostSet::new(&assignment(vec![endpoints]), &HostSet::default()))
}

fn balancer(policy: xds::LbPolicy, panic_threshold: u64) -> Balancer {
    Balancer { policy, panic_threshold, by_locality: false, start: 0, view: None }
}

/// A generator of numbers that look random (splitmix64).
fn numbers() -> impl FnMut() -> u64 {
    let mut state = 7_u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn spread(balancer: &mut Balancer, hosts: &Arc<HostSet>, times: usize) -> BTreeMap<String, usize> {
    let mut random = numbers();
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        let mut pick = Pick { random: &mut random, hash: None, avoid: &|_| false, attempts: 0 };
        if let Some(host) = balancer.pick(hosts, &mut pick) {
            *counts.entry(host.endpoint.address.to_string()).or_insert(0) += 1;
        }
    }
    counts
}

const LEAST: xds::LbPolicy = xds::LbPolicy::LeastRequest { choice_count: None };
const HEALTHY: xds::HealthStatus = xds::HealthStatus::Healthy;
const UNHEALTHY: xds::HealthStatus = xds::HealthStatus::Unhealthy;

#[test]
fn round_robin_is_even_and_obeys_weights() {
    let even = set((1..=3).map(|last| endpoint(last, 1, HEALTHY)).collect());
    let counts = spread(&mut balancer(xds::LbPolicy::RoundRobin, 0), &even, 300);
    assert!(counts.values().all(|&count| count == 100), "{counts:?}");
    let weighted = set(vec![endpoint(1, 1, HEALTHY), endpoint(2, 3, HEALTHY)]);
    let counts = spread(&mut balancer(xds::LbPolicy::RoundRobin, 0), &weighted, 400);
    assert_eq!(counts["10.0.0.2:80"], 300);
}

#[test]
fn unhealthy_hosts_get_nothing_unless_in_panic() {
    let hosts =
        set(vec![endpoint(1, 1, HEALTHY), endpoint(2, 1, UNHEALTHY), endpoint(3, 1, UNHEALTHY)]);
    for policy in [
        xds::LbPolicy::RoundRobin,
        LEAST,
        xds::LbPolicy::Random,
        xds::LbPolicy::RingHash { minimum_ring_size: None },
    ] {
        let counts = spread(&mut balancer(policy, 0), &hosts, 60);
        assert_eq!(counts, BTreeMap::from([("10.0.0.1:80".to_owned(), 60)]));
    }
    assert_eq!(spread(&mut balancer(LEAST, 50), &hosts, 600).len(), 3);
    let none = set(vec![endpoint(1, 1, UNHEALTHY)]);
    assert!(spread(&mut balancer(LEAST, 0), &none, 5).is_empty());
    assert!(spread(&mut balancer(LEAST, 50), &set(Vec::new()), 5).is_empty());
}

#[test]
fn least_request_prefers_the_idle_host() {
    let hosts = set((1..=2).map(|last| endpoint(last, 1, HEALTHY)).collect());
    hosts.hosts().next().expect("host").state.active_requests.store(50, Ordering::Relaxed);
    let counts = spread(&mut balancer(LEAST, 0), &hosts, 1000);
    assert!(counts["10.0.0.2:80"] > 700, "{counts:?}");
}

#[test]
fn the_next_priority_takes_over_as_the_first_fails() {
    let level = |base: u8, health: [xds::HealthStatus; 2]| {
        vec![endpoint(base, 1, health[0]), endpoint(base + 1, 1, health[1])]
    };
    let counts = |policy: xds::LbPolicy, first| {
        let set = assignment(vec![level(1, first), level(11, [HEALTHY, HEALTHY])]);
        let hosts = Arc::new(HostSet::new(&set, &HostSet::default()));
        let counts = spread(&mut balancer(policy, 0), &hosts, 1000);
        let second = counts.iter().filter(|(name, _)| name.starts_with("10.0.0.1"));
        second.filter(|(name, _)| name.len() > 11).map(|(_, count)| count).sum::<usize>()
    };
    let ring = xds::LbPolicy::RingHash { minimum_ring_size: None };
    for policy in [xds::LbPolicy::RoundRobin, LEAST, ring] {
        assert_eq!(counts(policy.clone(), [HEALTHY, HEALTHY]), 0, "{policy:?}");
        let third = counts(policy.clone(), [HEALTHY, UNHEALTHY]);
        assert!((230..370).contains(&third), "{policy:?}: {third}");
        assert_eq!(counts(policy.clone(), [UNHEALTHY, UNHEALTHY]), 1000, "{policy:?}");
    }
}

#[test]
fn random_looks_at_no_weights() {
    let hosts = set(vec![endpoint(1, 1, HEALTHY), endpoint(2, 99, HEALTHY)]);
    let counts = spread(&mut balancer(xds::LbPolicy::Random, 0), &hosts, 1000);
    assert!((430..570).contains(&counts["10.0.0.1:80"]), "{counts:?}");
}

#[test]
fn an_ejection_is_seen_at_once_and_so_is_its_end() {
    let hosts = set((1..=2).map(|last| endpoint(last, 1, HEALTHY)).collect());
    let detector = crate::OutlierDetection::new(&xds::OutlierDetection {
        consecutive_5xx: Some(1),
        max_ejection_percent: Some(100),
        ..xds::OutlierDetection::default()
    });
    let mut balancer = balancer(xds::LbPolicy::RoundRobin, 0);
    assert_eq!(spread(&mut balancer, &hosts, 10).len(), 2);
    // The same addresses in a later assignment: one ejection holds for both.
    let endpoints = (1..=2).map(|last| endpoint(last, 1, HEALTHY)).collect();
    let next = Arc::new(HostSet::new(&assignment(vec![endpoints]), &hosts));
    let mut other = Balancer { view: None, ..self::balancer(xds::LbPolicy::RoundRobin, 0) };
    assert_eq!(spread(&mut other, &next, 10).len(), 2);
    let host = hosts.hosts().next().expect("host");
    let now = crate::Moment { ms: 0, random: 0 };
    assert!(detector.record(&hosts, host, crate::Outcome::Response(500), now).is_some());
    assert_eq!(spread(&mut balancer, &hosts, 10).len(), 1);
    assert_eq!(spread(&mut other, &next, 10).len(), 1);
    assert_eq!(detector.sweep(&hosts, 1_000_000).len(), 1);
    assert_eq!(spread(&mut balancer, &hosts, 10).len(), 2);
}

#[test]
fn a_retry_by_hash_reaches_another_host() {
    let hosts = set((1..=3).map(|last| endpoint(last, 1, HEALTHY)).collect());
    for policy in [
        xds::LbPolicy::RingHash { minimum_ring_size: None },
        xds::LbPolicy::Maglev { table_size: None },
    ] {
        let mut balancer = balancer(policy.clone(), 0);
        let mut choose = |avoid: &dyn Fn(&Host) -> bool| {
            let mut pick = Pick { random: &mut || 0, hash: Some(42), avoid, attempts: 50 };
            balancer.pick(&hosts, &mut pick).expect("host").endpoint.address.clone()
        };
        let first = choose(&|_| false);
        assert_eq!(choose(&|_| false), first, "{policy:?}");
        assert_ne!(choose(&|host| host.endpoint.address == first), first, "{policy:?}");
    }
}

#[test]
fn hosts_that_are_not_wanted_are_replaced_if_possible() {
    let hosts = set((1..=2).map(|last| endpoint(last, 1, HEALTHY)).collect());
    let first = xds::Address::socket([10, 0, 0, 1], 80);
    let mut random = numbers();
    for _ in 0..50 {
        let avoid = |host: &Host| host.endpoint.address == first;
        let mut pick = Pick { random: &mut random, hash: None, avoid: &avoid, attempts: 10 };
        let host = balancer(xds::LbPolicy::RoundRobin, 0).pick(&hosts, &mut pick).expect("host");
        assert_ne!(host.endpoint.address, first);
    }
}

#[test]
fn consistent_hashing_moves_little() {
    let endpoints = |count: u8| (1..=count).map(|last| endpoint(last, 1, HEALTHY)).collect();
    let (before, after) = (set(endpoints(20)), set(endpoints(19)));
    for policy in [
        xds::LbPolicy::RingHash { minimum_ring_size: Some(4096) },
        xds::LbPolicy::Maglev { table_size: None },
    ] {
        let (mut old, mut new) = (balancer(policy.clone(), 0), balancer(policy.clone(), 0));
        let mut numbers = numbers();
        let hashes: Vec<u64> = (0..2000).map(|_| numbers()).collect();
        let choose = |balancer: &mut Balancer, hosts, hash| {
            let mut pick =
                Pick { random: &mut || 0, hash: Some(hash), avoid: &|_| false, attempts: 0 };
            balancer.pick(hosts, &mut pick).expect("host").endpoint.address.to_string()
        };
        let moved = hashes
            .iter()
            .filter(|&&hash| {
                let was = choose(&mut old, &before, hash);
                was != choose(&mut new, &after, hash) && was != "10.0.0.20:80"
            })
            .count();
        assert!(moved < 200, "{policy:?}: {moved} of 2000 moved without need");
    }
}

#[test]
fn a_host_keeps_what_was_learned_of_it() {
    let first = set(vec![endpoint(1, 1, HEALTHY)]);
    first.hosts().next().expect("host").state.total_requests.store(9, Ordering::Relaxed);
    let next = HostSet::new(
        &assignment(vec![vec![endpoint(2, 1, HEALTHY), endpoint(1, 5, HEALTHY)]]),
        &first,
    );
    let totals: Vec<u64> =
        next.hosts().map(|host| host.state.total_requests.load(Ordering::Relaxed)).collect();
    assert_eq!(totals, [0, 9]);
}

/// Localities of one priority, each with its weight and the health of its hosts.
fn localities(parts: &[(Option<u32>, &[xds::HealthStatus])]) -> Arc<HostSet> {
    let mut last = 0;
    let localities = parts.iter().zip(["a", "b", "c"]).map(|((weight, hosts), region)| {
        let endpoints = hosts.iter().map(|health| {
            last += 1;
            endpoint(last, 1, *health)
        });
        xds::LocalityEndpoints {
            locality: xds::Locality { region: region.to_owned(), ..xds::Locality::default() },
            load_balancing_weight: *weight,
            endpoints: endpoints.collect(),
            priority: 0,
        }
    });
    let localities = localities.collect();
    let assignment = xds::LoadAssignment { localities, ..xds::LoadAssignment::default() };
    Arc::new(HostSet::new(&assignment, &HostSet::default()))
}

#[test]
fn localities_share_by_weight_and_health() {
    let near = |count: usize, wanted: usize| count.abs_diff(wanted) < 300;
    for policy in [LEAST, xds::LbPolicy::RoundRobin, xds::LbPolicy::Random] {
        let mut balancer = Balancer { by_locality: true, ..balancer(policy, 0) };
        // The shares are the localities', however many hosts they have.
        let hosts = localities(&[(Some(80), &[HEALTHY]), (Some(20), &[HEALTHY; 4]), (None, &[])]);
        let seen = spread(&mut balancer, &hosts, 10_000);
        assert!(near(seen["10.0.0.1:80"], 8_000), "{seen:?}");
        assert!((2..=5).all(|host| near(seen[&format!("10.0.0.{host}:80")], 500)), "{seen:?}");
        // With half of its hosts gone a locality takes 70 percent of its share (140 / 2).
        let hosts = localities(&[
            (Some(50), &[HEALTHY, UNHEALTHY]),
            (Some(50), &[HEALTHY]),
            (None, &[HEALTHY]),
        ]);
        let seen = spread(&mut balancer, &hosts, 10_000);
        assert!(near(seen["10.0.0.1:80"], 4_118), "{seen:?}");
        assert!(near(seen["10.0.0.3:80"], 5_882), "{seen:?}");
        assert_eq!(seen.len(), 2, "without a weight there is no load: {seen:?}");
        // Where nothing has a weight, everything that is healthy serves.
        let hosts = localities(&[(None, &[HEALTHY]), (None, &[HEALTHY, UNHEALTHY])]);
        assert_eq!(spread(&mut balancer, &hosts, 1_000).len(), 2);
    }
}
