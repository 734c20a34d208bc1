//! Deployment: a number of equal pods.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::pod::PodSpec;
use crate::value::{Accepted, Unsupported};

/// `apps/v1` Deployment (its spec).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deployment {
    /// How many; absent: see [`Self::replica_count`].
    pub replicas: Option<u32>,
    /// The labels of its pods.
    pub selector: DeploymentSelector,
    /// What each pod is.
    pub template: PodTemplate,
    /// Not used.
    pub strategy: Accepted,
    /// Not used.
    pub min_ready_seconds: Accepted,
    /// Not used.
    pub revision_history_limit: Accepted,
    /// Not used.
    pub paused: Option<Unsupported>,
    /// Not used.
    pub progress_deadline_seconds: Accepted,
}

impl Deployment {
    /// How many replicas are wanted; Kubernetes' default is 1.
    #[must_use]
    pub fn replica_count(&self) -> u32 {
        self.replicas.unwrap_or(1)
    }
}

/// A Deployment's selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSelector {
    /// Labels that the pods have.
    pub match_labels: BTreeMap<String, String>,
    /// Not used.
    pub match_expressions: Option<Unsupported>,
}

/// What each pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// The pods' labels and annotations.
    pub metadata: TemplateMeta,
    /// The pods' containers.
    pub spec: PodSpec,
}

/// The metadata of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateMeta {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Not used: the runtime names its pods itself.
    pub name: Accepted,
    /// Not used: always the Deployment's.
    pub namespace: Accepted,
    /// Written by tools as `null`.
    pub creation_timestamp: Accepted,
}
