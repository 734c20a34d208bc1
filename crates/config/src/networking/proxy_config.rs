//! ProxyConfig: settings of sidecars that are applied when they are started.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{label::LabelSelector, value::Accepted};

/// `networking.istio.io` ProxyConfig.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// The workloads of the namespace; absent: all (of the mesh, in the root namespace).
    pub selector: Option<LabelSelector>,
    /// Worker threads; 0: one for each core.
    pub concurrency: Option<u32>,
    /// More environment of the proxy.
    pub environment_variables: BTreeMap<String, String>,
    /// The image; there are none here.
    pub image: Option<ProxyImage>,
}

/// The proxy's image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyImage {
    /// `default`, `debug` or `distroless`.
    pub image_type: Accepted,
}

impl ProxyConfig {
    /// Whether it is for all workloads of its namespace.
    #[must_use]
    pub fn is_for_namespace(&self) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.match_labels.is_empty())
    }
}
