//! The CA's rules, and its directory.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::make_csr;

const DAY: u64 = 24 * 3600;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn identity() -> SpiffeId {
    SpiffeId::new("cluster.local", "bookinfo", "reviews").unwrap()
}

fn csr() -> String {
    make_csr(&PrivateKey::generate(KeyKind::EcdsaP256).unwrap(), &identity()).unwrap()
}

fn leaf(chain: &[String]) -> CertificateDer<'static> {
    chain_from_pem(&chain[0]).unwrap().remove(0)
}

#[test]
fn a_leaf_is_as_envoy_and_istio_expect_it() {
    let ca = Ca::self_signed("cluster.local", now()).unwrap();
    let chain = ca.sign(&csr(), &identity(), 0, now()).unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1], ca.roots().to_pem());
    assert!(chain.iter().all(|pem| pem.ends_with("-----END CERTIFICATE-----\n")));
    let der = leaf(&chain);
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert_eq!(parsed.subject().iter().count(), 0);
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    let extended = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    assert!(!parsed.is_ca());
    let peer = PeerIdentity::from_der(&der).unwrap();
    assert_eq!(peer.spiffe, Some(identity()));
    assert_eq!(peer.subject, "");
    assert_eq!(peer.issuer, "O=cluster.local");
    assert_eq!(peer.not_before, now() - CLOCK_ALLOWANCE);
    assert_eq!(peer.not_after, now() + DEFAULT_TTL);
    assert_eq!(peer.serial.len(), 32);
}

#[test]
fn serial_numbers_differ() {
    let ca = Ca::self_signed("cluster.local", now()).unwrap();
    let csr = csr();
    let serial = || {
        let chain = ca.sign(&csr, &identity(), 0, now()).unwrap();
        PeerIdentity::from_der(&leaf(&chain)).unwrap().serial
    };
    assert_ne!(serial(), serial());
}

#[test]
fn life_follows_the_rules() {
    let ca = Ca::self_signed("cluster.local", now()).unwrap();
    let life = |seconds| {
        let chain = ca.sign(&csr(), &identity(), seconds, now())?;
        let end = PeerIdentity::from_der(&leaf(&chain)).unwrap().not_after;
        Ok::<u64, CaError>(end.duration_since(now()).unwrap().as_secs())
    };
    assert_eq!(life(20).unwrap(), 20);
    assert_eq!(life(0).unwrap(), DAY);
    assert_eq!(life(-5).unwrap(), DAY);
    assert_eq!(life(i64::MIN).unwrap(), DAY);
    assert_eq!(life(90 * 86_400).unwrap(), 90 * DAY);
    assert!(matches!(life(90 * 86_400 + 1), Err(CaError::TtlTooLong { .. })));
    assert!(matches!(life(i64::MAX), Err(CaError::TtlTooLong { .. })));
}

#[test]
fn no_leaf_outlives_its_ca() {
    let ca = Ca::self_signed("cluster.local", now()).unwrap();
    let late = ca.not_after() - Duration::from_secs(60);
    let chain = ca.sign(&csr(), &identity(), 0, late).unwrap();
    assert_eq!(PeerIdentity::from_der(&leaf(&chain)).unwrap().not_after, ca.not_after());
    assert!(matches!(ca.sign(&csr(), &identity(), 0, ca.not_after()), Err(CaError::Expired)));
}

#[test]
fn default_life_can_be_shortened() {
    let ca = Ca::self_signed("cluster.local", now()).unwrap();
    let ca = ca.with_default_ttl(Duration::from_secs(20));
    let chain = ca.sign(&csr(), &identity(), 0, now()).unwrap();
    let peer = PeerIdentity::from_der(&leaf(&chain)).unwrap();
    assert_eq!(peer.not_after, now() + Duration::from_secs(20));
}

/// A root, and an intermediate CA under it in the four files' form.
fn plugged_in() -> (String, String, String) {
    let root = Ca::self_signed("cluster.local", now()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = now().into();
    params.not_after = (now() + Duration::from_secs(30 * DAY)).into();
    let intermediate = params.signed_by(&key, &root.issuer).unwrap();
    (intermediate.pem(), root.roots().to_pem(), key.serialize_pem())
}

#[test]
fn a_plugged_in_intermediate_stands_between() {
    let (cert, root, key) = plugged_in();
    for chain in ["".to_owned(), cert.clone(), format!("{cert}{root}")] {
        let ca = Ca::from_pem(&cert, &chain, &root, &key).unwrap();
        let signed = ca.sign(&csr(), &identity(), 0, now()).unwrap();
        assert_eq!(signed.len(), 3, "chain file {}", chain.len());
        assert_eq!(chain_from_pem(&signed[1]).unwrap(), chain_from_pem(&cert).unwrap());
        assert_eq!(signed[2], root);
        // The web-PKI path builder agrees.
        let der = leaf(&signed);
        let parsed = webpki::EndEntityCert::try_from(&der).unwrap();
        let middle = chain_from_pem(&cert).unwrap();
        let time = rustls_pki_types::UnixTime::since_unix_epoch(
            now().duration_since(SystemTime::UNIX_EPOCH).unwrap(),
        );
        let provider = crate::tls::provider();
        parsed
            .verify_for_usage(
                provider.signature_verification_algorithms.all,
                ca.roots().anchors(),
                &middle,
                time,
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .unwrap();
    }
}

#[test]
fn unusable_material_names_its_file() {
    let (cert, root, key) = plugged_in();
    let other = PrivateKey::generate(KeyKind::EcdsaP256).unwrap().to_pem();
    let mut plain = CertificateParams::default();
    plain.is_ca = IsCa::ExplicitNoCa;
    let plain_key = KeyPair::generate().unwrap();
    let plain_pem = plain.self_signed(&plain_key).unwrap().pem();
    let cases = [
        (Ca::from_pem("", "", &root, &key), "ca-cert.pem"),
        (Ca::from_pem(&cert, "", "x", &key), "root-cert.pem"),
        (Ca::from_pem(&cert, "", &root, "x"), "ca-key.pem"),
        (Ca::from_pem(&cert, "x", &root, &key), "cert-chain.pem"),
        (Ca::from_pem(&cert, "", &root, &other), "another certificate"),
        (Ca::from_pem(&plain_pem, "", &root, &plain_key.serialize_pem()), "CA flag"),
    ];
    for (result, word) in cases {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn the_directory_keeps_one_ca() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca");
    let first = load_or_create(&path, "cluster.local", now()).unwrap();
    let second = load_or_create(&path, "cluster.local", now()).unwrap();
    assert_eq!(first.roots(), second.roots());
    let mode = std::fs::metadata(path.join("ca-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    std::fs::remove_file(path.join("ca-key.pem")).unwrap();
    let error = load_or_create(&path, "cluster.local", now()).unwrap_err().to_string();
    assert!(error.contains("ca-key.pem"), "{error}");
}
