//! How long to wait before a process that ended is started again.

use std::time::Duration;

/// An application that ran this long starts over. COMPAT: the kubelet waits for 10 minutes.
const APPLICATION_RESET: Duration = Duration::from_secs(60);
const INFRASTRUCTURE_RESET: Duration = Duration::from_secs(30);
/// The first restarts of an application, before the kubelet's steps begin. The kubelet's first one
/// is immediate, too; some more come quickly, since on one machine a developer watches.
const QUICK_RESTARTS: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_secs(1), Duration::from_secs(1)];

/// What kind of process is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// A container's command: quick at first, then 10 s, 20 s, … up to 5 minutes like the kubelet.
    Application,
    /// The control plane and the sidecars, which others wait for: 250 ms, 500 ms, … up to 10 s.
    Infrastructure,
}

/// Counts the restarts of one process.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Policy,
    failures: u32,
}

impl Backoff {
    /// No restart so far.
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, failures: 0 }
    }

    /// The time to wait now that the process ended after it had run for `ran`.
    pub(crate) fn next(&mut self, ran: Duration) -> Duration {
        let reset = match self.policy {
            Policy::Application => APPLICATION_RESET,
            Policy::Infrastructure => INFRASTRUCTURE_RESET,
        };
        if ran >= reset {
            self.failures = 0;
        }
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        match self.policy {
            Policy::Application => match QUICK_RESTARTS.get(index(failures)) {
                Some(quick) => *quick,
                None => doubled(10_000, failures.saturating_sub(3), 300_000),
            },
            Policy::Infrastructure => doubled(250, failures, 10_000),
        }
    }

    /// Whether the process failed so often in a row that a user should be told.
    pub(crate) fn is_crash_loop(&self) -> bool {
        self.failures > 1
    }
}

fn index(failures: u32) -> usize {
    usize::try_from(failures).unwrap_or(usize::MAX)
}

fn doubled(first_ms: u64, times: u32, cap_ms: u64) -> Duration {
    Duration::from_millis(first_ms.saturating_mul(1 << times.min(20)).min(cap_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(policy: Policy, count: usize) -> Vec<u64> {
        let mut backoff = Backoff::new(policy);
        (0..count)
            .map(|_| u64::try_from(backoff.next(Duration::ZERO).as_millis()).unwrap())
            .collect()
    }

    #[test]
    fn applications_are_quick_then_follow_the_kubelet() {
        assert_eq!(
            delays(Policy::Application, 10),
            [50, 1000, 1000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]
        );
    }

    #[test]
    fn infrastructure_comes_back_at_once() {
        assert_eq!(
            delays(Policy::Infrastructure, 8),
            [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]
        );
    }

    #[test]
    fn a_long_run_starts_over() {
        let mut backoff = Backoff::new(Policy::Infrastructure);
        for _ in 0..40 {
            backoff.next(Duration::ZERO);
        }
        assert_eq!(backoff.next(Duration::from_secs(31)), Duration::from_millis(250));
        assert!(backoff.failures == 1 && !backoff.is_crash_loop());
    }
}
