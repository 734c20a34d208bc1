//! The secrets of the moment, each behind one atomic pointer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwapOption;
use pki::{CertifiedIdentity, TrustBundle};

use super::TlsError;

/// A usable secret.
#[derive(Debug)]
pub(crate) enum SecretValue {
    /// A certificate with its key.
    Identity(Box<CertifiedIdentity>),
    /// Trust anchors.
    Trust(TrustBundle),
}

impl SecretValue {
    /// Reads a secret that arrived.
    pub(crate) fn new(secret: &xds::Secret) -> Result<Self, String> {
        let text = |bytes: &[u8], what: &str| {
            String::from_utf8(bytes.to_vec()).map_err(|_| format!("{what} is no PEM text"))
        };
        match &secret.kind {
            xds::SecretKind::TlsCertificate { certificate_chain, private_key } => {
                let chain = text(certificate_chain, "tls_certificate.certificate_chain")?;
                let key = text(private_key, "tls_certificate.private_key")?;
                CertifiedIdentity::from_pem(&chain, &key)
                    .map(|identity| Self::Identity(Box::new(identity)))
                    .map_err(|error| format!("tls_certificate: {error}"))
            }
            xds::SecretKind::ValidationContext { trusted_ca } => {
                let roots = text(trusted_ca, "validation_context.trusted_ca")?;
                TrustBundle::from_pem(&roots)
                    .map(Self::Trust)
                    .map_err(|error| format!("validation_context.trusted_ca: {error}"))
            }
        }
    }
}

/// Where one secret is found once it has arrived.
#[derive(Debug)]
pub(crate) struct SecretSlot {
    source: xds::SecretSource,
    value: ArcSwapOption<SecretValue>,
    version: AtomicU64,
    /// Its server has said that there is no such secret.
    absent: AtomicBool,
    updated: Mutex<SystemTime>,
}

impl SecretSlot {
    /// Its name and server.
    pub(crate) fn source(&self) -> &xds::SecretSource {
        &self.source
    }

    /// Grows with each value; 0 until the first.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Its server says that there is no such secret. A value that came before stays in use.
    pub(crate) fn set_absent(&self) {
        self.absent.store(true, Ordering::Release);
    }

    /// Whether nothing has to wait for it: it is here, or it is one of the control plane's that
    /// does not exist. What needs it refuses handshakes until it comes.
    pub(crate) fn is_settled(&self) -> bool {
        let absent = self.absent.load(Ordering::Acquire);
        self.version() > 0 || (absent && self.source.server == xds::SecretServer::Ads)
    }

    /// When the value came.
    pub(crate) fn updated(&self) -> SystemTime {
        *self.updated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, if it has arrived.
    pub(crate) fn value(&self) -> Option<Arc<SecretValue>> {
        self.value.load_full()
    }

    /// Takes a new value.
    pub(crate) fn set(&self, value: Arc<SecretValue>) {
        self.value.store(Some(value));
        *self.updated.lock().unwrap_or_else(PoisonError::into_inner) = SystemTime::now();
        self.version.fetch_add(1, Ordering::Release);
    }

    pub(super) fn trust(&self) -> Result<TrustBundle, TlsError> {
        match self.value.load().as_deref() {
            Some(SecretValue::Trust(bundle)) => Ok(bundle.clone()),
            Some(_) => Err(TlsError::WrongKind(self.source.name.clone(), "a trust bundle")),
            None => Err(TlsError::Missing(self.source.name.clone())),
        }
    }

    pub(super) fn identity(&self) -> Result<Box<CertifiedIdentity>, TlsError> {
        match self.value.load().as_deref() {
            Some(SecretValue::Identity(identity)) => Ok(identity.clone()),
            Some(_) => Err(TlsError::WrongKind(self.source.name.clone(), "a certificate")),
            None => Err(TlsError::Missing(self.source.name.clone())),
        }
    }
}

/// All secrets that some resource has named. Looked up when resources arrive, never by workers.
#[derive(Debug, Default)]
pub(crate) struct SecretStore {
    slots: Mutex<HashMap<xds::SecretSource, Arc<SecretSlot>>>,
    added: tokio::sync::Notify,
}

impl SecretStore {
    /// The slot of a secret, made when it is named for the first time.
    pub(crate) fn slot(&self, source: &xds::SecretSource) -> Arc<SecretSlot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(source) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(SecretSlot {
            source: source.clone(),
            value: ArcSwapOption::empty(),
            version: AtomicU64::new(0),
            absent: AtomicBool::new(false),
            updated: Mutex::new(SystemTime::UNIX_EPOCH),
        });
        slots.insert(source.clone(), Arc::clone(&slot));
        drop(slots);
        self.added.notify_one();
        slot
    }

    /// All slots, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<SecretSlot>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = slots.values().cloned().collect();
        drop(slots);
        all.sort_by(|a, b| a.source.name.cmp(&b.source.name));
        all
    }

    /// Waits until a slot was added.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }
}
