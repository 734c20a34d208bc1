//! The load balancer of a DestinationRule.

use std::time::Duration;

use super::checks;
use crate::{
    networking::{
        ConsistentHashLb, Distribute, Failover, LoadBalancerSettings, LocalityLoadBalancerSetting,
        SimpleLb,
    },
    report::Report,
    yaml::{Path, excerpt},
};

/// Envoy's bound of Maglev's table.
const MAX_TABLE: u64 = 5_000_011;
/// Envoy's bound of a ring.
const MAX_RING: u64 = 8 << 20;

pub(crate) fn check(
    value: &LoadBalancerSettings,
    outlier_detection: bool,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if value.simple.is_some() && value.consistent_hash.is_some() {
        let message = "simple and consistentHash exclude each other";
        report.error(&path.field("consistentHash"), "exclusive-fields", message);
    }
    if let Some(hash) = &value.consistent_hash {
        consistent_hash(hash, &path.field("consistentHash"), report);
    }
    if let Some(locality) = &value.locality_lb_setting {
        let path = path.field("localityLbSetting");
        locality_lb(locality, &path, report);
        let fails_over = !locality.failover.is_empty() || !locality.failover_priority.is_empty();
        if fails_over && !outlier_detection {
            let message = "failover has no effect without outlierDetection";
            report.warning(&path, "no-effect", message);
        }
        if value.zone_aware_lb_setting.is_some() {
            let message = "localityLbSetting and zoneAwareLbSetting exclude each other";
            report.error(&path, "exclusive-fields", message);
        }
    }
    if let Some(zone) = &value.zone_aware_lb_setting {
        failovers(&zone.failover, &path.field("zoneAwareLbSetting"), report);
    }
    warmup(value, path, report);
}

fn warmup(value: &LoadBalancerSettings, path: &Path<'_>, report: &mut Report<'_>) {
    let given = value.warmup.is_some() || value.warmup_duration_secs.is_some();
    let name = if value.warmup.is_some() { "warmup" } else { "warmupDurationSecs" };
    if value.warmup.is_some() && value.warmup_duration_secs.is_some() {
        let message = "warmup and warmupDurationSecs (deprecated) exclude each other";
        report.error(&path.field("warmupDurationSecs"), "exclusive-fields", message);
    }
    let fits = !matches!(value.simple, Some(SimpleLb::Random | SimpleLb::Passthrough))
        && value.consistent_hash.is_none();
    if given && !fits {
        let message = "only ROUND_ROBIN and LEAST_REQUEST warm up";
        report.error(&path.field(name), "exclusive-fields", message);
    }
    if let Some(warmup) = &value.warmup {
        let path = path.field("warmup");
        match warmup.duration {
            None => report.error(&path.field("duration"), "missing-field", "it is missing"),
            Some(duration) if duration < Duration::from_secs(1) => {
                report.error(&path.field("duration"), "invalid-duration", "must be at least 1s");
            }
            Some(_) => {}
        }
        if warmup.aggression.is_some_and(|factor| factor.as_f64() < 1.0) {
            report.error(&path.field("aggression"), "invalid-value", "must be at least 1");
        }
    }
}

