//! Load by locality (Envoy's locality weighted load balancing): the share of a priority is split by
//! the localities' weights, each as far as its hosts are healthy.
//!
//! COMPAT: with consistent hashing Envoy puts all localities on one ring, with weights; here the
//! hash chooses the locality first.

use std::sync::Arc;

use crate::Host;

/// Splits `share` among a priority's localities with their weights. A locality counts in proportion
/// to its usable hosts, with this much to spare (`factor`, in percent); none: in full. Where no
/// locality counts, all usable hosts share.
pub(crate) fn split(
    share: u64,
    (level, localities): (&[Arc<Host>], &[(xds::Locality, u32)]),
    factor: Option<u64>,
    usable: impl Fn(&Host) -> bool,
) -> Vec<(u64, Vec<Arc<Host>>)> {
    let mut parts: Vec<(u64, Vec<Arc<Host>>)> = Vec::new();
    for (locality, weight) in localities {
        let all = || level.iter().filter(|host| host.locality == *locality);
        let members: Vec<Arc<Host>> = all().filter(|host| usable(host)).cloned().collect();
        let total = all().count() as u64;
        let available = members.len() as u64;
        let health = match factor {
            Some(factor) => (factor * available).checked_div(total).unwrap_or(0).min(100),
            None => 100,
        };
        if !members.is_empty() {
            parts.push((u64::from(*weight) * health, members));
        }
    }
    let total: u64 = parts.iter().map(|(weight, _)| weight).sum();
    if total == 0 {
        return vec![(share, level.iter().filter(|host| usable(host)).cloned().collect())];
    }
    // Each ends where the sum so far falls, so that nothing is lost by rounding.
    let place = |sum: u64| {
        let exact = u128::from(share) * u128::from(sum) / u128::from(total);
        u64::try_from(exact).unwrap_or(share)
    };
    let mut sum = 0;
    for (weight, _) in &mut parts {
        let from = place(sum);
        sum += *weight;
        *weight = place(sum) - from;
    }
    parts
}
