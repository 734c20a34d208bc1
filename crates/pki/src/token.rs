//! Workload tokens: JWTs of a Kubernetes service account's shape that the local runtime signs.
//!
//! Only ES256 with the one known key is accepted, whatever the token's header says. The claims are
//! read by one strict structure: a duplicate claim or a number that is none is an error.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use crate::{SpiffeId, SpiffeIdError};

/// Larger than any service account's token.
const MAX_BYTES: usize = 16 * 1024;
/// Allowed difference of clocks, seconds.
const LEEWAY: u64 = 10;
const SUBJECT_PREFIX: &str = "system:serviceaccount:";

/// Why a token does not prove an identity.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The verification key is no P-256 public key in PEM.
    #[error("token key is not an ECDSA P-256 public key in PEM: {0}")]
    Key(String),
    /// Over 16 KiB.
    #[error("token is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not a JWT, not signed with ES256 by the known key, or with wrong issuer or audience.
    #[error("token is not valid: {0}")]
    Invalid(String),
    /// `exp` has passed.
    #[error("token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("token is not valid yet")]
    NotYet,
    /// `sub` is not `system:serviceaccount:<namespace>:<service account>`.
    #[error("token's subject is no service account: {0}")]
    Subject(String),
}

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The Kubernetes service account.
    pub service_account: String,
}

impl Caller {
    /// The caller's identity in a trust domain.
    ///
    /// # Errors
    /// When a part has a byte that SPIFFE does not allow.
    pub fn identity(&self, trust_domain: &str) -> Result<SpiffeId, SpiffeIdError> {
        SpiffeId::new(trust_domain, &self.namespace, &self.service_account)
    }
}

/// Verifies tokens of one issuer for one audience.
pub struct TokenVerifier {
    key: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default)]
    nbf: Option<u64>,
}

impl TokenVerifier {
    /// A verifier for tokens of the local runtime: issuer `mizzen-local`, audience `istio-ca`.
    ///
    /// # Errors
    /// When the PEM is no ECDSA P-256 public key.
    pub fn local(public_key_pem: &str) -> Result<Self, TokenError> {
        Self::new(public_key_pem, "mizzen-local", "istio-ca")
    }

    /// A verifier for one issuer and audience.
    ///
    /// # Errors
    /// When the PEM is no ECDSA P-256 public key.
    pub fn new(public_key_pem: &str, issuer: &str, audience: &str) -> Result<Self, TokenError> {
        let key = DecodingKey::from_ec_pem(public_key_pem.as_bytes())
            .map_err(|error| TokenError::Key(error.to_string()))?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The clock is the caller's, not the library's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { key, validation })
    }

    /// Checks a token and says whom it speaks for.
    ///
    /// # Errors
    /// When anything about it is not as it must be.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Caller, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::TooLong);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| TokenError::Invalid(error.to_string()))?;
        let claims = data.claims;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if claims.exp.saturating_add(LEEWAY) <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf.is_some_and(|nbf| nbf > now.saturating_add(LEEWAY)) {
            return Err(TokenError::NotYet);
        }
        caller(&claims.sub)
    }
}

fn caller(subject: &str) -> Result<Caller, TokenError> {
    let refused = || TokenError::Subject(subject.to_owned());
    let rest = subject.strip_prefix(SUBJECT_PREFIX).ok_or_else(refused)?;
    let (namespace, service_account) = rest.split_once(':').ok_or_else(refused)?;
    // The name must be usable as an identity, or two tokens could mean one workload.
    SpiffeId::new("x", namespace, service_account).map_err(|_| refused())?;
    Ok(Caller { namespace: namespace.to_owned(), service_account: service_account.to_owned() })
}

#[cfg(test)]
mod tests;
