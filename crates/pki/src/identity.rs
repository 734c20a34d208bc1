//! A certificate chain together with its key: what a workload shows to its peers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use crate::certificate::{CertificateError, chain_from_pem, chain_to_pem};
use crate::{PeerIdentity, PrivateKey, tls};

/// A chain (leaf first), its private key, and what the leaf says. Immutable: a rotation makes a
/// new one.
#[derive(Clone, Debug)]
pub struct CertifiedIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    leaf: PeerIdentity,
    certified: Arc<CertifiedKey>,
}

impl CertifiedIdentity {
    /// Joins a chain with its key.
    ///
    /// # Errors
    /// When the chain is empty or unreadable, or the key is not the leaf's.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKey,
    ) -> Result<Self, CertificateError> {
        let leaf = PeerIdentity::from_der(chain.first().ok_or(CertificateError::Empty)?)?;
        let provider = tls::provider();
        let certified = CertifiedKey::from_der(chain.clone(), key.to_der(), &provider)
            .map_err(|error| CertificateError::KeyMismatch(error.to_string()))?;
        Ok(Self { chain, key, leaf, certified: Arc::new(certified) })
    }

    /// Joins a chain and a key in PEM.
    ///
    /// # Errors
    /// As [`CertifiedIdentity::new`], or when the text is no PEM.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, CertificateError> {
        let key = PrivateKey::from_pem(key)
            .map_err(|error| CertificateError::KeyMismatch(error.to_string()))?;
        Self::new(chain_from_pem(chain)?, key)
    }

    /// The certificates, leaf first, without the root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The chain in PEM, leaf first.
    pub fn chain_pem(&self) -> String {
        chain_to_pem(&self.chain)
    }

    /// The private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// What the leaf says about its holder.
    pub fn leaf(&self) -> &PeerIdentity {
        &self.leaf
    }

    /// The start of the leaf's life.
    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before
    }

    /// The end of the leaf's life.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after
    }

    /// How long the leaf is valid after `now`; zero when it has expired.
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.not_after().duration_since(now).unwrap_or_default()
    }

    /// The form in which rustls takes it.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// Shows other bytes in handshakes than [`CertifiedIdentity::new`] would accept.
    #[cfg(test)]
    pub(crate) fn replace_certified(&mut self, certified: CertifiedKey) {
        self.certified = Arc::new(certified);
    }
}
