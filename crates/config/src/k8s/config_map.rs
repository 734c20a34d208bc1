//! The small objects: Namespace, ServiceAccount, ConfigMap and Secret.

use std::{collections::BTreeMap, fmt};

use base64::Engine as _;
use serde::Deserialize;

use crate::{MeshConfig, value::Accepted};

/// `v1` Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// Finalizers.
    pub spec: Accepted,
    /// The API server's.
    pub status: Accepted,
}

/// `v1` ServiceAccount: the identity of the pods that name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccount {
    /// Not used.
    pub secrets: Accepted,
    /// Not used.
    pub image_pull_secrets: Accepted,
    /// Not used.
    pub automount_service_account_token: Accepted,
}

/// `v1` ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// Texts by key.
    pub data: BTreeMap<String, String>,
    /// Bytes by key, as base64.
    pub binary_data: BTreeMap<String, String>,
    /// The API server's.
    pub immutable: Accepted,
    /// The key `mesh` of the ConfigMap `istio` in the root namespace.
    #[serde(skip)]
    pub mesh: Option<Box<MeshConfig>>,
}

/// `v1` Secret. Its values are not printed, not even by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// Such as `kubernetes.io/tls`.
    #[serde(rename = "type")]
    pub secret_type: String,
    /// Bytes by key, as base64.
    pub data: BTreeMap<String, String>,
    /// Texts by key; they win over `data`.
    pub string_data: BTreeMap<String, String>,
    /// The API server's.
    pub immutable: Accepted,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.data.keys().chain(self.string_data.keys()).collect();
        let mut shown = f.debug_struct("Secret");
        shown.field("secret_type", &self.secret_type).field("keys", &keys).finish_non_exhaustive()
    }
}

impl Secret {
    /// The bytes under `key`. `None` when there is no such key (or, for an object that was never
    /// validated, when it is not base64).
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        if let Some(text) = self.string_data.get(key) {
            return Some(text.clone().into_bytes());
        }
        decode_base64(self.data.get(key)?)
    }
}

/// Base64 as Kubernetes takes it: line breaks are passed over.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
