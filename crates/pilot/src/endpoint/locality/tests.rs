use config::networking::Failover;
use xds::{Address, HealthStatus, Metadata};

use super::*;

fn place(text: &str) -> Locality {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), sub_zone: next() }
}

fn endpoint() -> Endpoint {
    Endpoint {
        address: Address::socket([10, 0, 0, 1], 80),
        health_status: HealthStatus::Healthy,
        load_balancing_weight: Some(1),
        metadata: Metadata::default(),
    }
}

/// `(locality, priority, weight, endpoints)` of endpoints at these places with a label `v`.
fn arranged(
    caller: (&str, &str),
    setting: Option<LocalityLoadBalancerSetting>,
    outlier: bool,
    places: &[(&str, &str)],
) -> Vec<(String, u32, Option<u32>, usize)> {
    let labels = |v: &str| BTreeMap::from([("v".to_owned(), v.to_owned())]);
    let own = labels(caller.1);
    let localities: Vec<_> = places.iter().map(|(at, v)| (place(at), labels(v))).collect();
    let endpoints = localities.iter().map(|(locality, labels)| Placed {
        endpoint: endpoint(),
        locality,
        labels,
    });
    let caller = Caller {
        locality: &place(caller.0),
        labels: &own,
        setting: setting.as_ref(),
        has_outlier_detection: outlier,
    };
    let name = |at: &Locality| {
        let parts = [at.region.as_str(), &at.zone, &at.sub_zone];
        parts.join("/").trim_end_matches('/').to_owned()
    };
    caller
        .arrange(endpoints.collect())
        .into_iter()
        .map(|l| (name(&l.locality), l.priority, l.load_balancing_weight, l.endpoints.len()))
        .collect()
}

fn setting(change: impl FnOnce(&mut LocalityLoadBalancerSetting)) -> LocalityLoadBalancerSetting {
    let mut setting = LocalityLoadBalancerSetting::default();
    change(&mut setting);
    setting
}

const PLACES: [(&str, &str); 5] =
    [("a/1/x", ""), ("a/1/y", ""), ("a/2/x", ""), ("b/1/x", ""), ("c/1/x", "")];

fn priorities(found: &[(String, u32, Option<u32>, usize)]) -> Vec<(&str, u32)> {
    let mut all: Vec<_> = found.iter().map(|(name, rank, ..)| (name.as_str(), *rank)).collect();
    all.sort_unstable();
    all
}

#[test]
fn nearer_places_come_first_where_failures_are_noticed() {
    let found = arranged(("a/1/x", ""), None, true, &PLACES);
    let wanted = [("a/1/x", 0), ("a/1/y", 1), ("a/2/x", 2), ("b/1/x", 3), ("c/1/x", 3)];
    assert_eq!(priorities(&found), wanted);
    let without = arranged(("a/1/x", ""), None, false, &PLACES);
    assert!(without.iter().all(|(_, priority, ..)| *priority == 0));
    let off = setting(|s| s.enabled = Some(false));
    let off = arranged(("a/1/x", ""), Some(off), true, &PLACES);
    assert!(off.iter().all(|(_, priority, ..)| *priority == 0));
    // Ranks that nobody has are left out.
    let gaps = arranged(("a/1/x", ""), None, true, &[("a/2/x", ""), ("b/1/x", "")]);
    assert_eq!(priorities(&gaps), [("a/2/x", 0), ("b/1/x", 1)]);
}

#[test]
fn a_region_fails_over_to_the_one_that_is_named() {
    let rule = Failover { from: "a".into(), to: "c".into() };
    let found = arranged(("a/1/x", ""), Some(setting(|s| s.failover = vec![rule])), true, &PLACES);
    assert_eq!(priorities(&found)[3..], [("b/1/x", 4), ("c/1/x", 3)]);
    let rule = Failover { from: "b".into(), to: "c".into() };
    let found = arranged(("a/1/x", ""), Some(setting(|s| s.failover = vec![rule])), true, &PLACES);
    assert_eq!(priorities(&found)[3..], [("b/1/x", 3), ("c/1/x", 3)]);
}

#[test]
fn labels_give_the_order() {
    let order = |labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Some(setting(|s| s.failover_priority = labels))
    };
    let places = [("a/1", "1"), ("a/1", "2"), ("a/2", "1"), ("b/1", "1")];
    let found = arranged(("a/1", "1"), order(&[REGION, ZONE, "v"]), true, &places);
    assert_eq!(priorities(&found), [("a/1", 0), ("a/1", 1), ("a/2", 2), ("b/1", 3)]);
    let found = arranged(("a/1", "1"), order(&["v=2"]), true, &places);
    assert_eq!(priorities(&found), [("a/1", 0), ("a/1", 1), ("a/2", 1), ("b/1", 1)]);
}

#[test]
fn shares_are_the_clients_and_the_rest_gets_nothing() {
    let to = |shares: &[(&str, u32)]| {
        let to = shares.iter().map(|(at, percent)| ((*at).to_owned(), *percent)).collect();
        let share = Distribute { from: "a/1/*".to_owned(), to };
        Some(setting(|s| s.distribute = vec![share]))
    };
    let mut places = PLACES.to_vec();
    places.push(("a/1/x", ""));
    let shares = to(&[("a/1/*", 70), ("b/*", 30)]);
    let found = arranged(("a/1/z", ""), shares.clone(), true, &places);
    assert_eq!(
        found,
        [
            ("a/1/x".to_owned(), 0, Some(47), 2),
            ("a/1/y".to_owned(), 0, Some(24), 1),
            ("a/2/x".to_owned(), 0, None, 0),
            ("b/1/x".to_owned(), 0, Some(30), 1),
            ("c/1/x".to_owned(), 0, None, 0),
        ]
    );
    // Nothing is said of clients elsewhere.
    let found = arranged(("b/1/x", ""), shares, true, &places);
    assert!(found.iter().all(|(_, priority, _, count)| *priority == 0 && *count > 0));
    assert_eq!(found[0].2, Some(2));
}
