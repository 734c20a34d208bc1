//! Histograms with Envoy's default buckets.

/// Upper bounds of the buckets.
pub(crate) const BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Counts by bucket, and the sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    /// Per bucket, not cumulated; the last one has no upper bound.
    pub(crate) counts: [u64; BOUNDS.len() + 1],
    /// The sum of all values.
    pub(crate) sum: f64,
}

impl Histogram {
    /// Takes a value.
    pub(crate) fn observe(&mut self, value: f64) {
        let index = BOUNDS.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS.len());
        self.counts[index] += 1;
        self.sum += value;
    }

    /// Adds another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum += other.sum;
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
