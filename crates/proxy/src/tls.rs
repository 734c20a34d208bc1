//! TLS contexts: what a resource asks for, joined with the secrets of the moment.
//!
//! A context never serves without its secrets: until they are here, and when they are unusable,
//! handshakes are refused. A new secret gives new rustls configurations; connections that are open
//! keep theirs.

mod downstream;
mod secret;
mod upstream;

use pki::{NameMatch, SanKind, SanMatcher, TrustBundle, tls::Versions};

pub(crate) use downstream::DownstreamTls;
pub(crate) use secret::{SecretSlot, SecretStore, SecretValue};
pub(crate) use upstream::UpstreamTls;

/// An ALPN name of Istio's exchange of metadata; it obliges both ends to speak that protocol.
pub(crate) const PEER_EXCHANGE: &str = "istio-peer-exchange";

/// A TLS context that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The resource asks for what cannot be had.
    #[error("{field}: {problem}")]
    Unsupported {
        /// Path of the field.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// The secret has not arrived.
    #[error("secret {0} has not arrived")]
    Missing(String),
    /// The secret is of the wrong kind.
    #[error("secret {0} is not {1}")]
    WrongKind(String, &'static str),
    /// The configuration cannot be built.
    #[error(transparent)]
    Pki(#[from] pki::tls::TlsError),
    /// The system's roots cannot be read.
    #[error("cannot read the system's root certificates: {0}")]
    SystemRoots(String),
    /// No server name can be asked for.
    #[error("{0:?} is no server name")]
    ServerName(String),
}

fn unsupported(field: impl Into<String>, problem: impl Into<String>) -> TlsError {
    TlsError::Unsupported { field: field.into(), problem: problem.into() }
}

/// Protocol versions that are offered or accepted.
fn versions(params: &xds::TlsParams) -> Result<Versions, TlsError> {
    use xds::TlsVersion::{V1_2, V1_3};
    let min = params.min_version.unwrap_or(V1_2).max(V1_2);
    let max = params.max_version.unwrap_or(V1_3);
    // COMPAT: of a server's cipher suites only those count that rustls has (all of them forward
    // secret AEADs); a client offers all that it has.
    match (min, max) {
        (V1_2, V1_3) => Ok(Versions::Tls12And13),
        (V1_3, V1_3) => Ok(Versions::Tls13),
        (V1_2, V1_2) => Ok(Versions::Tls12),
        (_, max) => Err(unsupported(
            "tls_params.tls_maximum_protocol_version",
            format!("{max:?} is too old: TLS 1.2 and 1.3 are spoken"),
        )),
    }
}

/// ALPN names that this proxy can keep its word on: metadata is exchanged where the filter for it
/// is there.
fn alpn(names: &[String], exchange: bool) -> Vec<Vec<u8>> {
    names
        .iter()
        .filter(|name| exchange || *name != PEER_EXCHANGE)
        .map(|name| name.clone().into_bytes())
        .collect()
}

/// Names that a peer's certificate may have.
fn san_matchers(validation: &xds::CertificateValidation) -> Result<Vec<SanMatcher>, TlsError> {
    let matchers = validation.match_subject_alt_names.iter().enumerate();
    matchers
        .map(|(index, matcher)| {
            let name = name_match(&matcher.matcher).ok_or_else(|| {
                unsupported(
                    format!("match_typed_subject_alt_names[{index}]"),
                    "regular expressions are not supported for certificate names",
                )
            })?;
            let kind = match matcher.san_type {
                xds::SanType::Dns => SanKind::Dns,
                xds::SanType::Uri => SanKind::Uri,
                xds::SanType::IpAddress => SanKind::Ip,
            };
            Ok(SanMatcher { kind, name })
        })
        .collect()
}

fn name_match(matcher: &xds::StringMatcher) -> Option<NameMatch> {
    Some(match &matcher.pattern {
        xds::StringPattern::Exact(text) => NameMatch::Exact(text.clone()),
        xds::StringPattern::Prefix(text) => NameMatch::Prefix(text.clone()),
        xds::StringPattern::Suffix(text) => NameMatch::Suffix(text.clone()),
        xds::StringPattern::Contains(text) => NameMatch::Contains(text.clone()),
        xds::StringPattern::Regex(_) => return None,
    })
}

/// Where a context's trust anchors come from.
#[derive(Debug)]
enum TrustSource {
    Secret(std::sync::Arc<SecretSlot>),
    Fixed(TrustBundle),
    Unverified,
}

impl TrustSource {
    fn new(ca: &xds::TrustedCa, secrets: &SecretStore) -> Result<Self, TlsError> {
        Ok(match ca {
            xds::TrustedCa::Secret(source) => Self::Secret(secrets.slot(source)),
            xds::TrustedCa::System => Self::Fixed(
                TrustBundle::system().map_err(|error| TlsError::SystemRoots(error.to_string()))?,
            ),
            xds::TrustedCa::Unverified => Self::Unverified,
        })
    }

    fn slot(&self) -> Option<&std::sync::Arc<SecretSlot>> {
        match self {
            Self::Secret(slot) => Some(slot),
            _ => None,
        }
    }

    fn bundle(&self) -> Result<Option<TrustBundle>, TlsError> {
        match self {
            Self::Secret(slot) => slot.trust().map(Some),
            Self::Fixed(bundle) => Ok(Some(bundle.clone())),
            Self::Unverified => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
