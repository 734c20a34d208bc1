//! The service over a real Unix socket, with tonic's client.

use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use pb::envoy::{
    config::core::v3::data_source::Specifier,
    extensions::transport_sockets::tls::v3::{Secret, secret},
    service::secret::v3::{
        secret_discovery_service_client::SecretDiscoveryServiceClient,
        secret_discovery_service_server::SecretDiscoveryServiceServer,
    },
};
use pki::{Ca, SpiffeId};
use prost::Message as _;
use tokio::{net::UnixStream, sync::watch};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

use super::*;
use crate::identity::Material;

struct Fixture {
    client: SecretDiscoveryServiceClient<Channel>,
    publish: watch::Sender<Option<Arc<Material>>>,
    dir: tempfile::TempDir,
    metrics: Metrics,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("sds.sock");
    let listener = daemon::bind_unix(&path).expect("a socket");
    let (publish, material) = watch::channel(None);
    let metrics = Metrics::new().expect("registered");
    let service = SecretService::new(material, metrics.clone());
    tokio::spawn(
        Server::builder()
            .add_service(SecretDiscoveryServiceServer::new(service))
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );
    let connector = tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://agent").connect_with_connector_lazy(connector);
    Fixture { client: SecretDiscoveryServiceClient::new(channel), publish, dir, metrics }
}

fn issue(ca: &Ca) -> Arc<Material> {
    let spiffe = SpiffeId::new("cluster.local", "default", "a").expect("a name");
    let identity =
        ca.workload_identity(&spiffe, Duration::from_secs(60), SystemTime::now()).expect("signed");
    Arc::new(Material { identity, roots: ca.roots().to_pem() })
}

fn ca() -> Ca {
    Ca::self_signed("cluster.local", SystemTime::now()).expect("a CA")
}

fn ask(names: &[&str], nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        resource_names: names.iter().map(ToString::to_string).collect(),
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    }
}

fn content(resource: &pb::Any) -> (String, String) {
    let secret = Secret::decode(resource.value.as_slice()).expect("a secret");
    let source = match secret.r#type.expect("content") {
        secret::Type::TlsCertificate(certificate) => certificate.certificate_chain,
        secret::Type::ValidationContext(context) => context.trusted_ca,
        other => panic!("{other:?}"),
    };
    match source.and_then(|source| source.specifier).expect("a source") {
        Specifier::InlineBytes(bytes) => {
            (secret.name, String::from_utf8(bytes).expect("PEM is text"))
        }
        other => panic!("{other:?}"),
    }
}

async fn quiet<T: std::fmt::Debug>(stream: &mut Streaming<T>) {
    let more = tokio::time::timeout(Duration::from_millis(200), stream.message()).await;
    assert!(more.is_err(), "nothing more is sent: {more:?}");
}

#[tokio::test]
async fn sends_when_there_is_a_certificate_and_again_when_it_is_rotated() {
    let mut f = fixture().await;
    let (requests, stream) = mpsc::channel(4);
    requests.send(ask(&["default"], "")).await.expect("open");
    let mut answers =
        f.client.stream_secrets(ReceiverStream::new(stream)).await.expect("served").into_inner();
    quiet(&mut answers).await;
    let ca = ca();
    let first = issue(&ca);
    f.publish.send_replace(Some(Arc::clone(&first)));
    let answer = answers.message().await.expect("sent").expect("open");
    assert_eq!(content(&answer.resources[0]), ("default".into(), first.identity.chain_pem()));
    requests.send(ask(&["default"], &answer.nonce)).await.expect("open");
    quiet(&mut answers).await;
    let second = issue(&ca);
    f.publish.send_replace(Some(Arc::clone(&second)));
    let answer = answers.message().await.expect("sent").expect("open");
    assert_eq!(content(&answer.resources[0]).1, second.identity.chain_pem());
}

#[tokio::test]
async fn roots_are_pushed_only_when_they_change() {
    let mut f = fixture().await;
    let old = ca();
    f.publish.send_replace(Some(issue(&old)));
    let (requests, stream) = mpsc::channel(4);
    requests.send(ask(&["ROOTCA"], "")).await.expect("open");
    let mut answers =
        f.client.stream_secrets(ReceiverStream::new(stream)).await.expect("served").into_inner();
    let answer = answers.message().await.expect("sent").expect("open");
    assert_eq!(content(&answer.resources[0]).1, old.roots().to_pem());
    f.publish.send_replace(Some(issue(&old)));
    quiet(&mut answers).await;
    let new = ca();
    f.publish.send_replace(Some(issue(&new)));
    let answer = answers.message().await.expect("sent").expect("open");
    assert_eq!(content(&answer.resources[0]).1, new.roots().to_pem());
}

#[tokio::test]
async fn delta_subscribes_and_rejections_are_counted() {
    let mut f = fixture().await;
    f.publish.send_replace(Some(issue(&ca())));
    let (requests, stream) = mpsc::channel(4);
    let subscribe = DeltaDiscoveryRequest {
        resource_names_subscribe: vec!["default".into(), "ROOTCA".into(), "nonsense".into()],
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(subscribe).await.expect("open");
    let mut answers =
        f.client.delta_secrets(ReceiverStream::new(stream)).await.expect("served").into_inner();
    let mut names = Vec::new();
    let mut nonce = String::new();
    for _ in 0..2 {
        let answer = answers.message().await.expect("sent").expect("open");
        names.push(answer.resources[0].name.clone());
        nonce = answer.nonce;
    }
    assert_eq!(names, ["ROOTCA", "default"]);
    let reject = DeltaDiscoveryRequest {
        response_nonce: nonce,
        error_detail: Some(pb::google::rpc::Status {
            message: "bad key".into(),
            ..pb::google::rpc::Status::default()
        }),
        resource_names_unsubscribe: vec!["ROOTCA".into(), "nonsense".into()],
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(reject).await.expect("open");
    quiet(&mut answers).await;
    assert_eq!(f.metrics.secret_rejections.with_label_values(&["default"]).get(), 1);
    f.publish.send_replace(Some(issue(&ca())));
    let answer = answers.message().await.expect("sent").expect("open");
    assert_eq!(answer.resources[0].name, "default");
    quiet(&mut answers).await;
}

#[tokio::test]
async fn files_are_served_and_followed() {
    let mut f = fixture().await;
    let (chain, key) = (f.dir.path().join("c.pem"), f.dir.path().join("k.pem"));
    let write = |material: &Material| {
        std::fs::write(&key, material.identity.key().to_pem()).expect("written");
        std::fs::write(&chain, material.identity.chain_pem()).expect("written");
    };
    let ca = ca();
    let first = issue(&ca);
    write(&first);
    let name = format!("file-cert:{}~{}", chain.display(), key.display());
    let (requests, stream) = mpsc::channel(4);
    requests.send(ask(&[&name], "")).await.expect("open");
    let mut answers =
        f.client.stream_secrets(ReceiverStream::new(stream)).await.expect("served").into_inner();
    let answer = answers.message().await.expect("sent").expect("open");
    assert_eq!(content(&answer.resources[0]), (name, first.identity.chain_pem()));
    let second = issue(&ca);
    write(&second);
    let answer = tokio::time::timeout(Duration::from_secs(10), answers.message());
    let answer = answer.await.expect("in time").expect("sent").expect("open");
    assert_eq!(content(&answer.resources[0]).1, second.identity.chain_pem());
}
