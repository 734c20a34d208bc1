//! Certificate verification by chain and names, for both ends of mutual TLS.
//!
//! Path building, validity, key usage and the CA flag are webpki's; the names are ours. Fails
//! closed: a certificate that cannot be read in one way only is refused.

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::{PeerIdentity, SanMatcher, TrustBundle};

/// How many of the peer's and the wanted names an error message shows.
const SHOWN: usize = 4;

/// Which certificates are accepted from the other end.
#[derive(Clone, Debug)]
pub struct PeerPolicy {
    trust: TrustBundle,
    names: Vec<SanMatcher>,
    names_required: bool,
}

impl PeerPolicy {
    /// Accepts a chain that ends in `trust` and has a name that one of `names` matches. With no
    /// `names` the chain alone decides (as Envoy with no `match_typed_subject_alt_names`).
    pub fn new(trust: TrustBundle, names: Vec<SanMatcher>) -> Self {
        Self { trust, names, names_required: false }
    }

    /// Makes an empty list of names accept nobody instead of everybody.
    #[must_use]
    pub fn require_names(mut self) -> Self {
        self.names_required = true;
        self
    }

    /// Checks a chain at a time.
    pub(super) fn check(
        &self,
        shown: &Shown<'_>,
        usage: KeyUsage,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let Shown { leaf, intermediates, now } = *shown;
        let (anchors, all) = (self.trust.anchors(), algorithms.all);
        EndEntityCert::try_from(leaf)
            .and_then(|parsed| {
                parsed
                    .verify_for_usage(all, anchors, intermediates, now, usage, None, None)
                    .map(|_| ())
            })
            .map_err(webpki_error)?;
        let peer = PeerIdentity::from_der(leaf).map_err(|error| {
            tracing::debug!(%error, "refused a peer's certificate");
            Error::InvalidCertificate(CertificateError::BadEncoding)
        })?;
        self.check_names(&peer)
    }

    fn check_names(&self, peer: &PeerIdentity) -> Result<(), Error> {
        if self.names.is_empty() && !self.names_required {
            return Ok(());
        }
        // A certificate for two workloads would be each of them: X.509-SVID, section 2.
        let spiffe_names = peer.uri_sans.iter().filter(|uri| uri.starts_with("spiffe://")).count();
        if spiffe_names <= 1 && self.names.iter().any(|name| name.matches(peer)) {
            return Ok(());
        }
        Err(Error::General(refusal(peer, &self.names)))
    }
}

/// What the other end shows in a handshake.
pub(super) struct Shown<'a> {
    pub(super) leaf: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    pub(super) now: UnixTime,
}

fn refusal(peer: &PeerIdentity, wanted: &[SanMatcher]) -> String {
    let mut text = String::from("certificate is for ");
    let names: Vec<&str> = peer.uri_sans.iter().chain(&peer.dns_sans).map(String::as_str).collect();
    match names.as_slice() {
        [] => text.push_str("no name"),
        some => text.push_str(&some.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ")),
    }
    text.push_str(", accepted is ");
    for (index, matcher) in wanted.iter().take(SHOWN).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{:?}", matcher.name);
    }
    if wanted.is_empty() {
        text.push_str("nobody");
    }
    text
}

fn webpki_error(error: webpki::Error) -> Error {
    use webpki::Error as E;
    let mapped = match error {
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        E::InvalidCertValidity => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))),
    };
    Error::InvalidCertificate(mapped)
}

/// The signature checks of a handshake, the same at both ends.
#[derive(Debug)]
struct Verifier {
    policy: Option<PeerPolicy>,
    algorithms: WebPkiSupportedAlgorithms,
    mandatory: bool,
}

pub(super) fn client_verifier(
    policy: PeerPolicy,
    provider: &CryptoProvider,
    mandatory: bool,
) -> Arc<dyn ClientCertVerifier> {
    let algorithms = provider.signature_verification_algorithms;
    Arc::new(Verifier { policy: Some(policy), algorithms, mandatory })
}

/// `None` accepts every certificate; the handshake's signature is checked all the same.
pub(super) fn server_verifier(
    policy: Option<PeerPolicy>,
    provider: &CryptoProvider,
) -> Arc<dyn ServerCertVerifier> {
    let algorithms = provider.signature_verification_algorithms;
    Arc::new(Verifier { policy, algorithms, mandatory: true })
}

impl Verifier {
    fn check(&self, shown: &Shown<'_>, usage: KeyUsage) -> Result<(), Error> {
        match &self.policy {
            Some(policy) => policy.check(shown, usage, &self.algorithms),
            None => Ok(()),
        }
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(&Shown { leaf, intermediates, now }, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(&Shown { leaf, intermediates, now }, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
