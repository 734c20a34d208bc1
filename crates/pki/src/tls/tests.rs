//! Handshakes between our own ends, honest and not (attack class F).

use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, IsCa, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::{Ca, NameMatch, PeerIdentity, PrivateKey, SanKind, SpiffeId};

const SNI: &str = "outbound_.9080_._.reviews.bookinfo.svc.cluster.local";
const HOUR: Duration = Duration::from_secs(3600);

fn ca() -> Ca {
    Ca::self_signed("cluster.local", SystemTime::now()).unwrap()
}

fn id(account: &str) -> SpiffeId {
    SpiffeId::new("cluster.local", "bookinfo", account).unwrap()
}

fn workload(ca: &Ca, account: &str) -> CertifiedIdentity {
    ca.workload_identity(&id(account), HOUR, SystemTime::now()).unwrap()
}

fn mesh_server(ca: &Ca, identity: &CertifiedIdentity, versions: Versions) -> Arc<ServerConfig> {
    let policy = mesh_client_policy(ca.roots().clone(), ["cluster.local"]);
    let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    server_config(identity, ClientAuth::Required(policy), alpn, versions).unwrap()
}

fn mesh_client(ca: &Ca, identity: &CertifiedIdentity, allowed: &[&str]) -> Arc<ClientConfig> {
    let names = allowed.iter().map(|name| SanMatcher::exact(*name)).collect();
    let policy = ServerAuth::Policy(PeerPolicy::new(ca.roots().clone(), names));
    client_config(Some(identity), policy, vec![b"h2".to_vec()], Versions::Tls12And13).unwrap()
}

/// What the server saw of the client, when both ends are content.
async fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &'static str,
) -> Result<Option<PeerIdentity>, String> {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let accept = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await.map_err(|e| e.to_string())?;
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).await.map_err(|e| e.to_string())?;
        stream.write_all(&byte).await.map_err(|e| e.to_string())?;
        let certificates = stream.get_ref().1.peer_certificates();
        Ok::<_, String>(certificates.map(|c| PeerIdentity::from_der(&c[0]).unwrap()))
    };
    let connect = async {
        let name = ServerName::try_from(name).unwrap();
        let connector = TlsConnector::from(client);
        let mut stream = connector.connect(name, near).await.map_err(|e| e.to_string())?;
        stream.write_all(b"x").await.map_err(|e| e.to_string())?;
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).await.map_err(|e| e.to_string())?;
        Ok::<_, String>(())
    };
    let (accepted, connected) = tokio::join!(accept, connect);
    match (accepted, connected) {
        (Ok(peer), Ok(())) => Ok(peer),
        (a, b) => Err(format!("server: {:?}; client: {:?}", a.err(), b.err())),
    }
}

#[tokio::test]
async fn two_workloads_know_each_other_in_both_versions() {
    let ca = ca();
    let (a, b) = (workload(&ca, "productpage"), workload(&ca, "reviews"));
    for versions in [Versions::Tls12And13, Versions::Tls12, Versions::Tls13] {
        let client = mesh_client(&ca, &a, &[&id("reviews").to_string()]);
        let peer = handshake(mesh_server(&ca, &b, versions), client, SNI).await.unwrap().unwrap();
        assert_eq!(peer.spiffe, Some(id("productpage")), "{versions:?}");
    }
}

#[tokio::test]
async fn secure_naming_refuses_the_wrong_server() {
    let ca = ca();
    let (a, b) = (workload(&ca, "productpage"), workload(&ca, "ratings"));
    let server = mesh_server(&ca, &b, Versions::default());
    let client = mesh_client(&ca, &a, &[&id("reviews").to_string()]);
    let error = handshake(Arc::clone(&server), client, SNI).await.unwrap_err();
    assert!(error.contains("sa/ratings") && error.contains("sa/reviews"), "{error}");
    // With no names the chain alone decides.
    assert!(handshake(server, mesh_client(&ca, &a, &[]), SNI).await.is_ok());
}

