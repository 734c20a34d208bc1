//! The certificate authority: signs workload certificates for authenticated callers.
//!
//! A certificate's name is the identity that the caller proved, and nothing of the request but its
//! public key goes into it. The rules follow Istio's CA: two minutes of allowance for clocks, 24
//! hours when no life is asked for, an error (not a shorter life) past the maximum.

use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;

use crate::{
    CertificateError, CertificateRequest, CertifiedIdentity, CsrError, KeyError, KeyKind,
    PeerIdentity, PrivateKey, SpiffeId, TrustBundle, chain_from_pem, chain_to_pem,
};

mod store;

pub use store::load_or_create;

/// How far before now a certificate's validity starts, for clocks that are behind.
pub const CLOCK_ALLOWANCE: Duration = Duration::from_secs(2 * 60);
/// The life of a certificate when the request names none.
pub const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
/// The longest life that may be asked for.
pub const MAX_TTL: Duration = Duration::from_secs(90 * 24 * 3600);
const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why the CA could not be set up or did not sign.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The request for a certificate is not acceptable.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// A longer life was asked for than is allowed.
    #[error("requested certificate life of {requested:?} is over the maximum of {max:?}")]
    TtlTooLong {
        /// What was asked for.
        requested: Duration,
        /// The most that is allowed.
        max: Duration,
    },
    /// The CA's own certificate has come to its end.
    #[error("the CA's certificate has expired; put a new one into its directory")]
    Expired,
    /// Signing failed.
    #[error("cannot sign a certificate: {0}")]
    Sign(#[source] rcgen::Error),
    /// A CA's certificate or key is not usable.
    #[error("{what}: {error}")]
    Material {
        /// Which file or part.
        what: String,
        /// What is wrong.
        error: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// No new key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A CA that signs with one key, which a root or an intermediate certificate belongs to.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// The signing certificate.
    certificate: CertificateDer<'static>,
    /// Between leaf and root: empty when the signing certificate is the root.
    intermediates: Vec<CertificateDer<'static>>,
    roots: TrustBundle,
    key_pem: String,
    not_after: SystemTime,
    default_ttl: Duration,
    max_ttl: Duration,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Ca {
    /// Makes a new self-signed root (ECDSA P-256, ten years) whose organisation is the trust
    /// domain, as Istio's.
    ///
    /// # Errors
    /// When the key cannot be made or does not sign.
    pub fn self_signed(trust_domain: &str, now: SystemTime) -> Result<Self, CaError> {
        let key = PrivateKey::generate(KeyKind::EcdsaP256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - CLOCK_ALLOWANCE).into();
        params.not_after = (now + ROOT_LIFE).into();
        params.serial_number = Some(random_serial()?);
        let root = params.self_signed(&key.pair).map_err(CaError::Sign)?;
        Self::from_pem(&root.pem(), "", &root.pem(), &key.to_pem())
    }

    /// Takes a CA from PEM texts, in the roles of Istio's files `ca-cert.pem`, `cert-chain.pem`
    /// (may be empty), `root-cert.pem` and `ca-key.pem`.
    ///
    /// # Errors
    /// When one is unreadable, the key is not the certificate's, or the certificate may not sign.
    pub fn from_pem(cert: &str, chain: &str, root: &str, key: &str) -> Result<Self, CaError> {
        let material = |what: &str, error: String| CaError::Material { what: what.into(), error };
        let certificates = chain_from_pem(cert)
            .map_err(|error| material("CA certificate (ca-cert.pem)", error.to_string()))?;
        let certificate = certificates.first().cloned().ok_or_else(|| {
            material("CA certificate (ca-cert.pem)", CertificateError::Empty.to_string())
        })?;
        let roots = TrustBundle::from_pem(root)
            .map_err(|error| material("root certificate (root-cert.pem)", error.to_string()))?;
        let key = PrivateKey::from_pem(key)
            .map_err(|error| material("CA key (ca-key.pem)", error.to_string()))?;
        let not_after = check_signer(&certificate, &key)
            .map_err(|error| material("CA certificate (ca-cert.pem)", error))?;
        let intermediates = if chain.trim().is_empty() {
            certificates
        } else {
            chain_from_pem(chain)
                .map_err(|error| material("CA chain (cert-chain.pem)", error.to_string()))?
        };
        let intermediates =
            intermediates.into_iter().filter(|c| !roots.roots().contains(c)).collect();
        let key_pem = key.to_pem();
        let issuer = Issuer::from_ca_cert_der(&certificate, key.pair).map_err(CaError::Sign)?;
        let (default_ttl, max_ttl) = (DEFAULT_TTL, MAX_TTL);
        Ok(Self {
            issuer,
            certificate,
            intermediates,
            roots,
            key_pem,
            not_after,
            default_ttl,
            max_ttl,
        })
    }

    /// Changes the life of certificates for requests that name none. Never over the maximum.
    #[must_use]
    pub fn with_default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = ttl.min(self.max_ttl);
        self
    }

    /// The roots that peers must trust.
    pub fn roots(&self) -> &TrustBundle {
        &self.roots
    }

    /// The signing certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        chain_to_pem(std::slice::from_ref(&self.certificate))
    }

    /// The end of the signing certificate's life.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(crate) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Signs a request for `identity`, which must be the caller's, proved by other means. Answers
    /// the chain in PEM, leaf first; the roots are the last element, unflattened.
    ///
    /// `ttl_seconds` of zero or less asks for the default life.
    ///
    /// # Errors
    /// When the request is unacceptable, the life asked for is too long, or the CA has expired.
    pub fn sign(
        &self,
        csr_pem: &str,
        identity: &SpiffeId,
        ttl_seconds: i64,
        now: SystemTime,
    ) -> Result<Vec<String>, CaError> {
        let request = CertificateRequest::from_pem(csr_pem)?;
        let ttl = self.life(ttl_seconds, now)?;
        let uri = Ia5String::try_from(identity.to_string()).map_err(CaError::Sign)?;
        let leaf = self.issue(&request.public_key, vec![SanType::URI(uri)], ttl, now)?;
        let mut chain = vec![chain_to_pem(&[leaf])];
        chain.extend(self.intermediates.iter().map(|c| chain_to_pem(std::slice::from_ref(c))));
        chain.push(self.roots.to_pem());
        Ok(chain)
    }

    /// Makes a key and a certificate for a server with these DNS names (the control plane's own).
    ///
    /// # Errors
    /// When a name is no DNS name, or the CA has expired.
    pub fn server_identity(
        &self,
        dns_names: &[&str],
        ttl: Duration,
        now: SystemTime,
    ) -> Result<CertifiedIdentity, CaError> {
        let names = dns_names
            .iter()
            .map(|name| Ia5String::try_from(*name).map(SanType::DnsName).map_err(CaError::Sign))
            .collect::<Result<_, _>>()?;
        self.certified(names, ttl, now)
    }

    /// Makes a key and a certificate for a workload, for tests and for roles inside this process.
    ///
    /// # Errors
    /// When the CA has expired.
    pub fn workload_identity(
        &self,
        identity: &SpiffeId,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<CertifiedIdentity, CaError> {
        let uri = Ia5String::try_from(identity.to_string()).map_err(CaError::Sign)?;
        self.certified(vec![SanType::URI(uri)], ttl, now)
    }

    fn certified(
        &self,
        names: Vec<SanType>,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<CertifiedIdentity, CaError> {
        let key = PrivateKey::generate(KeyKind::EcdsaP256)?;
        let ttl = self.capped(ttl, now)?;
        let mut chain = vec![self.issue(&key.pair, names, ttl, now)?];
        chain.extend(self.intermediates.iter().cloned());
        CertifiedIdentity::new(chain, key).map_err(|error| CaError::Material {
            what: "certificate just signed".into(),
            error: error.to_string(),
        })
    }

    fn issue(
        &self,
        public_key: &impl PublicKeyData,
        names: Vec<SanType>,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, CaError> {
        let mut params = CertificateParams::default();
        // An empty subject makes the alternative name critical (RFC 5280, 4.1.2.6).
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - CLOCK_ALLOWANCE).into();
        params.not_after = (now + ttl).into();
        params.serial_number = Some(random_serial()?);
        let certificate = params.signed_by(public_key, &self.issuer).map_err(CaError::Sign)?;
        Ok(certificate.into())
    }

    fn life(&self, ttl_seconds: i64, now: SystemTime) -> Result<Duration, CaError> {
        let requested = match u64::try_from(ttl_seconds) {
            Ok(0) | Err(_) => self.default_ttl,
            Ok(seconds) => Duration::from_secs(seconds),
        };
        if requested > self.max_ttl {
            return Err(CaError::TtlTooLong { requested, max: self.max_ttl });
        }
        self.capped(requested, now)
    }

    /// No certificate outlives the one that signed it.
    fn capped(&self, ttl: Duration, now: SystemTime) -> Result<Duration, CaError> {
        let remaining = self.not_after.duration_since(now).map_err(|_| CaError::Expired)?;
        if remaining < Duration::from_secs(1) {
            Err(CaError::Expired)
        } else {
            Ok(ttl.min(remaining))
        }
    }
}

fn check_signer(certificate: &CertificateDer<'_>, key: &PrivateKey) -> Result<SystemTime, String> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| e.to_string())?;
    if parsed.public_key().raw != key.public_key_info() {
        return Err("the key (ca-key.pem) belongs to another certificate".into());
    }
    if !parsed.is_ca() {
        return Err("the certificate may not sign others (its CA flag is not set)".into());
    }
    match parsed.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => {
            return Err("the certificate may not sign others (its key usage forbids it)".into());
        }
        Err(error) => return Err(error.to_string()),
        Ok(_) => {}
    }
    PeerIdentity::from_der(certificate).map(|c| c.not_after).map_err(|e| e.to_string())
}

fn random_serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CaError::Sign(rcgen::Error::RingUnspecified))?;
    // Positive and never with leading zeros.
    bytes[0] = (bytes[0] & 0x3f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests;
