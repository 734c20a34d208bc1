//! The relay between a proxy's client and an in-process control plane, over real sockets.

use std::{net::SocketAddr, time::SystemTime};

use hyper_util::rt::TokioIo;
use pb::{
    Any,
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            Resource, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            aggregated_discovery_service_server::AggregatedDiscoveryServiceServer,
        },
    },
    istio::networking::nds::v1::name_table::NameInfo,
};
use pki::{Ca, tls};
use tokio::{
    net::{TcpListener, UnixStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint, Server},
};

use super::*;

const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// A control plane that answers each delta request and notes what it saw.
#[derive(Clone)]
struct Control {
    seen: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    tokens: mpsc::UnboundedSender<String>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Control {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        // As gRPC's Go server: the stream is accepted with its first answer, not before.
        let mut requests = request.into_inner();
        let mut next = requests.message().await?;
        let (answers, stream) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Some(request) = next {
                if request.response_nonce.is_empty() {
                    let response = DiscoveryResponse {
                        resources: vec![resource(&request.type_url)],
                        type_url: request.type_url,
                        nonce: "n".into(),
                        ..DiscoveryResponse::default()
                    };
                    let _ = answers.send(Ok(response)).await;
                }
                next = requests.message().await.ok().flatten();
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let token = request.metadata().get("authorization").expect("a token");
        let _ = self.tokens.send(token.to_str().expect("text").to_owned());
        let mut requests = request.into_inner();
        let (answers, stream) = mpsc::channel(4);
        let seen = self.seen.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if request.response_nonce.is_empty() {
                    let one = Resource {
                        resource: Some(resource(&request.type_url)),
                        ..Resource::default()
                    };
                    let response = DeltaDiscoveryResponse {
                        resources: vec![one],
                        type_url: request.type_url.clone(),
                        nonce: format!("nonce of {}", request.type_url),
                        ..DeltaDiscoveryResponse::default()
                    };
                    let _ = answers.send(Ok(response)).await;
                }
                let _ = seen.send(request);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Bytes that decode as no message of ours must pass; a name table must be one.
fn resource(type_url: &str) -> Any {
    let value = if type_url == NameTable::type_url() {
        let info = NameInfo { ips: vec!["10.96.0.1".into()], ..NameInfo::default() };
        NameTable { table: [("a.b.svc.cluster.local".to_owned(), info)].into() }.encode_to_vec()
    } else {
        vec![0xff, 0, 0xfe, 7]
    };
    Any { type_url: type_url.to_owned(), value }
}

struct Fixture {
    dir: tempfile::TempDir,
    ca: Ca,
    address: SocketAddr,
    client: AggregatedDiscoveryServiceClient<Channel>,
    names: mpsc::UnboundedReceiver<NameTable>,
    metrics: Metrics,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = Ca::self_signed("cluster.local", SystemTime::now()).expect("a CA");
    let (root, token) = (dir.path().join("root.pem"), dir.path().join("token"));
    std::fs::write(&root, ca.roots().to_pem()).expect("written");
    std::fs::write(&token, "first\n").expect("written");
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("an address")
    };
    let discovery = Discovery {
        address: address.to_string(),
        server_name: "istiod.istio-system.svc".into(),
        root_cert: Some(root),
        token: Some(token),
        client_cert_dir: None,
        cluster_id: "Kubernetes".into(),
        socket_mark: None,
    };
    let (sender, names) = mpsc::unbounded_channel();
    let metrics = Metrics::new().expect("registered");
    let on_names: OnNames = Arc::new(move |table| drop(sender.send(table)));
    let relay = Relay::new(discovery, metrics.clone(), on_names);
    let path = dir.path().join("xds.sock");
    let listener = daemon::bind_unix(&path).expect("a socket");
    tokio::spawn(
        Server::builder()
            .add_service(AggregatedDiscoveryServiceServer::new(relay))
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );
    let connector = tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://agent").connect_with_connector_lazy(connector);
    let client = AggregatedDiscoveryServiceClient::new(channel);
    Fixture { dir, ca, address, client, names, metrics }
}

struct Running {
    task: JoinHandle<()>,
    seen: mpsc::UnboundedReceiver<DeltaDiscoveryRequest>,
    tokens: mpsc::UnboundedReceiver<String>,
}

/// Starts a control plane at the fixture's address, with a certificate for these names.
async fn control(f: &Fixture, names: &[&str]) -> Running {
    let (seen, seen_receiver) = mpsc::unbounded_channel();
    let (tokens, tokens_receiver) = mpsc::unbounded_channel();
    let identity =
        f.ca.server_identity(names, Duration::from_secs(600), SystemTime::now()).expect("signed");
    let config = tls::server_config(
        &identity,
        tls::ClientAuth::None,
        vec![b"h2".to_vec()],
        tls::Versions::default(),
    )
    .expect("a configuration");
    let acceptor = TlsAcceptor::from(config);
    let listener = TcpListener::bind(f.address).await.expect("the port is free");
    let (connections, incoming) = mpsc::channel::<std::io::Result<tokio::io::DuplexStream>>(4);
    // tonic's connections outlive the server's future; these copies end with the task.
    let accept = async move {
        let mut copies = tokio::task::JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await.expect("accepted");
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                let (inner, mut outer) = tokio::io::duplex(64 * 1024);
                copies.spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut outer).await;
                });
                let _ = connections.send(Ok(inner)).await;
            }
        }
    };
    let serve = Server::builder()
        .add_service(AggregatedDiscoveryServiceServer::new(Control { seen, tokens }))
        .serve_with_incoming(ReceiverStream::new(incoming));
    let task = tokio::spawn(async move {
        tokio::select! {
            () = accept => {}
            served = serve => served.expect("served"),
        }
    });
    Running { task, seen: seen_receiver, tokens: tokens_receiver }
}

