//! Which of a server's certificates a client is shown: with an RSA and an ECDSA certificate, the
//! first that the client says it can verify (RFC 8446, 4.4.2.2).

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::CertifiedIdentity;

/// Chooses among the certificates of `identities`, in their order.
pub(super) fn resolver(identities: &[&CertifiedIdentity]) -> Arc<dyn ResolvesServerCert> {
    match identities {
        [only] => Arc::new(SingleCertAndKey::from(only.certified_key())),
        several => {
            Arc::new(ByKey(several.iter().map(|identity| identity.certified_key()).collect()))
        }
    }
}

/// Certificates with keys of different kinds.
#[derive(Debug)]
struct ByKey(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByKey {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.signature_schemes();
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(offered).is_some();
        self.0.iter().find(fits).cloned()
    }
}
