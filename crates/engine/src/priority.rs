//! Priority levels: which share of the load each takes, and which of them panics.
//!
//! Follows Envoy's "priority levels", "degraded endpoints" and "panic threshold": a level takes as
//! much as its healthy hosts can, times the over-provisioning factor; what is left goes to the
//! next, then to degraded hosts. A level panics (all its hosts are used) only while all levels
//! together cannot take the whole load.

/// How many hosts of a level are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) total: u64,
    pub(crate) healthy: u64,
    pub(crate) degraded: u64,
}

/// What a level takes, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// By its healthy hosts; by all of them when it panics.
    pub(crate) healthy: u64,
    /// By its degraded hosts.
    pub(crate) degraded: u64,
    /// All its hosts are used, whatever their health.
    pub(crate) panic: bool,
}

impl Census {
    /// The load that `count` hosts of the level can take, in percent.
    fn capacity(self, count: u64, overprovisioning: u64) -> u64 {
        (count * overprovisioning).checked_div(self.total).unwrap_or(0).min(100)
    }

    fn is_below(self, threshold: u64) -> bool {
        let available = self.healthy + self.degraded;
        if self.total == 0 { threshold > 0 } else { 100 * available < threshold * self.total }
    }
}

/// The share of each level. The shares sum to 100, or to 0 when no host may be used.
pub(crate) fn shares(levels: &[Census], overprovisioning: u64, threshold: u64) -> Vec<Share> {
    let healths: Vec<u64> =
        levels.iter().map(|level| level.capacity(level.healthy, overprovisioning)).collect();
    let degradeds: Vec<u64> =
        levels.iter().map(|level| level.capacity(level.degraded, overprovisioning)).collect();
    let total = healths.iter().chain(&degradeds).sum::<u64>().min(100);
    let panics: Vec<bool> =
        levels.iter().map(|level| total < 100 && level.is_below(threshold)).collect();
    if !panics.contains(&false) {
        return in_total_panic(levels);
    }
    let mut left = 100;
    let mut take = |capacity: &u64| {
        let load = (capacity * 100).checked_div(total).unwrap_or(0).min(left);
        left -= load;
        load
    };
    let healthy: Vec<u64> = healths.iter().map(&mut take).collect();
    let degraded: Vec<u64> = degradeds.iter().map(&mut take).collect();
    let mut shares: Vec<Share> = healthy
        .into_iter()
        .zip(degraded)
        .zip(panics)
        .map(|((healthy, degraded), panic)| Share { healthy, degraded, panic })
        .collect();
    // What rounding left over.
    if let Some(first) = shares.iter_mut().find(|share| share.healthy > 0) {
        first.healthy += left;
    } else if let Some(first) = shares.iter_mut().find(|share| share.degraded > 0) {
        first.degraded += left;
    }
    shares
}

/// When every level panics, each takes as much as it has hosts.
fn in_total_panic(levels: &[Census]) -> Vec<Share> {
    let hosts: u64 = levels.iter().map(|level| level.total).sum();
    let share = |level: &Census| (level.total * 100).checked_div(hosts).unwrap_or(0);
    let mut left = 100;
    let mut shares: Vec<Share> = Vec::with_capacity(levels.len());
    for level in levels {
        let healthy = share(level);
        left -= healthy;
        shares.push(Share { healthy, degraded: 0, panic: true });
    }
    if hosts > 0
        && let Some((_, first)) = levels.iter().zip(&mut shares).find(|(level, _)| level.total > 0)
    {
        first.healthy += left;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(total: u64, healthy: u64, degraded: u64) -> Census {
        Census { total, healthy, degraded }
    }

    fn loads(levels: &[Census], threshold: u64) -> Vec<u64> {
        shares(levels, 140, threshold).iter().map(|share| share.healthy + share.degraded).collect()
    }

    #[test]
    fn the_next_level_takes_what_is_left() {
        assert_eq!(loads(&[level(2, 2, 0), level(2, 2, 0)], 0), [100, 0]);
        assert_eq!(loads(&[level(2, 1, 0), level(2, 2, 0)], 0), [70, 30]);
        assert_eq!(loads(&[level(2, 0, 0), level(2, 2, 0)], 0), [0, 100]);
        // Too little in all: each as much as it can in proportion.
        assert_eq!(loads(&[level(4, 1, 0), level(4, 1, 0)], 0), [50, 50]);
    }

    #[test]
    fn what_rounding_leaves_goes_to_a_level_that_has_hosts() {
        let none_first = [level(3, 0, 0), level(7, 1, 0), level(7, 1, 0), level(7, 1, 0)];
        assert_eq!(loads(&none_first, 0), [0, 34, 33, 33]);
    }

    #[test]
    fn degraded_hosts_take_what_no_healthy_one_can() {
        let found = shares(&[level(2, 1, 1), level(2, 0, 2)], 140, 0);
        assert_eq!(found[0], Share { healthy: 70, degraded: 30, panic: false });
        assert_eq!(found[1], Share::default());
    }

    #[test]
    fn a_level_panics_only_while_all_cannot_take_the_load() {
        // 75 % of one level is enough: 75 * 1.4 > 100.
        assert!(!shares(&[level(4, 3, 0)], 140, 80)[0].panic);
        assert!(shares(&[level(4, 2, 0)], 140, 80)[0].panic);
        assert!(!shares(&[level(4, 1, 0), level(4, 4, 0)], 140, 80)[0].panic);
        // Without a threshold nothing panics, and nothing is sent where nobody is.
        assert_eq!(loads(&[level(4, 0, 0)], 0), [0]);
        assert_eq!(loads(&[level(1, 0, 0), level(3, 0, 0)], 50), [25, 75]);
        assert_eq!(loads(&[level(0, 0, 0)], 50), [0]);
    }

    proptest! {
        #[test]
        fn shares_sum_to_all_or_nothing(
            counts in proptest::collection::vec((0_u64..9, 0_u64..9, 0_u64..9), 1..6),
            threshold in 0_u64..=100,
        ) {
            let levels: Vec<Census> =
                counts.into_iter().map(|(h, d, u)| level(h + d + u, h, d)).collect();
            let found = shares(&levels, 140, threshold);
            let sum: u64 = found.iter().map(|share| share.healthy + share.degraded).sum();
            prop_assert!(sum == 100 || sum == 0);
            for (share, level) in found.iter().zip(&levels) {
                prop_assert!(share.degraded == 0 || level.degraded > 0);
                prop_assert!(share.healthy == 0 || level.healthy > 0 || share.panic);
                prop_assert!(share.healthy + share.degraded == 0 || level.total > 0);
            }
            if levels.iter().any(|level| level.healthy > 0) { prop_assert_eq!(sum, 100); }
        }
    }
}