const ISTIOD: &[&str] = &["istiod.istio-system.svc"];

fn first() -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node {
            id: "sidecar~1.2.3.4~a.b~b.svc.cluster.local".into(),
            ..Node::default()
        }),
        type_url: CDS.into(),
        ..DeltaDiscoveryRequest::default()
    }
}

async fn open(
    f: &mut Fixture,
) -> Result<(mpsc::Sender<DeltaDiscoveryRequest>, Streaming<DeltaDiscoveryResponse>), Status> {
    let (requests, stream) = mpsc::channel(4);
    requests.send(first()).await.expect("open");
    let answers = f.client.delta_aggregated_resources(ReceiverStream::new(stream)).await?;
    Ok((requests, answers.into_inner()))
}

#[tokio::test]
async fn passes_bytes_untouched_and_keeps_the_name_table() {
    let mut f = fixture().await;
    let mut control = control(&f, ISTIOD).await;
    let (_requests, mut answers) = open(&mut f).await.expect("connected");
    let answer = answers.message().await.expect("sent").expect("open");
    assert_eq!(answer.type_url, CDS);
    assert_eq!(
        answer.resources[0].resource.as_ref().expect("a resource").value,
        [0xff, 0, 0xfe, 7]
    );
    let names = f.names.recv().await.expect("a table");
    assert_eq!(names.table["a.b.svc.cluster.local"].ips, ["10.96.0.1"]);
    assert_eq!(control.tokens.recv().await.as_deref(), Some("Bearer first"));
    let seen = control.seen.recv().await.expect("the proxy's request");
    assert_eq!(seen, first());
    let subscribed = control.seen.recv().await.expect("the agent's request");
    assert_eq!(subscribed.type_url, NameTable::type_url());
    let acknowledged = control.seen.recv().await.expect("the agent's answer");
    assert_eq!(acknowledged.response_nonce, format!("nonce of {}", NameTable::type_url()));
    assert_eq!(acknowledged.error_detail, None);
}

#[tokio::test]
async fn state_of_the_world_passes_too() {
    let mut f = fixture().await;
    let _control = control(&f, ISTIOD).await;
    let (requests, stream) = mpsc::channel(4);
    let request = DiscoveryRequest { type_url: CDS.into(), ..DiscoveryRequest::default() };
    requests.send(request).await.expect("open");
    let answers = f.client.stream_aggregated_resources(ReceiverStream::new(stream)).await;
    let answer = answers.expect("connected").into_inner().message().await.expect("sent");
    assert_eq!(answer.expect("open").resources, [resource(CDS)]);
    f.names.recv().await.expect("a table");
}

#[tokio::test]
async fn upstream_death_ends_the_downstream_and_a_new_stream_works() {
    let mut f = fixture().await;
    assert_eq!(open(&mut f).await.expect_err("nobody is there").code(), Code::Unavailable);
    let running = control(&f, ISTIOD).await;
    let (_requests, mut answers) = open(&mut f).await.expect("connected");
    answers.message().await.expect("sent").expect("open");
    running.task.abort();
    let ended = tokio::time::timeout(Duration::from_secs(5), answers.message()).await;
    assert_eq!(ended.expect("in time").expect_err("an error").code(), Code::Unavailable);
    assert_eq!(f.metrics.upstream_terminations.get(), 1);
    assert_eq!(f.metrics.upstream_failures.get(), 1);
    std::fs::write(f.dir.path().join("token"), "second").expect("written");
    let mut running = control(&f, ISTIOD).await;
    let (_requests, mut answers) = open(&mut f).await.expect("connected again");
    answers.message().await.expect("sent").expect("open");
    assert_eq!(running.tokens.recv().await.as_deref(), Some("Bearer second"));
}

#[tokio::test]
async fn a_new_downstream_ends_the_old() {
    let mut f = fixture().await;
    let _control = control(&f, ISTIOD).await;
    let (_old_requests, mut old) = open(&mut f).await.expect("connected");
    old.message().await.expect("sent").expect("open");
    let (_requests, mut new) = open(&mut f).await.expect("connected");
    let ended = tokio::time::timeout(Duration::from_secs(5), old.message()).await;
    assert_eq!(ended.expect("in time").expect_err("an error").code(), Code::Unavailable);
    new.message().await.expect("sent").expect("open");
}

#[tokio::test]
async fn a_server_with_another_name_is_not_trusted() {
    let mut f = fixture().await;
    let _control = control(&f, &["someone-else.default.svc"]).await;
    let refused = open(&mut f).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("not valid for name"), "{refused}");
}
