//! What proves to the control plane who the agent is, and what happens when it does not.

use pki::{Ca, SpiffeId};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A folder with a client certificate of an hour's life, and a token's file that is not there yet.
fn fixture(now: SystemTime) -> (tempfile::TempDir, Discovery) {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = Ca::self_signed("cluster.local", now).expect("a CA");
    let name = SpiffeId::new("cluster.local", "shop", "a").expect("a name");
    let identity = ca.workload_identity(&name, HOUR, now).expect("signed");
    std::fs::write(dir.path().join("cert-chain.pem"), identity.chain_pem()).expect("written");
    std::fs::write(dir.path().join("key.pem"), identity.key().to_pem()).expect("written");
    let discovery = Discovery {
        address: "127.0.0.1:1".into(),
        server_name: "istiod.istio-system.svc".into(),
        root_cert: None,
        token: Some(dir.path().join("token")),
        client_cert_dir: Some(dir.path().to_owned()),
        cluster_id: "Kubernetes".into(),
        socket_mark: None,
    };
    (dir, discovery)
}

#[test]
fn a_certificate_that_is_of_no_use_is_not_shown() {
    let now = SystemTime::now();
    let (dir, discovery) = fixture(now);
    assert!(discovery.usable_certificate(now).is_some());
    assert!(discovery.usable_certificate(now + HOUR * 2).is_none(), "expired");
    assert!(discovery.usable_certificate(now - HOUR).is_none(), "not valid yet");
    std::fs::write(dir.path().join("key.pem"), "half wri").expect("written");
    assert!(discovery.usable_certificate(now).is_none(), "unreadable");
}

#[test]
fn the_token_is_read_anew_and_needed_without_a_certificate() {
    let (dir, discovery) = fixture(SystemTime::now());
    let mut request = Request::new(());
    discovery.authorize(&mut request).expect("the certificate is enough");
    assert!(request.metadata().get("authorization").is_none());
    for token in ["one", "two\n"] {
        std::fs::write(dir.path().join("token"), token).expect("written");
        discovery.authorize(&mut request).expect("a token");
        let value = request.metadata().get("authorization").expect("there");
        assert_eq!(value.to_str().expect("text"), format!("Bearer {}", token.trim()));
        assert!(!format!("{request:?}").contains("one"), "a token is in no log");
    }
    std::fs::remove_file(dir.path().join("cert-chain.pem")).expect("removed");
    for (content, problem) in [("", "empty"), ("a\u{1}b", "characters")] {
        std::fs::write(dir.path().join("token"), content).expect("written");
        let error = discovery.authorize(&mut request).expect_err("no proof").to_string();
        assert!(error.contains("token") && error.contains(problem), "{error}");
    }
}
