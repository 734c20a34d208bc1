//! Labels and the selectors over them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Whether `labels` has all of `wanted`. An empty `wanted` selects everything; callers for whom
/// it selects nothing (a Service without selector) check that first.
#[must_use]
pub fn selects(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Istio's selector of the type group: `{matchLabels: {...}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that a workload must have, all of them. Istio knows no expressions.
    pub match_labels: BTreeMap<String, String>,
}

impl LabelSelector {
    /// Whether a workload with `labels` is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        selects(&self.match_labels, labels)
    }
}

/// The same, under the name that `networking.istio.io` uses.
pub type WorkloadSelector = LabelSelector;
