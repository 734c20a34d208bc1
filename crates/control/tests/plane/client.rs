//! xDS clients in both variants, word by word, over plaintext and TLS.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use pb::envoy::config::core::v3::Node;
use pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use pb::google::rpc::Status as ErrorDetail;
use pki::CertifiedIdentity;
use pki::tls::{ServerAuth, Versions, client_config};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use xds::ResourceType;

use super::fixture::{Fixture, with_token};

const WAIT: Duration = Duration::from_secs(10);
/// Longer than the debounce.
const QUIET: Duration = Duration::from_millis(500);

/// A sidecar of a namespace, as its agent describes it.
pub(crate) fn node(namespace: &str) -> Option<Node> {
    let text = |text: &str| prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
    };
    let fields =
        [("NAMESPACE", namespace), ("SERVICE_ACCOUNT", "reviews"), ("ISTIO_VERSION", "1.30.0")];
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), text(value))).collect();
    Some(Node {
        id: format!("sidecar~10.244.0.9~pod-1.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(prost_types::Struct { fields }),
        ..Node::default()
    })
}

pub(crate) async fn plaintext(fixture: &Fixture) -> Channel {
    let address = fixture.addresses().plaintext;
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// A channel over TLS that knows the control plane by its name, as an agent's.
pub(crate) async fn secure(
    fixture: &Fixture,
    identity: Option<&CertifiedIdentity>,
) -> Result<Channel, tonic::transport::Error> {
    let server = ServerAuth::WebPki(fixture.trust());
    let config =
        client_config(identity, server, vec![b"h2".to_vec()], Versions::default()).unwrap();
    let address = fixture.addresses().tls;
    let connector = tower::service_fn(move |_: http::Uri| {
        let connector = TlsConnector::from(config.clone());
        async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let name = "istiod.istio-system.svc".try_into().unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    Endpoint::from_static("http://istiod.istio-system.svc").connect_with_connector(connector).await
}

pub(crate) struct DeltaStream {
    node: Option<Node>,
    send: mpsc::Sender<DeltaDiscoveryRequest>,
    receive: Streaming<DeltaDiscoveryResponse>,
}

impl DeltaStream {
    pub(crate) async fn open(channel: Channel, node: Option<Node>) -> Self {
        Self::open_with(channel, node, None).await
    }

    pub(crate) async fn open_with(
        channel: Channel,
        node: Option<Node>,
        token: Option<&str>,
    ) -> Self {
        Self::try_open(channel, node, token).await.unwrap()
    }

    async fn try_open(
        channel: Channel,
        node: Option<Node>,
        token: Option<&str>,
    ) -> Result<Self, Status> {
        let (send, requests) = mpsc::channel(16);
        let requests = ReceiverStream::new(requests);
        let call = match token {
            Some(token) => with_token(requests, token),
            None => tonic::Request::new(requests),
        };
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let receive = client.delta_aggregated_resources(call).await?.into_inner();
        Ok(Self { node, send, receive })
    }

    /// Opens a stream, asks for clusters, and tells why the control plane ended it.
    pub(crate) async fn refused(
        channel: Channel,
        node: Option<Node>,
        token: Option<&str>,
    ) -> Status {
        match Self::try_open(channel, node, token).await {
            Err(status) => status,
            Ok(mut stream) => {
                stream.subscribe(ResourceType::Cluster, &[]).await;
                stream.end().await
            }
        }
    }

    async fn send(&mut self, mut request: DeltaDiscoveryRequest) {
        request.node = self.node.take();
        self.send.send(request).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, kind: ResourceType, names: &[&str]) {
        self.subscribe_url(kind.type_url(), names).await;
    }

    pub(crate) async fn subscribe_url(&mut self, type_url: &str, names: &[&str]) {
        self.send(DeltaDiscoveryRequest {
            type_url: type_url.into(),
            resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    /// Subscribes with what is there from an earlier stream.
    pub(crate) async fn resume(&mut self, kind: ResourceType, versions: Vec<(String, String)>) {
        self.send(DeltaDiscoveryRequest {
            type_url: kind.type_url().into(),
            initial_resource_versions: versions.into_iter().collect(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn ack(&mut self, response: &DeltaDiscoveryResponse) {
        self.answer(response, None).await;
    }

    pub(crate) async fn nack(&mut self, response: &DeltaDiscoveryResponse, detail: &str) {
        self.answer(response, Some(detail)).await;
    }

    async fn answer(&mut self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        let error_detail = error.map(|message| ErrorDetail {
            code: 3,
            message: message.into(),
            ..ErrorDetail::default()
        });
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn next(&mut self) -> DeltaDiscoveryResponse {
        tokio::time::timeout(WAIT, self.receive.message()).await.unwrap().unwrap().unwrap()
    }

    /// The next response, which must be of this type.
    pub(crate) async fn expect(&mut self, kind: ResourceType) -> DeltaDiscoveryResponse {
        let response = self.next().await;
        assert_eq!(response.type_url, kind.type_url());
        response
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn quiet(&mut self) -> bool {
        tokio::time::timeout(QUIET, self.receive.message()).await.is_err()
    }

    /// Reads until the end and tells why it ended.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match tokio::time::timeout(WAIT, self.receive.message()).await.unwrap() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a reason"),
                Err(status) => return status,
            }
        }
    }
}

pub(crate) struct SotwStream {
    node: Option<Node>,
    send: mpsc::Sender<DiscoveryRequest>,
    receive: Streaming<DiscoveryResponse>,
}

impl SotwStream {
    pub(crate) async fn open(channel: Channel, node: Option<Node>) -> Self {
        let (send, requests) = mpsc::channel(16);
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let requests = ReceiverStream::new(requests);
        let receive = client.stream_aggregated_resources(requests).await.unwrap().into_inner();
        Self { node, send, receive }
    }

    pub(crate) async fn request(&mut self, kind: ResourceType, names: &[&str]) {
        let request = DiscoveryRequest {
            type_url: kind.type_url().into(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            node: self.node.take(),
            ..DiscoveryRequest::default()
        };
        self.send.send(request).await.unwrap();
    }

    pub(crate) async fn answer(
        &mut self,
        response: &DiscoveryResponse,
        names: &[&str],
        error: Option<&str>,
    ) {
        let error_detail = error.map(|message| ErrorDetail {
            code: 3,
            message: message.into(),
            ..ErrorDetail::default()
        });
        let request = DiscoveryRequest {
            type_url: response.type_url.clone(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            response_nonce: response.nonce.clone(),
            version_info: response.version_info.clone(),
            error_detail,
            ..DiscoveryRequest::default()
        };
        self.send.send(request).await.unwrap();
    }

    pub(crate) async fn expect(&mut self, kind: ResourceType) -> DiscoveryResponse {
        let message = tokio::time::timeout(WAIT, self.receive.message()).await;
        let response = message.unwrap().unwrap().unwrap();
        assert_eq!(response.type_url, kind.type_url());
        response
    }
}
