//! Secrets (`envoy.extensions.transport_sockets.tls.v3.Secret`).

use std::fmt;

/// A named secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Secret {
    /// Its name: the resource's name.
    pub name: String,
    /// What it holds.
    pub kind: SecretKind,
}

/// What a secret holds.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A certificate chain with its private key, in PEM.
    TlsCertificate {
        /// Leaf first.
        certificate_chain: Vec<u8>,
        /// The private key.
        private_key: Vec<u8>,
    },
    /// A trust bundle, in PEM.
    ValidationContext {
        /// The roots.
        trusted_ca: Vec<u8>,
    },
}

impl fmt::Debug for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TlsCertificate { certificate_chain, .. } => f
                .debug_struct("TlsCertificate")
                .field("certificate_chain", &String::from_utf8_lossy(certificate_chain))
                .field("private_key", &"[redacted]")
                .finish(),
            Self::ValidationContext { trusted_ca } => f
                .debug_struct("ValidationContext")
                .field("trusted_ca", &String::from_utf8_lossy(trusted_ca))
                .finish(),
        }
    }
}
