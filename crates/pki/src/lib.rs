//! Identities and their proof: SPIFFE names, keys, CSRs, certificates, the CA, tokens, and rustls
//! configurations that check them.
//!
//! Nothing here opens a socket. The time is always passed in, except where rustls asks its own
//! clock inside a handshake. Files are touched only by [`ca::load_or_create`] and
//! [`TrustBundle::system`].

pub mod ca;
mod certificate;
mod csr;
mod identity;
mod key;
mod name;
mod spiffe;
pub mod tls;
mod token;
mod trust;

pub use ca::{Ca, CaError};
pub use certificate::{CertificateError, PeerIdentity, chain_from_pem, chain_to_pem};
pub use csr::{CertificateRequest, CsrError, make_csr};
pub use identity::CertifiedIdentity;
pub use key::{KeyError, KeyKind, PrivateKey};
pub use name::{NameMatch, SanKind, SanMatcher};
pub use spiffe::{SpiffeId, SpiffeIdError, validate_trust_domain};
pub use token::{Caller, TokenError, TokenVerifier};
pub use trust::TrustBundle;
