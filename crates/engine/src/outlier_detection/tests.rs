//! When hosts are ejected, and when they come back.

use super::*;

fn hosts(count: u8) -> HostSet {
    let endpoints = (1..=count).map(|last| xds::Endpoint {
        address: xds::Address::socket([10, 0, 0, last], 80),
        health_status: xds::HealthStatus::Healthy,
        load_balancing_weight: None,
        metadata: xds::Metadata::default(),
    });
    let locality = xds::LocalityEndpoints { endpoints: endpoints.collect(), ..Default::default() };
    let assignment = xds::LoadAssignment { localities: vec![locality], ..Default::default() };
    HostSet::new(&assignment, &HostSet::default())
}

fn detector(change: impl FnOnce(&mut xds::OutlierDetection)) -> OutlierDetection {
    let mut config = xds::OutlierDetection {
        consecutive_5xx: Some(3),
        max_ejection_percent: Some(100),
        ..xds::OutlierDetection::default()
    };
    change(&mut config);
    OutlierDetection::new(&config)
}

fn at(ms: u64) -> Moment {
    Moment { ms, random: 0 }
}

#[test]
fn failures_in_a_row_eject_and_a_success_starts_over() {
    let (set, detector) = (hosts(2), detector(|_| {}));
    let host = set.hosts().next().expect("host");
    let outcomes = [500, 500, 200, 500, 503];
    for status in outcomes {
        assert_eq!(detector.record(&set, host, Outcome::Response(status), at(0)), None);
    }
    let third = detector.record(&set, host, Outcome::LocalOriginFailure, at(0));
    assert_eq!(third, Some(Ejection::Consecutive5xx));
    assert!(host.is_ejected() && !host.is_healthy());
}

#[test]
fn an_ejection_ends_and_the_next_lasts_longer() {
    let set = hosts(2);
    let detector = detector(|config| config.base_ejection_time = Some(Duration::from_secs(1)));
    let host = set.hosts().next().expect("host");
    let eject = |now| {
        for _ in 0..3 {
            let _reason = detector.record(&set, host, Outcome::Response(500), at(now));
        }
        assert!(host.is_ejected());
    };
    eject(0);
    assert!(detector.sweep(&set, 999).is_empty());
    assert_eq!(detector.sweep(&set, 1000).len(), 1);
    eject(1000);
    assert!(detector.sweep(&set, 2500).is_empty());
    assert_eq!(detector.sweep(&set, 3000).len(), 1);
}

#[test]
fn no_more_than_a_share_is_ejected() {
    let set = hosts(4);
    let detector = detector(|config| config.max_ejection_percent = Some(50));
    for host in set.hosts() {
        for _ in 0..3 {
            let _reason = detector.record(&set, host, Outcome::Response(500), at(0));
        }
    }
    assert_eq!(set.hosts().filter(|host| host.is_ejected()).count(), 2);
    let few = hosts(3);
    let default = detector_with_default_share();
    let host = few.hosts().next().expect("host");
    for _ in 0..9 {
        let _reason = default.record(&few, host, Outcome::Response(500), at(0));
    }
    assert!(!host.is_ejected(), "one of three is more than 10 %");
}

fn detector_with_default_share() -> OutlierDetection {
    detector(|config| config.max_ejection_percent = None)
}

#[test]
fn gateway_failures_are_counted_when_enforced() {
    let set = hosts(1);
    let detector = detector(|config| {
        config.consecutive_5xx = Some(0);
        config.consecutive_gateway_failure = Some(2);
        config.enforcing_consecutive_gateway_failure = Some(100);
    });
    let host = set.hosts().next().expect("host");
    for status in [500, 503, 500, 502, 504] {
        let _reason = detector.record(&set, host, Outcome::Response(status), at(0));
    }
    assert!(host.is_ejected());
}

#[test]
fn local_failures_can_be_told_apart() {
    let set = hosts(1);
    let detector = detector(|config| {
        config.split_external_local_origin_errors = true;
        config.consecutive_local_origin_failure = Some(2);
    });
    let host = set.hosts().next().expect("host");
    assert_eq!(detector.record(&set, host, Outcome::LocalOriginFailure, at(0)), None);
    let reason = detector.record(&set, host, Outcome::LocalOriginFailure, at(0));
    assert_eq!(reason, Some(Ejection::ConsecutiveLocalOriginFailure));
}
