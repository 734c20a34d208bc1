//! Workload tokens of a Kubernetes service account's shape, which the control plane's certificate
//! authority takes as proof of identity. The signing key lives and dies with the runtime.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// The `iss` of the tokens.
const ISSUER: &str = "mizzen-local";
/// The `aud` of the tokens, Istio's.
const AUDIENCE: &str = "istio-ca";
/// How long a token is good. The kubelet asks for 12 hours for Istio; one machine needs less.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);

/// What can go wrong with keys and signatures.
#[derive(Debug, thiserror::Error)]
#[error("cannot make workload tokens: {0}")]
pub(crate) struct TokenError(String);

/// Signs tokens.
pub(crate) struct Issuer {
    key: EncodingKey,
    public: String,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Issuer").finish_non_exhaustive()
    }
}

/// Whom a token stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) service_account: &'a str,
    pub(crate) pod: &'a str,
}

impl Issuer {
    /// A new ES256 key.
    pub(crate) fn new() -> Result<Self, TokenError> {
        let failed = |error: &dyn std::fmt::Display| TokenError(error.to_string());
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|error| failed(&error))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())
            .map_err(|error| failed(&error))?;
        let public: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|error| failed(&error))?;
        let private = pem("PRIVATE KEY", document.as_ref());
        let key = EncodingKey::from_ec_pem(private.as_bytes()).map_err(|error| failed(&error))?;
        Ok(Self { key, public: pem("PUBLIC KEY", public.as_ref()) })
    }

    /// The public key, PEM.
    pub(crate) fn public_pem(&self) -> &str {
        &self.public
    }

    /// A token for `subject`, good for [`LIFETIME`] from now.
    pub(crate) fn sign(&self, subject: Subject<'_>, now: SystemTime) -> Result<String, TokenError> {
        let seconds =
            |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Subject { namespace, service_account, pod } = subject;
        let claims = json!({
            "iss": ISSUER,
            "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
            "aud": [AUDIENCE],
            "iat": seconds(now),
            "nbf": seconds(now),
            "exp": seconds(now + LIFETIME),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": service_account },
                "pod": { "name": pod },
            },
        });
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.key)
            .map_err(|error| TokenError(error.to_string()))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};

    #[test]
    fn a_token_is_good_for_its_key_and_audience() {
        let issuer = Issuer::new().unwrap();
        let subject = Subject { namespace: "shop", service_account: "cart", pod: "cart-0" };
        let token = issuer.sign(subject, SystemTime::now()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["istio-ca"]);
        validation.set_issuer(&["mizzen-local"]);
        let key = DecodingKey::from_ec_pem(issuer.public_pem().as_bytes()).unwrap();
        let claims = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap();
        assert_eq!(claims.claims["sub"], "system:serviceaccount:shop:cart");
        assert_eq!(claims.claims["kubernetes.io"]["pod"]["name"], "cart-0");

        let other = Issuer::new().unwrap();
        let wrong = DecodingKey::from_ec_pem(other.public_pem().as_bytes()).unwrap();
        jsonwebtoken::decode::<serde_json::Value>(&token, &wrong, &validation).unwrap_err();
    }
}
