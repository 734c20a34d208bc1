//! What became of the patches of EnvoyFilters: each failure is told once in the log, and all are
//! counted under Istio's name.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus::IntGaugeVec;
use xds::ResourceType;
use xds::patch::{Outcome, Patches};

/// Of one snapshot.
#[derive(Debug, Default)]
pub(crate) struct PatchStatus {
    gauge: Option<IntGaugeVec>,
    told: Mutex<BTreeSet<String>>,
}

impl PatchStatus {
    /// A new one, counted in a gauge that forgets those of earlier snapshots.
    pub(crate) fn new(gauge: IntGaugeVec) -> Self {
        gauge.reset();
        Self { gauge: Some(gauge), told: Mutex::default() }
    }

    /// Notes what became of the patches for one type.
    pub(crate) fn note(&self, kind: ResourceType, patches: &Patches, outcomes: &[Outcome]) {
        let kind = match kind {
            ResourceType::Cluster => "cluster",
            ResourceType::RouteConfiguration => "route",
            _ => "listener",
        };
        for outcome in outcomes {
            let Some(patch) = patches.patches.get(outcome.patch) else { continue };
            if outcome.applied > 0 {
                self.count(&patch.owner, kind, "applied");
            }
            for error in &outcome.errors {
                self.count(&patch.owner, kind, "error");
                let text = format!("{}: not applied to {error}", patch.title);
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if !told.contains(&text) {
                    tracing::warn!("{text}");
                    told.insert(text);
                }
            }
        }
    }

    fn count(&self, name: &str, kind: &str, result: &str) {
        if let Some(gauge) = &self.gauge {
            gauge.with_label_values(&[name, kind, result]).set(1);
        }
    }
}
