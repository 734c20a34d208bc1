//! Private keys: made here, or read from PEM. Never printed, not even by `Debug`.

use std::fmt;

use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::PrivateKeyDer;

/// Which kind of key to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA over P-256, signing with SHA-256: small and fast, understood by every Envoy.
    #[default]
    EcdsaP256,
    /// RSA with 2048 bits, what Istio's agent makes by default.
    Rsa2048,
}

/// A private key could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The random generator or the algorithm failed.
    #[error("cannot make a private key: {0}")]
    Generate(#[source] rcgen::Error),
    /// The text is no private key of a supported kind.
    #[error("not a supported private key in PEM (PKCS#8, SEC1 or PKCS#1): {0}")]
    Parse(#[source] rcgen::Error),
}

/// A private key with its public half.
pub struct PrivateKey {
    pub(crate) pair: KeyPair,
}

impl PrivateKey {
    /// Makes a new key from the system's random generator.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let algorithm = match kind {
            KeyKind::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        };
        KeyPair::generate_for(algorithm).map(|pair| Self { pair }).map_err(KeyError::Generate)
    }

    /// Reads a key in PEM: PKCS#8, SEC1 or PKCS#1.
    ///
    /// # Errors
    /// When the text is none of these or has an unsupported algorithm.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        KeyPair::from_pem(pem).map(|pair| Self { pair }).map_err(KeyError::Parse)
    }

    /// The key in PEM as PKCS#8. Secret: write it only to files with mode 0600 or to SDS.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// The key as rustls takes it.
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        // rcgen keeps the form that it read; the first bytes tell PKCS#8, SEC1 and PKCS#1 apart.
        PrivateKeyDer::try_from(self.pair.serialize_der())
            .unwrap_or_else(|_| PrivateKeyDer::Pkcs8(self.pair.serialize_der().into()))
    }

    /// The public half as a DER `SubjectPublicKeyInfo`.
    pub fn public_key_info(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }
}

impl Clone for PrivateKey {
    fn clone(&self) -> Self {
        let der = self.pair.serialize_der();
        match KeyPair::try_from(der.as_slice()) {
            Ok(pair) => Self { pair },
            Err(error) => unreachable!("a key's own encoding is always readable: {error}"),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_pem_and_clone_and_hides_itself() {
        for kind in [KeyKind::EcdsaP256, KeyKind::Rsa2048] {
            let key = PrivateKey::generate(kind).unwrap();
            let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
            assert_eq!(key.public_key_info(), again.public_key_info());
            assert_eq!(key.public_key_info(), again.clone().public_key_info());
            assert_eq!(format!("{key:?}"), "PrivateKey(..)");
        }
        assert!(PrivateKey::from_pem("nonsense").is_err());
    }
}
