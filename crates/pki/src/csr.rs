//! Certificate signing requests: made by the agent, read by the CA.
//!
//! The CA uses nothing of a request but its public key: names, extensions and attributes in it are
//! never looked at (the certificate's name is the authenticated caller's).

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, SanType, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::{self, PemObject};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_NIST_EC_P384, OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo as ParsedKeyInfo;

use crate::{PrivateKey, SpiffeId};

/// More than any honest request needs (RSA-8192 with names is under 8 KiB).
const MAX_PEM_BYTES: usize = 16 * 1024;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a certificate signing request was not made or not accepted.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// Making the request failed.
    #[error("cannot make a certificate signing request: {0}")]
    Make(#[source] rcgen::Error),
    /// Not one PEM block of a request, or too large.
    #[error("not a certificate signing request in PEM: {0}")]
    Pem(String),
    /// The DER inside is broken or has bytes after its end.
    #[error("certificate signing request is malformed")]
    Malformed,
    /// The signature was not made by the key in the request, or with an unsafe algorithm.
    #[error("certificate signing request is not signed by its own key with a safe algorithm")]
    Signature,
    /// The key is too weak or of a kind that proxies do not understand.
    #[error(
        "public key is not accepted: {0} (use ECDSA P-256 or P-384, or RSA of 2048 to 8192 bits)"
    )]
    WeakKey(String),
}

/// Makes a request in PEM, signed by `key`, whose only name is the identity as a URI.
///
/// # Errors
/// When signing fails.
pub fn make_csr(key: &PrivateKey, identity: &SpiffeId) -> Result<String, CsrError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let uri = Ia5String::try_from(identity.to_string()).map_err(CsrError::Make)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    let request = params.serialize_request(&key.pair).map_err(CsrError::Make)?;
    request.pem().map_err(CsrError::Make)
}

/// A request whose signature was checked and whose key is strong enough.
#[derive(Debug)]
pub struct CertificateRequest {
    pub(crate) public_key: SubjectPublicKeyInfo,
}

impl CertificateRequest {
    /// Reads and checks a request in PEM.
    ///
    /// # Errors
    /// When it is no single well-formed request, its signature does not match its own key, or the
    /// key is weak.
    pub fn from_pem(text: &str) -> Result<Self, CsrError> {
        if text.len() > MAX_PEM_BYTES {
            return Err(CsrError::Pem(format!("longer than {MAX_PEM_BYTES} bytes")));
        }
        let mut blocks = CertificateSigningRequestDer::pem_slice_iter(text.as_bytes());
        let first = blocks.next().ok_or_else(|| CsrError::Pem("no block found".into()))?;
        let der = first.map_err(|error: pem::Error| CsrError::Pem(error.to_string()))?;
        if blocks.next().is_some() {
            return Err(CsrError::Pem("more than one block".into()));
        }
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrError::Malformed);
        }
        let info = &request.certification_request_info.subject_pki;
        check_strength(info)?;
        let algorithm = &request.signature_algorithm.algorithm;
        if *algorithm == OID_PKCS1_SHA1WITHRSA || *algorithm == OID_SHA1_WITH_RSA {
            return Err(CsrError::Signature);
        }
        request.verify_signature().map_err(|_| CsrError::Signature)?;
        let public_key = SubjectPublicKeyInfo::from_der(info.raw)
            .map_err(|error| CsrError::WeakKey(error.to_string()))?;
        Ok(Self { public_key })
    }
}

fn check_strength(info: &ParsedKeyInfo<'_>) -> Result<(), CsrError> {
    match info.parsed() {
        Ok(PublicKey::EC(_)) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
            if curve == Some(OID_EC_P256) || curve == Some(OID_NIST_EC_P384) {
                return Ok(());
            }
            Err(CsrError::WeakKey("elliptic curve is neither P-256 nor P-384".into()))
        }
        Ok(PublicKey::RSA(rsa)) => check_rsa(&rsa),
        Ok(_) => Err(CsrError::WeakKey("unsupported algorithm".into())),
        Err(_) => Err(CsrError::WeakKey("cannot be read".into())),
    }
}

fn check_rsa(rsa: &RSAPublicKey<'_>) -> Result<(), CsrError> {
    let bits = significant_bits(rsa.modulus);
    if !RSA_BITS.contains(&bits) {
        return Err(CsrError::WeakKey(format!("RSA key has {bits} bits")));
    }
    match rsa.try_exponent() {
        Ok(e) if e >= 65_537 && e % 2 == 1 && e < 1 << 33 => Ok(()),
        _ => Err(CsrError::WeakKey("RSA exponent is not an odd number from 65537 to 2^33".into())),
    }
}

fn significant_bits(bytes: &[u8]) -> usize {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let zeros = bytes.get(start).map_or(0, |b| b.leading_zeros() as usize);
    (bytes.len() - start) * 8 - zeros
}

#[cfg(test)]
mod tests;