#[tokio::test]
async fn the_server_wants_a_certificate_of_its_mesh() {
    let ca = ca();
    let server = mesh_server(&ca, &workload(&ca, "reviews"), Versions::default());
    let stranger_ca = Ca::self_signed("cluster.local", SystemTime::now()).unwrap();
    let trust = || ServerAuth::Policy(PeerPolicy::new(ca.roots().clone(), vec![]));
    let client = |identity: Option<&CertifiedIdentity>| {
        client_config(identity, trust(), vec![], Versions::default()).unwrap()
    };
    assert!(handshake(Arc::clone(&server), client(None), SNI).await.is_err());
    let stranger = workload(&stranger_ca, "productpage");
    assert!(handshake(Arc::clone(&server), client(Some(&stranger)), SNI).await.is_err());
    let foreign = SpiffeId::new("other.example", "bookinfo", "productpage").unwrap();
    let foreign = ca.workload_identity(&foreign, HOUR, SystemTime::now()).unwrap();
    let error = handshake(Arc::clone(&server), client(Some(&foreign)), SNI).await.unwrap_err();
    assert!(error.contains("other.example"), "{error}");
    let longer = SpiffeId::new("cluster.local.evil", "bookinfo", "productpage").unwrap();
    let longer = ca.workload_identity(&longer, HOUR, SystemTime::now()).unwrap();
    assert!(handshake(server, client(Some(&longer)), SNI).await.is_err());
}

#[tokio::test]
async fn optional_means_none_or_a_good_one() {
    let ca = ca();
    let policy = mesh_client_policy(ca.roots().clone(), ["cluster.local"]);
    let server = ca.server_identity(&["istiod.istio-system.svc"], HOUR, SystemTime::now()).unwrap();
    let server =
        server_config(&server, ClientAuth::Optional(policy), vec![], Versions::default()).unwrap();
    let client = |identity: Option<&CertifiedIdentity>| {
        let web = ServerAuth::WebPki(ca.roots().clone());
        client_config(identity, web, vec![], Versions::default()).unwrap()
    };
    let name = "istiod.istio-system.svc";
    assert_eq!(handshake(Arc::clone(&server), client(None), name).await.unwrap(), None);
    let good = workload(&ca, "reviews");
    assert!(handshake(Arc::clone(&server), client(Some(&good)), name).await.unwrap().is_some());
    let bad = workload(&Ca::self_signed("cluster.local", SystemTime::now()).unwrap(), "reviews");
    assert!(handshake(Arc::clone(&server), client(Some(&bad)), name).await.is_err());
    // The web's name check is on.
    assert!(handshake(server, client(None), "istiod.other.svc").await.is_err());
}

#[tokio::test]
async fn an_expired_certificate_is_refused_at_both_ends() {
    let ca = ca();
    let past = SystemTime::now() - Duration::from_secs(600);
    let old = ca.workload_identity(&id("old"), Duration::from_secs(60), past).unwrap();
    let good = workload(&ca, "reviews");
    let as_client =
        handshake(mesh_server(&ca, &good, Versions::default()), mesh_client(&ca, &old, &[]), SNI);
    assert!(as_client.await.unwrap_err().contains("expired"));
    let as_server =
        handshake(mesh_server(&ca, &old, Versions::default()), mesh_client(&ca, &good, &[]), SNI);
    assert!(as_server.await.unwrap_err().contains("expired"));
    assert_eq!(old.remaining(SystemTime::now()), Duration::ZERO);
}

