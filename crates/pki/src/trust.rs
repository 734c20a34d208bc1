//! The certificates that a peer's chain must end in.

use std::path::Path;

use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::certificate::{CertificateError, chain_from_pem, chain_to_pem};

/// Where Linux distributions keep the web's root certificates; the first that exists is read.
const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// One or more root certificates. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    roots: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl TrustBundle {
    /// Reads root certificates in PEM; several blocks may follow each other.
    ///
    /// # Errors
    /// When there is none, or one of them is no certificate.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        Self::new(chain_from_pem(pem)?)
    }

    /// Makes a bundle of certificates in DER.
    ///
    /// # Errors
    /// When there is none, or one of them is no certificate.
    pub fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self, CertificateError> {
        if roots.is_empty() {
            return Err(CertificateError::Empty);
        }
        let anchor = |der: &CertificateDer<'static>| {
            webpki::anchor_from_trusted_cert(der)
                .map(|anchor| anchor.to_owned())
                .map_err(|error| CertificateError::Malformed(format!("root: {error}")))
        };
        let anchors = roots.iter().map(anchor).collect::<Result<_, _>>()?;
        Ok(Self { roots, anchors })
    }

    /// The web's roots as this machine has them, for TLS to servers outside the mesh.
    ///
    /// # Errors
    /// When no known file exists or none of its certificates can be read.
    pub fn system() -> Result<Self, CertificateError> {
        let path = SYSTEM_FILES.iter().map(Path::new).find(|path| path.exists());
        let path = path.ok_or(CertificateError::NoSystemRoots)?;
        let pem = std::fs::read_to_string(path)
            .map_err(|error| CertificateError::Malformed(format!("{}: {error}", path.display())))?;
        // One odd certificate among a distribution's hundreds must not take the others with it.
        let usable = |der: &CertificateDer<'static>| webpki::anchor_from_trusted_cert(der).is_ok();
        Self::new(chain_from_pem(&pem)?.into_iter().filter(usable).collect())
    }

    /// The root certificates in DER.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The roots in the form that path building takes.
    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The roots in PEM, one block after the other.
    pub fn to_pem(&self) -> String {
        chain_to_pem(&self.roots)
    }
}
