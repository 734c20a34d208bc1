//! Outlier detection: which hosts are taken out after failures in a row, and for how long.
//!
//! Follows Envoy's outlier detector for consecutive failures; success-rate and failure-percentage
//! detection are off, as Istio leaves them. Time is passed in, in milliseconds of any clock that
//! does not go back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{Host, HostSet};

/// How a request or connection ended, as the detector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status.
    Response(u16),
    /// A connection came up (TCP).
    Connected,
    /// No connection, no answer, or a time-out.
    LocalOriginFailure,
}

/// Why a host was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ejection {
    /// 5xx in a row.
    Consecutive5xx,
    /// 502, 503, 504 in a row.
    ConsecutiveGatewayFailure,
    /// Failures to connect in a row.
    ConsecutiveLocalOriginFailure,
}

/// When something happened, with a random number to decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds of a clock that does not go back.
    pub ms: u64,
    /// A random number.
    pub random: u64,
}

/// A cluster's detector, with defaults filled in.
#[derive(Clone, Debug)]
pub struct OutlierDetection {
    consecutive_5xx: u32,
    consecutive_gateway_failure: u32,
    consecutive_local_origin_failure: u32,
    enforcing: [u32; 3],
    split: bool,
    /// How often ejections are looked at.
    pub interval: Duration,
    base_ejection_ms: u64,
    max_ejection_ms: u64,
    max_ejection_percent: usize,
}

impl OutlierDetection {
    /// A detector with Envoy's defaults where nothing is set.
    pub fn new(config: &xds::OutlierDetection) -> Self {
        let millis = |duration: Option<Duration>, default: u64| {
            duration.map_or(default, |value| u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
        };
        let base_ejection_ms = millis(config.base_ejection_time, 30_000);
        Self {
            consecutive_5xx: config.consecutive_5xx.unwrap_or(5),
            consecutive_gateway_failure: config.consecutive_gateway_failure.unwrap_or(5),
            consecutive_local_origin_failure: config.consecutive_local_origin_failure.unwrap_or(5),
            enforcing: [
                config.enforcing_consecutive_5xx.unwrap_or(100),
                config.enforcing_consecutive_gateway_failure.unwrap_or(0),
                config.enforcing_consecutive_local_origin_failure.unwrap_or(100),
            ],
            split: config.split_external_local_origin_errors,
            interval: config.interval.unwrap_or(Duration::from_secs(10)),
            base_ejection_ms,
            max_ejection_ms: millis(config.max_ejection_time, 300_000).max(base_ejection_ms),
            max_ejection_percent: config.max_ejection_percent.unwrap_or(10).min(100) as usize,
        }
    }

    /// Takes note of an outcome; ejects the host if it was one too many.
    pub fn record(
        &self,
        hosts: &HostSet,
        host: &Arc<Host>,
        outcome: Outcome,
        now: Moment,
    ) -> Option<Ejection> {
        let state = &host.state;
        let (failed, gateway, local) = match outcome {
            Outcome::Response(status) => {
                ((500..600).contains(&status), (502..=504).contains(&status), false)
            }
            Outcome::Connected => (false, false, false),
            Outcome::LocalOriginFailure => (!self.split, !self.split, true),
        };
        let external = !(local && self.split);
        let mut reason = None;
        let counters = [
            (
                external,
                failed,
                &state.consecutive_5xx,
                self.consecutive_5xx,
                Ejection::Consecutive5xx,
            ),
            (
                external,
                gateway,
                &state.consecutive_gateway_failure,
                self.consecutive_gateway_failure,
                Ejection::ConsecutiveGatewayFailure,
            ),
            (
                self.split,
                local,
                &state.consecutive_local_origin_failure,
                self.consecutive_local_origin_failure,
                Ejection::ConsecutiveLocalOriginFailure,
            ),
        ];
        for (index, (counted, failure, counter, limit, kind)) in counters.into_iter().enumerate() {
            if !counted {
                continue;
            }
            if !failure {
                counter.store(0, Ordering::Relaxed);
                continue;
            }
            let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
            if limit > 0 && count >= limit {
                counter.store(0, Ordering::Relaxed);
                let enforced = now.random % 100 < u64::from(self.enforcing[index]);
                if enforced && self.eject(hosts, host, now.ms) {
                    reason = reason.or(Some(kind));
                }
            }
        }
        reason
    }

    /// Ejects a host unless too many are.
    fn eject(&self, hosts: &HostSet, host: &Arc<Host>, now_ms: u64) -> bool {
        let (total, ejected) = hosts.hosts().fold((0, 0), |(total, ejected), one| {
            (total + 1, ejected + usize::from(one.is_ejected()))
        });
        if host.is_ejected() || (ejected + 1) * 100 > total * self.max_ejection_percent {
            return false;
        }
        host.state.ejected_at_ms.store(now_ms, Ordering::Relaxed);
        host.state.ejections.fetch_add(1, Ordering::Relaxed);
        let is_new = !host.state.ejected.swap(true, Ordering::Relaxed);
        hosts.health_changed();
        is_new
    }

    /// Ends ejections that lasted long enough; to be called every `interval`. Returns the hosts
    /// that came back.
    pub fn sweep(&self, hosts: &HostSet, now_ms: u64) -> Vec<Arc<Host>> {
        let mut back = Vec::new();
        for host in hosts.hosts() {
            let state = &host.state;
            if !host.is_ejected() {
                // Time without trouble shortens the next ejection.
                let fewer = |count: u32| count.checked_sub(1);
                let _unchanged =
                    state.ejections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
                continue;
            }
            let times = u64::from(state.ejections.load(Ordering::Relaxed).max(1));
            let lasts = self.base_ejection_ms.saturating_mul(times).min(self.max_ejection_ms);
            let since = now_ms.saturating_sub(state.ejected_at_ms.load(Ordering::Relaxed));
            if since >= lasts {
                state.consecutive_5xx.store(0, Ordering::Relaxed);
                state.consecutive_gateway_failure.store(0, Ordering::Relaxed);
                state.consecutive_local_origin_failure.store(0, Ordering::Relaxed);
                state.ejected.store(false, Ordering::Relaxed);
                back.push(Arc::clone(host));
            }
        }
        if !back.is_empty() {
            hosts.health_changed();
        }
        back
    }
}

#[cfg(test)]
mod tests;
