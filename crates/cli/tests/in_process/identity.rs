//! Mutual TLS between two gateways with identities from the control plane's CA: who may pass, whom
//! a client takes for whom, and rotation under load.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use testkit::load::Load;

use super::{
    application::Application,
    client::{by_status, eventually, get, until_status},
    fixture::Mesh,
    gateway::Gateway,
    objects,
};

const ALLOW_OUTER: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: inner, namespace: shop}
spec:
  selector: {matchLabels: {istio: inner}}
  action: ALLOW
  rules:
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/outer"]}}]
    to: [{operation: {paths: ["/open*"], methods: [GET]}}]
"#;

/// `outer` takes plain HTTP and calls `inner` with mutual TLS, which calls the application.
struct Chain {
    mesh: Mesh,
    outer: Gateway,
    inner: Gateway,
    application: Application,
}

impl Chain {
    async fn start(lifetime: Duration) -> Self {
        let application = Application::start("one").await;
        let (outer_port, inner_port) = (objects::free_port(), objects::free_port());
        let inner_gateway = objects::gateway("inner", inner_port)
            .replace("protocol: HTTP}", "protocol: HTTPS}\n    tls: {mode: ISTIO_MUTUAL}");
        let mesh = Mesh::start(&[
            ("one.yaml", &objects::service("one", &[application.address])),
            ("inner.yaml", &objects::service("inner", &[([127, 0, 0, 1], inner_port).into()])),
            ("inner-rule.yaml", &client_tls("inner")),
            ("inner-gateway.yaml", &inner_gateway),
            ("inner-routes.yaml", &objects::all_to("inner", "one")),
            ("outer-gateway.yaml", &objects::gateway("outer", outer_port)),
            ("outer-routes.yaml", &objects::all_to("outer", "inner")),
        ])
        .await;
        let inner = Gateway::start_for(&mesh, "inner", inner_port, lifetime).await;
        let outer = Gateway::start_for(&mesh, "outer", outer_port, lifetime).await;
        until_status(outer.address, "/", 200).await;
        Self { mesh, outer, inner, application }
    }
}

/// The client's side: mutual TLS, with the server's name pinned.
fn client_tls(account: &str) -> String {
    let name = format!("spiffe://cluster.local/ns/shop/sa/{account}");
    objects::policy(
        "inner",
        &format!("{{tls: {{mode: ISTIO_MUTUAL, subjectAltNames: [\"{name}\"]}}}}"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_are_proved_and_checked() {
    let Chain { mesh, outer, inner, application } = Chain::start(Duration::from_secs(3600)).await;
    let answer = get(outer.address, "/", &[]).await;
    let certificate = "URI=spiffe://cluster.local/ns/shop/sa/outer";
    assert!(answer.body.contains(certificate), "no {certificate} in {answer:?}");

    mesh.write("policy.yaml", ALLOW_OUTER);
    let denied = until_status(outer.address, "/closed", 403).await;
    assert_eq!(denied.body, "RBAC: access denied");
    let before = application.requests();
    assert_eq!(get(outer.address, "/open/x", &[]).await.status, 200);
    // Neither dots nor slashes nor escapes get around a path.
    for path in ["/open/../closed", "/open/%2e%2e/closed", "//open", "/closed/..%2fopen"] {
        assert_eq!(get(outer.address, path, &[]).await.status, 403, "{path}");
    }
    assert_eq!(application.requests(), before + 1, "what was denied went nowhere");
    mesh.write("policy.yaml", &ALLOW_OUTER.replace("sa/outer", "sa/else"));
    until_status(outer.address, "/open", 403).await;
    mesh.remove("policy.yaml");
    until_status(outer.address, "/closed", 200).await;

    // The client refuses a server of another name, and the server a client without certificate.
    mesh.write("inner-rule.yaml", &client_tls("impostor"));
    let refused = until_status(outer.address, "/", 503).await;
    assert!(refused.body.contains("TLS_error"), "{refused:?}");
    mesh.write("inner-rule.yaml", &client_tls("inner"));
    until_status(outer.address, "/", 200).await;
    let plain = super::client::try_get(inner.address, "/", &[]).await;
    assert!(plain.is_err(), "plain HTTP to a TLS port: {plain:?}");
    mesh.assert_nothing_refused().await;
}

/// Certificates of four seconds: several are seen, and no request is lost.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_rotate_under_load() {
    let Chain { mesh, outer, inner, application } = Chain::start(Duration::from_secs(4)).await;
    let load = Load::start(outer.address, "/", 100, 4, by_status);
    let mut serials = BTreeSet::new();
    for _ in 0..14 {
        tokio::time::sleep(Duration::from_millis(450)).await;
        serials.insert(serial(&inner).await);
    }
    let tally = load.stop().await;
    assert_eq!(tally.count("200"), tally.sent, "{tally:?}");
    assert!(serials.len() >= 3, "{serials:?}");
    assert!(application.requests() >= tally.sent);
    mesh.assert_nothing_refused().await;
}

/// The serial number of the certificate that the proxy uses now.
async fn serial(gateway: &Gateway) -> String {
    let certificates = gateway.admin_json("/certs").await;
    let all = certificates["certificates"].as_array().cloned().unwrap_or_default();
    let leaves = all.iter().filter_map(|entry| entry.pointer("/cert_chain/0/serial_number"));
    leaves.filter_map(Value::as_str).next().unwrap_or_default().to_owned()
}

/// Each gateway has a certificate in the name that its token proves.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_of_the_tokens_account() {
    let chain = Chain::start(Duration::from_secs(600)).await;
    for (gateway, name) in [(&chain.outer, "outer"), (&chain.inner, "inner")] {
        let own = format!("spiffe://cluster.local/ns/shop/sa/{name}");
        eventually("its certificate", || async {
            let text = gateway.admin("/certs").await;
            if text.contains(&own) { Ok(()) } else { Err(text) }
        })
        .await;
    }
}