/// A certificate that a careless CA might have signed.
fn odd(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> CertifiedIdentity {
    let key = PrivateKey::generate(Default::default()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = (SystemTime::now() - HOUR).into();
    params.not_after = (SystemTime::now() + HOUR).into();
    params.subject_alt_names = vec![uri(&id("odd").to_string())];
    change(&mut params);
    let pair = KeyPair::try_from(ca_key(ca).as_slice()).unwrap();
    let root = ca.roots().roots()[0].clone();
    let issuer = rcgen::Issuer::from_ca_cert_der(&root, pair).unwrap();
    let certificate: CertificateDer<'static> = params.signed_by(&key.pair, &issuer).unwrap().into();
    match CertifiedIdentity::new(vec![certificate.clone()], key.clone()) {
        Ok(identity) => identity,
        // Our own reader refuses to hold it; a hostile peer would show it all the same.
        Err(_) => forced(certificate, key, ca),
    }
}

fn forced(certificate: CertificateDer<'static>, key: PrivateKey, ca: &Ca) -> CertifiedIdentity {
    let mut identity = workload(ca, "forced");
    let signer = provider().key_provider.load_private_key(key.to_der()).unwrap();
    identity.replace_certified(rustls::sign::CertifiedKey::new(vec![certificate], signer));
    identity
}

fn ca_key(ca: &Ca) -> Vec<u8> {
    KeyPair::from_pem(ca.key_pem()).unwrap().serialize_der()
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

#[tokio::test]
async fn odd_client_certificates_are_refused() {
    let ca = ca();
    let server = mesh_server(&ca, &workload(&ca, "reviews"), Versions::default());
    let name = id("admin").to_string();
    let nul = format!("{name}\0.evil");
    let server_only = rcgen::ExtendedKeyUsagePurpose::ServerAuth;
    let raw_san = |value: &[u8]| {
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], value.to_vec());
        extension.set_criticality(true);
        extension
    };
    let cases: Vec<(&str, CertifiedIdentity)> = vec![
        ("embedded NUL", odd(&ca, |p| p.subject_alt_names = vec![uri(&nul)])),
        ("two identities", odd(&ca, |p| p.subject_alt_names.push(uri(&name)))),
        ("no name", odd(&ca, |p| p.subject_alt_names.clear())),
        ("otherName", odd(&ca, |p| p.subject_alt_names = vec![other_name(&name)])),
        ("DNS name", odd(&ca, |p| p.subject_alt_names = vec![dns(&name)])),
        ("may sign", odd(&ca, |p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained))),
        ("server only", odd(&ca, |p| p.extended_key_usages = vec![server_only])),
        ("not UTF-8", {
            let value = [0x30, 0x04, 0x86, 0x02, 0xff, 0xfe];
            odd(&ca, |p| {
                p.subject_alt_names.clear();
                p.custom_extensions = vec![raw_san(&value)];
            })
        }),
    ];
    for (what, identity) in cases {
        let client = mesh_client(&ca, &identity, &[]);
        let result = handshake(Arc::clone(&server), client, SNI).await;
        assert!(result.is_err(), "{what} was accepted");
    }
    // The builder itself makes acceptable certificates.
    let good = odd(&ca, |_| {});
    assert!(handshake(server, mesh_client(&ca, &good, &[]), SNI).await.is_ok());
}

fn other_name(text: &str) -> SanType {
    SanType::OtherName((
        vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3],
        rcgen::OtherNameValue::Utf8String(text.into()),
    ))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(text).unwrap())
}

#[tokio::test]
async fn client_side_names_can_be_dns_with_wildcards() {
    let ca = ca();
    let server = odd(&ca, |p| p.subject_alt_names = vec![dns("*.example.com")]);
    let server = server_config(&server, ClientAuth::None, vec![], Versions::default()).unwrap();
    for (wanted, good) in [("a.example.com", true), ("a.b.example.com", false)] {
        let name = SanMatcher { kind: SanKind::Dns, name: NameMatch::Exact(wanted.into()) };
        let policy = ServerAuth::Policy(PeerPolicy::new(ca.roots().clone(), vec![name]));
        let client = client_config(None, policy, vec![], Versions::default()).unwrap();
        assert_eq!(handshake(Arc::clone(&server), client, "x").await.is_ok(), good, "{wanted}");
    }
}

#[tokio::test]
async fn a_client_certificate_for_servers_only_is_no_server_problem() {
    // The other way around: a server whose certificate is for clients only is refused.
    let ca = ca();
    let client_only = rcgen::ExtendedKeyUsagePurpose::ClientAuth;
    let server = odd(&ca, |p| p.extended_key_usages = vec![client_only]);
    let server = mesh_server(&ca, &server, Versions::default());
    let client = mesh_client(&ca, &workload(&ca, "reviews"), &[]);
    assert!(handshake(server, client, SNI).await.is_err());
}

#[test]
fn no_session_is_kept_where_certificates_are_checked() {
    let ca = ca();
    let server = mesh_server(&ca, &workload(&ca, "reviews"), Versions::default());
    assert!(!server.session_storage.can_cache());
    assert_eq!(server.send_tls13_tickets, 0);
    assert!(!server.ticketer.enabled());
}

#[test]
fn a_policy_of_no_trust_domain_accepts_nobody() {
    let ca = ca();
    let peer = workload(&ca, "reviews");
    let policy = mesh_client_policy(ca.roots().clone(), []);
    let now = rustls_pki_types::UnixTime::now();
    let shown = verify::Shown { leaf: &peer.chain()[0], intermediates: &[], now };
    let usage = webpki::KeyUsage::client_auth();
    let algorithms = provider().signature_verification_algorithms;
    assert!(policy.check(&shown, usage, &algorithms).is_err());
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let ca = ca();
    let (a, b) = (workload(&ca, "a"), workload(&ca, "b"));
    assert!(CertifiedIdentity::new(a.chain().to_vec(), b.key().clone()).is_err());
    let again = CertifiedIdentity::from_pem(&a.chain_pem(), &a.key().to_pem()).unwrap();
    assert_eq!(again.leaf(), a.leaf());
}
