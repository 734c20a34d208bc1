//! Honest and forged tokens (attack classes H and I).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::json;

use super::*;
use crate::{KeyKind, PrivateKey};

const NOW: u64 = 1_790_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn claims() -> serde_json::Value {
    json!({
        "iss": "mizzen-local",
        "sub": "system:serviceaccount:bookinfo:reviews",
        "aud": ["istio-ca"],
        "exp": NOW + 600,
        "kubernetes.io": {"namespace": "bookinfo"},
    })
}

fn sign(key: &PrivateKey, header: &str, claims: &str) -> String {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let input = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.pair.serialize_der());
    let random = aws_lc_rs::rand::SystemRandom::new();
    let signature = pair.unwrap().sign(&random, input.as_bytes()).unwrap();
    format!("{input}.{}", BASE64.encode(signature.as_ref()))
}

const ES256: &str = r#"{"alg":"ES256","typ":"JWT"}"#;

fn key_and_verifier() -> (PrivateKey, TokenVerifier) {
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let verifier = TokenVerifier::local(&key.pair.public_key_pem()).unwrap();
    (key, verifier)
}

#[test]
fn an_honest_token_names_its_caller() {
    let (key, verifier) = key_and_verifier();
    let caller = verifier.verify(&sign(&key, ES256, &claims().to_string()), now()).unwrap();
    let identity = caller.identity("cluster.local").unwrap().to_string();
    assert_eq!(identity, "spiffe://cluster.local/ns/bookinfo/sa/reviews");
    let mut text_audience = claims();
    text_audience["aud"] = json!("istio-ca");
    verifier.verify(&sign(&key, ES256, &text_audience.to_string()), now()).unwrap();
}

#[test]
fn every_wrong_claim_is_refused() {
    let (key, verifier) = key_and_verifier();
    for (claim, value) in [
        ("iss", json!("mizzen-local.evil")),
        ("iss", json!(null)),
        ("aud", json!(["kubernetes"])),
        ("aud", json!([])),
        ("exp", json!(NOW - 60)),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", json!("1")),
        ("exp", json!(null)),
        ("nbf", json!(NOW + 60)),
        ("sub", json!("system:serviceaccount:bookinfo")),
        ("sub", json!("system:serviceaccount:bookinfo:reviews:x")),
        ("sub", json!("system:serviceaccount::reviews")),
        ("sub", json!("system:serviceaccount:bookinfo:..")),
        ("sub", json!("system:serviceaccount:bookinfo:a/sa/b")),
        ("sub", json!("system:node:n1")),
        ("sub", json!(null)),
    ] {
        let mut claims = claims();
        claims[claim] = value.clone();
        let result = verifier.verify(&sign(&key, ES256, &claims.to_string()), now());
        assert!(result.is_err(), "{claim}: {value} was accepted");
    }
    for claim in ["iss", "aud", "exp", "sub"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        let result = verifier.verify(&sign(&key, ES256, &claims.to_string()), now());
        assert!(result.is_err(), "a token without {claim} was accepted");
    }
}

#[test]
fn a_claim_twice_is_refused() {
    let (key, verifier) = key_and_verifier();
    let text = claims().to_string();
    let twice = text.replacen('{', r#"{"sub":"system:serviceaccount:a:b","#, 1);
    assert!(verifier.verify(&sign(&key, ES256, &twice), now()).is_err());
}

#[test]
fn no_other_algorithm_and_no_other_key() {
    let (key, verifier) = key_and_verifier();
    let claims = claims().to_string();
    for alg in ["none", "None", "", "HS256", "RS256", "ES384", "es256"] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        assert!(verifier.verify(&sign(&key, &header, &claims), now()).is_err(), "{alg}");
    }
    let unsigned = format!("{}.{}.", BASE64.encode(ES256), BASE64.encode(&claims));
    assert!(verifier.verify(&unsigned, now()).is_err());
    // The public key as an HMAC secret.
    let input = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), BASE64.encode(&claims));
    let secret = aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA256,
        key.pair.public_key_pem().as_bytes(),
    );
    let tag = aws_lc_rs::hmac::sign(&secret, input.as_bytes());
    let forged = format!("{input}.{}", BASE64.encode(tag.as_ref()));
    assert!(verifier.verify(&forged, now()).is_err());
    let other = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    assert!(verifier.verify(&sign(&other, ES256, &claims), now()).is_err());
}

#[test]
fn broken_text_is_refused_without_harm() {
    let (key, verifier) = key_and_verifier();
    let good = sign(&key, ES256, &claims().to_string());
    let (head, signature) = good.rsplit_once('.').unwrap();
    for text in [
        String::new(),
        ".".into(),
        "..".into(),
        head.to_owned(),
        format!("{good}.x"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{head}.{signature}="),
        "a".repeat(20_000),
        format!("{}.{}.{}", BASE64.encode("[]"), BASE64.encode("[]"), BASE64.encode("x")),
    ] {
        assert!(verifier.verify(&text, now()).is_err(), "{text:.40} was accepted");
    }
}

#[test]
fn the_key_must_be_p256() {
    assert!(TokenVerifier::local("nonsense").is_err());
    let rsa = PrivateKey::generate(KeyKind::Rsa2048).unwrap();
    assert!(TokenVerifier::local(&rsa.pair.public_key_pem()).is_err());
}