fn consistent_hash(value: &ConsistentHashLb, path: &Path<'_>, report: &mut Report<'_>) {
    let keys = [
        value.http_header_name.is_some(),
        value.http_cookie.is_some(),
        value.use_source_ip.is_some(),
        value.http_query_parameter_name.is_some(),
    ];
    if keys.iter().filter(|given| **given).count() != 1 {
        let message = "exactly one of httpHeaderName, httpCookie, useSourceIp and \
                       httpQueryParameterName is needed";
        report.error(path, "exclusive-fields", message);
    }
    if let Some(name) = &value.http_header_name {
        checks::header_name(name, &path.field("httpHeaderName"), report);
    }
    if let Some(cookie) = &value.http_cookie
        && cookie.name.is_empty()
    {
        let path = path.field("httpCookie");
        let path = path.field("name");
        report.error(&path, "missing-field", "the cookie's name is missing");
    }
    let rings = [
        ("ringHash", value.ring_hash.is_some()),
        ("maglev", value.maglev.is_some()),
        ("minimumRingSize", value.minimum_ring_size.is_some()),
    ];
    let given: Vec<&str> = rings.iter().filter(|(_, g)| *g).map(|(name, _)| *name).collect();
    if let [first, second, ..] = given.as_slice() {
        let message = format!("{first} and {second} exclude each other");
        report.error(&path.field(second), "exclusive-fields", message);
    }
    let ring = value.ring_hash.as_ref().and_then(|ring| ring.minimum_ring_size);
    if ring.or(value.minimum_ring_size).is_some_and(|size| size > MAX_RING) {
        let message = format!("the ring must have at most {MAX_RING} entries");
        report.error(path, "invalid-value", message);
    }
    let table = value.maglev.as_ref().and_then(|maglev| maglev.table_size).unwrap_or(0);
    if table != 0 && (table > MAX_TABLE || !is_prime(table)) {
        let path = path.field("maglev");
        let path = path.field("tableSize");
        let message = format!("must be a prime number up to {MAX_TABLE}");
        report.error(&path, "invalid-value", message);
    }
}

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d))
}

fn locality_lb(value: &LocalityLoadBalancerSetting, path: &Path<'_>, report: &mut Report<'_>) {
    let lists = [
        ("distribute", !value.distribute.is_empty()),
        ("failover", !value.failover.is_empty()),
        ("failoverPriority", !value.failover_priority.is_empty()),
    ];
    let given: Vec<&str> = lists.iter().filter(|(_, g)| *g).map(|(name, _)| *name).collect();
    if let [first, second, ..] = given.as_slice()
        && (*first == "distribute")
    {
        let message = format!("{first} and {second} exclude each other");
        report.error(&path.field(second), "exclusive-fields", message);
    }
    let list = path.field("distribute");
    for (index, share) in value.distribute.iter().enumerate() {
        distribute(share, &list.index(index), report);
    }
    failovers(&value.failover, path, report);
}

fn distribute(share: &Distribute, path: &Path<'_>, report: &mut Report<'_>) {
    locality(&share.from, &path.field("from"), report);
    let to = path.field("to");
    for (place, percent) in &share.to {
        let path = to.field(place);
        locality(place, &path, report);
        if !(1..=100).contains(percent) {
            report.error(&path, "invalid-percent", "must be from 1 to 100");
        }
    }
    let sum: u64 = share.to.values().map(|percent| u64::from(*percent)).sum();
    if sum != 100 {
        report.error(&to, "invalid-percent", format!("the shares add up to {sum}, not to 100"));
    }
}

/// `region[/zone[/subzone]]`, with `*` only at the end.
fn locality(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let parts: Vec<&str> = text.split('/').collect();
    let star = parts.iter().position(|part| *part == "*");
    let ok = parts.len() <= 3
        && parts.iter().all(|part| !part.is_empty() && (*part == "*" || !part.contains('*')))
        && star.is_none_or(|at| at + 1 == parts.len());
    if !ok {
        let message = format!("\"{}\" is not region/zone/subzone", excerpt(text));
        report.error(path, "invalid-value", message);
    }
}

fn failovers(list: &[Failover], path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.field("failover");
    for (index, failover) in list.iter().enumerate() {
        let path = path.index(index);
        if failover.from.is_empty() || failover.to.is_empty() {
            report.error(&path, "missing-field", "from and to are needed");
        } else if failover.from == failover.to {
            report.error(&path, "invalid-value", "from and to are the same region");
        }
        for region in [&failover.from, &failover.to] {
            if region.contains('/') || region.contains('*') {
                let message = format!("\"{}\" is not a region", excerpt(region));
                report.error(&path, "invalid-value", message);
            }
        }
    }
}
