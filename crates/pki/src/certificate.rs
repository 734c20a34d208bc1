//! Reading certificates: PEM chains, and what a peer's certificate says about it.
//!
//! A certificate with a name that could be read in two ways (an embedded NUL, bytes that are not
//! ASCII, an encoding that does not parse) is refused as a whole.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::{SpiffeId, name};

/// Why a certificate or chain was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No certificate where at least one is needed.
    #[error("no certificate found")]
    Empty,
    /// The text is no PEM.
    #[error("not a certificate in PEM: {0}")]
    Pem(String),
    /// The bytes are no certificate.
    #[error("certificate is malformed: {0}")]
    Malformed(String),
    /// A subject alternative name is encoded in a way that cannot be trusted.
    #[error("certificate has an unusable subject alternative name: {0}")]
    Name(String),
    /// The private key does not belong to the certificate.
    #[error("private key does not fit the certificate: {0}")]
    KeyMismatch(String),
    /// No file with the web's roots on this machine.
    #[error("no file with the system's root certificates found")]
    NoSystemRoots,
}

/// Reads one or more certificates in PEM, in their order.
///
/// # Errors
/// When there is none or a block is broken.
pub fn chain_from_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|error| CertificateError::Pem(error.to_string()))?;
    if chain.is_empty() { Err(CertificateError::Empty) } else { Ok(chain) }
}

/// Writes certificates in PEM, one block after the other, each with a newline at its end.
pub fn chain_to_pem(chain: &[CertificateDer<'_>]) -> String {
    use base64::Engine as _;
    let mut text = String::new();
    for certificate in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let body = base64::engine::general_purpose::STANDARD.encode(certificate);
        for line in body.as_bytes().chunks(64) {
            text.extend(line.iter().map(|b| char::from(*b)));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// What a certificate says about its holder, for authorization, `x-forwarded-client-cert`, logs
/// and status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The identity of a workload: present when the certificate has exactly one URI name and that
    /// is a well-formed SPIFFE identity (X.509-SVID, section 2).
    pub spiffe: Option<SpiffeId>,
    /// All URI names, in order.
    pub uri_sans: Vec<String>,
    /// All DNS names, in order, as written (may start with `*.`).
    pub dns_sans: Vec<String>,
    /// All IP addresses, in order.
    pub ip_sans: Vec<std::net::IpAddr>,
    /// All e-mail names, in order.
    pub email_sans: Vec<String>,
    /// The subject as RFC 2253 text; empty for workloads.
    pub subject: String,
    /// The issuer as RFC 2253 text.
    pub issuer: String,
    /// The serial number in lower-case hexadecimal digits.
    pub serial: String,
    /// Start of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
    /// SHA-256 of the whole certificate in lower-case hexadecimal digits (XFCC's `Hash`).
    pub sha256: String,
}

impl PeerIdentity {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// When it is malformed or one of its names is unusable.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (rest, certificate) = X509Certificate::from_der(der)
            .map_err(|error| CertificateError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed("bytes after its end".into()));
        }
        let mut identity = Self {
            spiffe: None,
            uri_sans: Vec::new(),
            dns_sans: Vec::new(),
            ip_sans: Vec::new(),
            email_sans: Vec::new(),
            subject: name::rfc2253(certificate.subject()),
            issuer: name::rfc2253(certificate.issuer()),
            serial: hex(certificate.raw_serial()),
            not_before: to_system_time(certificate.validity().not_before),
            not_after: to_system_time(certificate.validity().not_after),
            sha256: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref()),
        };
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| CertificateError::Name(error.to_string()))?;
        for general in names.iter().flat_map(|extension| &extension.value.general_names) {
            identity.add(general)?;
        }
        if let [uri] = identity.uri_sans.as_slice() {
            identity.spiffe = uri.parse().ok();
        }
        Ok(identity)
    }

    fn add(&mut self, general: &GeneralName<'_>) -> Result<(), CertificateError> {
        match general {
            GeneralName::URI(text) => self.uri_sans.push(plain(text)?),
            GeneralName::DNSName(text) => self.dns_sans.push(plain(text)?),
            GeneralName::RFC822Name(text) => self.email_sans.push(plain(text)?),
            GeneralName::IPAddress(bytes) => self.ip_sans.push(address(bytes)?),
            GeneralName::Invalid(tag, _) => {
                return Err(CertificateError::Name(format!("unreadable name of kind {}", tag.0)));
            }
            // No rule of the mesh can name these, so they match nothing.
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_) => {}
        }
        Ok(())
    }
}

/// Names are IA5 strings (RFC 5280, 4.2.1.6), and control bytes in them are only ever an attack.
fn plain(text: &str) -> Result<String, CertificateError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CertificateError::Name(format!("{text:?}")));
    }
    Ok(text.to_owned())
}

fn address(bytes: &[u8]) -> Result<std::net::IpAddr, CertificateError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(v4.into());
    }
    <[u8; 16]>::try_from(bytes)
        .map(Into::into)
        .map_err(|_| CertificateError::Name(format!("address of {} bytes", bytes.len())))
}

fn to_system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    moved.unwrap_or(UNIX_EPOCH)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
