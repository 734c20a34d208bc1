//! Hostile and honest certificate signing requests.

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::*;
use crate::KeyKind;

fn identity() -> SpiffeId {
    SpiffeId::new("cluster.local", "bookinfo", "reviews").unwrap()
}

fn pem_block(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn der_of(pem: &str) -> Vec<u8> {
    CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[test]
fn reads_what_it_makes() {
    for kind in [KeyKind::EcdsaP256, KeyKind::Rsa2048] {
        let key = PrivateKey::generate(kind).unwrap();
        let request = CertificateRequest::from_pem(&make_csr(&key, &identity()).unwrap()).unwrap();
        use rcgen::PublicKeyData as _;
        assert_eq!(request.public_key.subject_public_key_info(), key.public_key_info());
    }
}

#[test]
fn refuses_a_changed_byte_in_the_signed_part() {
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let der = der_of(&make_csr(&key, &identity()).unwrap());
    // What follows the signed part is the name of the algorithm and the signature.
    let (_, parsed) = X509CertificationRequest::from_der(&der).unwrap();
    let signed = parsed.certification_request_info.raw.len() + 4;
    for index in 0..signed {
        let mut changed = der.clone();
        changed[index] ^= 1;
        let result = CertificateRequest::from_pem(&pem_block("CERTIFICATE REQUEST", &changed));
        assert!(result.is_err(), "byte {index} of {} was not protected", der.len());
    }
}

#[test]
fn refuses_text_around_and_after() {
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let pem = make_csr(&key, &identity()).unwrap();
    let mut longer = der_of(&pem);
    longer.push(0);
    for text in [
        String::new(),
        "nonsense".into(),
        pem_block("CERTIFICATE REQUEST", b""),
        pem_block("CERTIFICATE REQUEST", &longer),
        pem_block("CERTIFICATE", &der_of(&pem)),
        format!("{pem}{pem}"),
        format!("{pem}{}", "\n".repeat(20_000)),
    ] {
        assert!(CertificateRequest::from_pem(&text).is_err(), "{text:.60} was accepted");
    }
}

#[test]
fn refuses_keys_that_proxies_cannot_use() {
    let params = CertificateParams::default();
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P521_SHA512] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let pem = params.serialize_request(&pair).unwrap().pem().unwrap();
        let error = CertificateRequest::from_pem(&pem).unwrap_err();
        assert!(matches!(error, CsrError::WeakKey(_)), "{error}");
    }
}

#[test]
fn counts_significant_bits() {
    let modulus = |bits: usize| {
        let mut bytes = vec![0xff_u8; bits.div_ceil(8)];
        if !bits.is_multiple_of(8) {
            bytes[0] = (1 << (bits % 8)) - 1;
        }
        bytes.insert(0, 0);
        bytes
    };
    let exponent = [1, 0, 1];
    for (bits, good) in [(1024, false), (2047, false), (2048, true), (8192, true), (8200, false)] {
        let rsa = RSAPublicKey { modulus: &modulus(bits), exponent: &exponent };
        assert_eq!(check_rsa(&rsa).is_ok(), good, "{bits} bits");
    }
    for exponent in [&[3_u8][..], &[1], &[1, 0, 0], &[], &[1; 9]] {
        let rsa = RSAPublicKey { modulus: &modulus(2048), exponent };
        assert!(check_rsa(&rsa).is_err(), "exponent {exponent:?}");
    }
}

#[test]
fn a_request_for_a_ca_is_only_its_key() {
    let mut params = CertificateParams::new(vec!["evil.example.com".into()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pair = KeyPair::generate().unwrap();
    let pem = params.serialize_request(&pair).unwrap().pem().unwrap();
    let ca = crate::Ca::self_signed("cluster.local", std::time::SystemTime::now()).unwrap();
    let chain = ca.sign(&pem, &identity(), 60, std::time::SystemTime::now()).unwrap();
    let der = crate::chain_from_pem(&chain[0]).unwrap().remove(0);
    let peer = crate::PeerIdentity::from_der(&der).unwrap();
    assert_eq!(peer.uri_sans, [identity().to_string()]);
    assert!(peer.dns_sans.is_empty());
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(!parsed.is_ca());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        index in 0_usize..2000,
        value in proptest::num::u8::ANY,
    ) {
        let _ = CertificateRequest::from_der(&bytes);
        let _ = crate::PeerIdentity::from_der(&bytes.clone().into());
        let ca = crate::Ca::self_signed("td", std::time::SystemTime::now()).unwrap();
        let mut certificate = ca.roots().roots()[0].to_vec();
        let length = certificate.len();
        certificate[index % length] = value;
        let _ = crate::PeerIdentity::from_der(&certificate.into());
    }
}
