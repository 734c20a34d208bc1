//! rustls configurations for the mesh: mutual TLS by SPIFFE identity, and ordinary TLS for the
//! world outside.
//!
//! A configuration is immutable and is built anew from each new certificate or trust bundle.
//! Sessions are never resumed where a peer's certificate is checked: a resumed session would skip
//! the check, and so outlive a change of trust or the certificate's end.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use crate::{CertifiedIdentity, SanMatcher, TrustBundle};

mod certificates;
mod ciphers;
mod verify;

pub use ciphers::Ciphers;
pub use verify::PeerPolicy;

/// A TLS configuration could not be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls refused the combination.
    #[error("cannot build a TLS configuration: {0}")]
    Rustls(#[from] rustls::Error),
    /// The web's name check could not be built from these roots.
    #[error("cannot check server names with these root certificates: {0}")]
    Roots(String),
}

/// Which protocol versions are offered or accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Versions {
    /// TLS 1.2 and 1.3, the mesh's default.
    #[default]
    Tls12And13,
    /// TLS 1.2 only.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

impl Versions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12And13 => &BOTH,
            Self::Tls12 => BOTH.split_at(1).1,
            Self::Tls13 => BOTH.split_at(1).0,
        }
    }
}

/// What a server asks of its clients.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// No client certificate is asked for.
    None,
    /// A client certificate is asked for; a client without one is let in, one with a bad
    /// certificate is not.
    Optional(PeerPolicy),
    /// A client certificate is required.
    Required(PeerPolicy),
}

/// How a client checks the server.
#[derive(Clone, Debug)]
pub enum ServerAuth {
    /// By chain and names of the certificate, whatever host name was asked for (secure naming).
    Policy(PeerPolicy),
    /// As browsers do: chain to these roots, and the certificate names the host asked for.
    WebPki(TrustBundle),
    /// Not at all: a user's explicit `insecureSkipVerify`.
    Unverified,
}

/// The algorithms of Istio's mesh TLS: ECDHE with AES-GCM in TLS 1.2, all of TLS 1.3.
pub fn provider() -> Arc<CryptoProvider> {
    let suites = vec![
        suite::TLS13_AES_256_GCM_SHA384,
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS13_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites: suites, ..aws_lc_rs::default_provider() })
}

/// A policy for a mesh server: the client's chain ends in `trust`, and its URI name starts with
/// `spiffe://<trust domain>/` for one of the trust domains.
pub fn mesh_client_policy<'a>(
    trust: TrustBundle,
    trust_domains: impl IntoIterator<Item = &'a str>,
) -> PeerPolicy {
    let names = trust_domains.into_iter().map(SanMatcher::trust_domain).collect();
    PeerPolicy::new(trust, names).require_names()
}

/// Builds a server's configuration. `alpn` is in order of preference.
///
/// # Errors
/// When rustls refuses the combination.
pub fn server_config(
    identity: &CertifiedIdentity,
    clients: ClientAuth,
    alpn: Vec<Vec<u8>>,
    versions: Versions,
) -> Result<Arc<ServerConfig>, TlsError> {
    let ciphers = Ciphers::default();
    Server { identities: &[identity], clients, alpn, versions, ciphers: &ciphers }.config()
}

/// What a server's configuration is made of, where one certificate and the mesh's algorithms do
/// not do.
#[derive(Debug)]
pub struct Server<'a> {
    /// Its certificates: a client is shown the first whose kind of key it can verify.
    pub identities: &'a [&'a CertifiedIdentity],
    /// What it asks of its clients.
    pub clients: ClientAuth,
    /// Names of protocols, in order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// Protocol versions.
    pub versions: Versions,
    /// Cipher suites of TLS 1.2.
    pub ciphers: &'a Ciphers,
}

impl Server<'_> {
    /// Builds the configuration.
    ///
    /// # Errors
    /// When rustls refuses the combination, as when no cipher suite is left for a version.
    pub fn config(self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = self.ciphers.narrow(provider());
        let resumable = matches!(self.clients, ClientAuth::None);
        let versions = self.ciphers.usable(self.versions);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions.list())?;
        let builder =
            match self.clients {
                ClientAuth::None => builder.with_no_client_auth(),
                ClientAuth::Optional(policy) => builder
                    .with_client_cert_verifier(verify::client_verifier(policy, &provider, false)),
                ClientAuth::Required(policy) => builder
                    .with_client_cert_verifier(verify::client_verifier(policy, &provider, true)),
            };
        let mut config = builder.with_cert_resolver(certificates::resolver(self.identities));
        config.alpn_protocols = self.alpn;
        if !resumable {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }
}

/// Builds a client's configuration; `identity` is shown when the server asks for it. `alpn` is in
/// order of preference. SNI is sent when the connection is made with a DNS name.
///
/// # Errors
/// When rustls refuses the combination or the roots.
pub fn client_config(
    identity: Option<&CertifiedIdentity>,
    server: ServerAuth,
    alpn: Vec<Vec<u8>>,
    versions: Versions,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions.list())?;
    let builder = match server {
        ServerAuth::WebPki(trust) => builder.with_webpki_verifier(web_verifier(&trust, provider)?),
        ServerAuth::Policy(policy) => builder
            .dangerous()
            .with_custom_certificate_verifier(verify::server_verifier(Some(policy), &provider)),
        ServerAuth::Unverified => builder
            .dangerous()
            .with_custom_certificate_verifier(verify::server_verifier(None, &provider)),
    };
    let mut config = match identity {
        Some(identity) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified_key()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn web_verifier(
    trust: &TrustBundle,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<rustls::client::WebPkiServerVerifier>, TlsError> {
    let roots = Arc::new(RootCertStore { roots: trust.anchors().to_vec() });
    rustls::client::WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| TlsError::Roots(error.to_string()))
}

#[cfg(test)]
mod tests;
