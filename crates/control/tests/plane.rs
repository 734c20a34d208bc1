//! A whole control plane in this process, on ports that the system chooses, and clients over gRPC.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it stands")]

mod plane {
    pub(crate) mod client;
    pub(crate) mod fixture;
}

use std::time::Duration;

use pb::istio::v1::auth::IstioCertificateRequest;
use pb::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use pki::{KeyKind, PeerIdentity, PrivateKey, SpiffeId, chain_from_pem, make_csr};
use tonic::Code;

use plane::client::{DeltaStream, SotwStream, node, plaintext, secure};
use plane::fixture::{Fixture, SERVICE, with_token};
use xds::ResourceType::{Cluster, Listener, LoadAssignment, NameTable, RouteConfiguration, Secret};

const REVIEWS: &str = "outbound|9080||reviews.shop.svc.cluster.local";

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_client_gets_everything_and_then_only_changes() {
    let fixture = Fixture::start().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(Cluster, &[]).await;
    let clusters = stream.expect(Cluster).await;
    assert!(clusters.resources.iter().any(|r| r.name == REVIEWS), "{:?}", names(&clusters));
    stream.ack(&clusters).await;
    stream.subscribe(LoadAssignment, &[REVIEWS]).await;
    let endpoints = stream.expect(LoadAssignment).await;
    assert_eq!(names(&endpoints), [REVIEWS]);
    stream.ack(&endpoints).await;
    // One more service: one more cluster is sent, and only that.
    fixture.write("ratings.yaml", &SERVICE.replace("reviews", "ratings"));
    let clusters = stream.expect(Cluster).await;
    assert_eq!(names(&clusters), ["outbound|9080||ratings.shop.svc.cluster.local"]);
    assert!(clusters.removed_resources.is_empty());
    stream.ack(&clusters).await;
}

fn names(response: &pb::envoy::service::discovery::v3::DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_the_world_client_gets_everything_each_time() {
    let fixture = Fixture::start().await;
    let mut stream = SotwStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.request(Cluster, &[]).await;
    let first = stream.expect(Cluster).await;
    assert!(!first.resources.is_empty() && !first.version_info.is_empty());
    stream.answer(&first, &[], None).await;
    fixture.write("ratings.yaml", &SERVICE.replace("reviews", "ratings"));
    let second = stream.expect(Cluster).await;
    assert_eq!(second.resources.len(), first.resources.len() + 1);
    assert_ne!(second.version_info, first.version_info);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_types_are_answered() {
    let fixture = Fixture::start().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(RouteConfiguration, &["nobody:1234"]).await;
    let routes = stream.expect(RouteConfiguration).await;
    assert_eq!(names(&routes), ["nobody:1234"]);
    stream.ack(&routes).await;
    stream.subscribe(NameTable, &[]).await;
    let table = stream.expect(NameTable).await;
    assert_eq!(table.resources.len(), 1);
    stream.ack(&table).await;
    stream.subscribe_url("type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig", &[]).await;
    let unknown = stream.next().await;
    assert!(unknown.resources.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_is_sent_only_what_differs() {
    let fixture = Fixture::start().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(Cluster, &[]).await;
    let clusters = stream.expect(Cluster).await;
    stream.ack(&clusters).await;
    let mut versions: Vec<(String, String)> =
        clusters.resources.iter().map(|r| (r.name.clone(), r.version.clone())).collect();
    drop(stream);
    let (_, old) = versions.iter_mut().find(|(name, _)| name == REVIEWS).unwrap();
    *old = "older".into();
    versions.push(("outbound|1||gone.shop.svc.cluster.local".into(), "x".into()));
    // A new control plane over the same files gives the same versions.
    let fixture = fixture.restart().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.resume(Cluster, versions).await;
    let again = stream.expect(Cluster).await;
    assert_eq!(names(&again), [REVIEWS]);
    assert!(again.removed_resources.is_empty(), "what listeners may still use is removed later");
    stream.ack(&again).await;
    stream.subscribe(LoadAssignment, &[REVIEWS]).await;
    let endpoints = stream.expect(LoadAssignment).await;
    stream.ack(&endpoints).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_counted_and_shown() {
    let fixture = Fixture::start().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(Cluster, &[]).await;
    let clusters = stream.expect(Cluster).await;
    stream.nack(&clusters, "field x: is bad").await;
    let metrics = fixture.eventually("/metrics", "pilot_total_xds_rejects{type=\"cds\"} 1").await;
    assert!(metrics.contains("pilot_xds_cds_reject"), "{metrics}");
    let page = fixture.eventually("/debug/syncz", "field x: is bad").await;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page[0]["proxy"], "pod-1.shop");
    assert_ne!(page[0]["cluster_sent"], page[0]["cluster_acked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_a_connected_proxy() {
    let fixture = Fixture::start().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(Cluster, &[]).await;
    let clusters = stream.expect(Cluster).await;
    stream.ack(&clusters).await;
    fixture.eventually("/debug/adsz", "pod-1.shop-1").await;
    for name in ["pod-1.shop", "pod-1", "shop/pod-1"] {
        fixture.eventually(&format!("/debug/config_dump?proxyID={name}"), REVIEWS).await;
    }
    assert!(fixture.get("/debug/config_dump").await.starts_with("HTTP/1.1 400"));
    assert!(fixture.get("/debug/config_dump?proxyID=nobody").await.starts_with("HTTP/1.1 404"));
    assert!(fixture.get("/debug/registryz").await.contains("reviews.shop.svc.cluster.local"));
    for page in ["configz", "endpointz", "push_status", "diagnostics", "mesh", "edsz?proxyID=pod-1"]
    {
        let answer = fixture.get(&format!("/debug/{page}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{page}: {answer}");
    }
    assert!(fixture.get("/ready").await.starts_with("HTTP/1.1 200"));
    drop(stream);
    fixture.eventually("/debug/adsz", "\"totalClients\":0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_keeps_the_last_good() {
    let fixture = Fixture::start().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(Cluster, &[]).await;
    let clusters = stream.expect(Cluster).await;
    stream.ack(&clusters).await;
    fixture.write("reviews.yaml", "kind: Service\nmetadata: [broken");
    fixture.eventually("/debug/diagnostics", "reviews.yaml").await;
    assert!(stream.quiet().await, "a broken file changed what a proxy gets");
    // Other files go on.
    fixture.write("ratings.yaml", &SERVICE.replace("reviews", "ratings"));
    let clusters = stream.expect(Cluster).await;
    assert_eq!(names(&clusters), ["outbound|9080||ratings.shop.svc.cluster.local"]);
    assert!(clusters.removed_resources.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_edits_are_one_push() {
    let fixture = Fixture::start().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(Cluster, &[]).await;
    let clusters = stream.expect(Cluster).await;
    stream.ack(&clusters).await;
    for index in 0..5 {
        let name = format!("s{index}");
        fixture.write(&format!("{name}.yaml"), &SERVICE.replace("reviews", &name));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let clusters = stream.expect(Cluster).await;
    assert_eq!(clusters.resources.len(), 5, "{:?}", names(&clusters));
}

#[tokio::test(flavor = "multi_thread")]
async fn xds_over_tls_needs_an_identity_of_the_proxys_namespace() {
    let fixture = Fixture::start().await;
    let shop = fixture.token("shop", "reviews");
    // No identity at all.
    let channel = secure(&fixture, None).await.unwrap();
    let status = DeltaStream::refused(channel, node("shop"), None).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    // Another namespace's.
    let other = fixture.token("other", "reviews");
    let channel = secure(&fixture, None).await.unwrap();
    let status = DeltaStream::refused(channel, node("shop"), Some(&other)).await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    // The wrong service account of the right namespace.
    let channel = secure(&fixture, None).await.unwrap();
    let account = fixture.token("shop", "ratings");
    let status = DeltaStream::refused(channel, node("shop"), Some(&account)).await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    // A forged token.
    let channel = secure(&fixture, None).await.unwrap();
    let forged = format!("{}x", &shop[..shop.len() - 1]);
    let status = DeltaStream::refused(channel, node("shop"), Some(&forged)).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    // The right token, and the right certificate.
    let channel = secure(&fixture, None).await.unwrap();
    let mut stream = DeltaStream::open_with(channel, node("shop"), Some(&shop)).await;
    stream.subscribe(Cluster, &[]).await;
    stream.expect(Cluster).await;
    let identity = fixture.identity("shop", "reviews").await;
    let channel = secure(&fixture, Some(&identity)).await.unwrap();
    let mut stream = DeltaStream::open(channel, node("shop")).await;
    stream.subscribe(Cluster, &[]).await;
    stream.expect(Cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ca_signs_for_the_caller_only() {
    let fixture = Fixture::start().await;
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let admin = SpiffeId::new("cluster.local", "istio-system", "admin").unwrap();
    let csr = make_csr(&key, &admin).unwrap();
    let request = |seconds| IstioCertificateRequest {
        csr: csr.clone(),
        validity_duration: seconds,
        metadata: None,
    };
    let channel = secure(&fixture, None).await.unwrap();
    let mut client = IstioCertificateServiceClient::new(channel);
    let status = client.create_certificate(request(60)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let token = fixture.token("shop", "reviews");
    let answer = client.create_certificate(with_token(request(60), &token)).await.unwrap();
    let chain = answer.into_inner().cert_chain;
    let leaf = chain_from_pem(&chain[0]).unwrap().remove(0);
    let leaf = PeerIdentity::from_der(&leaf).unwrap();
    assert_eq!(leaf.uri_sans, ["spiffe://cluster.local/ns/shop/sa/reviews"]);
    let too_long = with_token(request(91 * 86_400), &token);
    let status = client.create_certificate(too_long).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let mut broken = request(60);
    broken.csr = "nonsense".into();
    let status = client.create_certificate(with_token(broken, &token)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    // Plaintext has the same CA with the same rule.
    let mut client = IstioCertificateServiceClient::new(plaintext(&fixture).await);
    let status = client.create_certificate(request(60)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    // The certificate renews itself.
    let identity = fixture.identity("shop", "reviews").await;
    let mut client =
        IstioCertificateServiceClient::new(secure(&fixture, Some(&identity)).await.unwrap());
    client.create_certificate(request(60)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_needs_a_node_that_makes_sense() {
    let fixture = Fixture::start().await;
    let channel = plaintext(&fixture).await;
    let status = DeltaStream::refused(channel.clone(), None, None).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let mut strange = node("shop").unwrap();
    strange.id = "rocket~x~y~z".into();
    let status = DeltaStream::refused(channel, Some(strange), None).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_can_ask_for_is_bounded() {
    let fixture = Fixture::start().await;
    let channel = plaintext(&fixture).await;
    let mut stream = DeltaStream::open(channel.clone(), node("shop")).await;
    for index in 0..70 {
        stream.subscribe_url(&format!("type.googleapis.com/x.T{index}"), &[]).await;
        // Answered, so that the client's own queue does not fill.
        if index < 60 {
            stream.next().await;
        }
    }
    assert_eq!(stream.end().await.code(), Code::ResourceExhausted);
    let mut stream = DeltaStream::open(channel, node("shop")).await;
    for index in 0..12 {
        let name = format!("{index}{}", "x".repeat(3 << 20));
        stream.subscribe(LoadAssignment, &[&name]).await;
    }
    assert_eq!(stream.end().await.code(), Code::ResourceExhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_replaced_is_followed() {
    let fixture = Fixture::start().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(Cluster, &[]).await;
    let clusters = stream.expect(Cluster).await;
    stream.ack(&clusters).await;
    // As a deployment tool does it: a new directory takes the old one's name.
    fixture.replace_config(Duration::from_millis(300));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(stream.quiet().await, "nothing changed yet");
    fixture.write("ratings.yaml", &SERVICE.replace("reviews", "ratings"));
    let clusters = stream.expect(Cluster).await;
    assert_eq!(names(&clusters), ["outbound|9080||ratings.shop.svc.cluster.local"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_with_open_streams() {
    let fixture = Fixture::start().await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(Listener, &[]).await;
    stream.next().await;
    let stopped = tokio::time::timeout(Duration::from_secs(3), fixture.stop()).await;
    assert!(stopped.is_ok(), "an open stream held it up");
    assert_eq!(stream.end().await.code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_start_half_way() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let options = control::Options::new(vec![missing], dir.path().join("ca"));
    let stop = tokio_util::sync::CancellationToken::new();
    let error = control::ControlPlane::start(options, stop).await.unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("does not exist"), "{error}");
    let fixture = Fixture::start().await;
    let mut options = fixture.options(dir.path());
    options.ports.tls = fixture.addresses().tls.port();
    let stop = tokio_util::sync::CancellationToken::new();
    let error = control::ControlPlane::start(options, stop).await.unwrap_err().to_string();
    assert!(error.contains(&fixture.addresses().tls.to_string()), "{error}");
}

const CREDENTIAL: &str = "
apiVersion: v1
kind: Secret
metadata: {name: front, namespace: shop}
type: kubernetes.io/tls
stringData: {tls.crt: CHAIN, tls.key: KEY, ca.crt: ROOT}
---
apiVersion: v1
kind: Secret
metadata: {name: opaque, namespace: shop}
stringData: {cert: OTHER-CHAIN, key: OTHER-KEY}
---
apiVersion: v1
kind: Secret
metadata: {name: opaque-cacert, namespace: shop}
stringData: {cacert: OTHER-ROOT}
---
apiVersion: v1
kind: Secret
metadata: {name: elsewhere, namespace: other}
type: kubernetes.io/tls
stringData: {tls.crt: CHAIN, tls.key: KEY}
";

const CREDENTIALS: [&str; 4] = [
    "kubernetes://front",
    "kubernetes://front-cacert",
    "kubernetes-gateway://shop/opaque",
    "kubernetes://opaque-cacert",
];

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_served_by_proven_namespace_and_again_when_they_change() {
    let fixture = Fixture::start().await;
    fixture.write("secrets.yaml", CREDENTIAL);
    fixture.eventually("/debug/configz", "elsewhere").await;
    let token = fixture.token("shop", "reviews");
    let channel = secure(&fixture, None).await.unwrap();
    let mut stream = DeltaStream::open_with(channel, node("shop"), Some(&token)).await;
    let foreign = ["kubernetes://other/elsewhere", "kubernetes://elsewhere", "kubernetes://no"];
    stream.subscribe(Secret, &[&CREDENTIALS[..], &foreign[..]].concat()).await;
    let secrets = stream.expect(Secret).await;
    let mut found = names(&secrets);
    found.sort_unstable();
    let mut wanted = CREDENTIALS;
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    let mut missing = secrets.removed_resources.clone();
    missing.sort_unstable();
    assert_eq!(missing, [foreign[1], foreign[2], foreign[0]]);
    stream.ack(&secrets).await;
    fixture.write("secrets.yaml", &CREDENTIAL.replace("OTHER-CHAIN", "NEW-CHAIN"));
    let changed = stream.expect(Secret).await;
    assert_eq!(names(&changed), ["kubernetes-gateway://shop/opaque"]);
    let bytes = &changed.resources[0].resource.as_ref().unwrap().value;
    assert!(bytes.windows(9).any(|part| part == b"NEW-CHAIN"));
    stream.ack(&changed).await;
    // No page shows a key.
    for page in ["config_dump?proxyID=pod-1", "configz", "adsz", "syncz"] {
        assert!(!fixture.get(&format!("/debug/{page}")).await.contains("OTHER-KEY"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_an_identity_is_served_a_secret() {
    let fixture = Fixture::start().await;
    fixture.write("secrets.yaml", CREDENTIAL);
    fixture.eventually("/debug/configz", "elsewhere").await;
    let mut stream = DeltaStream::open(plaintext(&fixture).await, node("shop")).await;
    stream.subscribe(Secret, &["kubernetes://front"]).await;
    let secrets = stream.expect(Secret).await;
    assert!(secrets.resources.is_empty());
    assert_eq!(secrets.removed_resources, ["kubernetes://front"]);
}
