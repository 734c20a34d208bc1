//! A control plane for tests: fixed resources over delta ADS, certificates from a real CA, with
//! TLS as the real one has. It notes what proxies reject.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures_util::Stream;
use pb::{
    Any,
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        Resource,
        aggregated_discovery_service_server::{
            AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
        },
    },
    istio::v1::auth::{
        IstioCertificateRequest, IstioCertificateResponse,
        istio_certificate_service_server::{
            IstioCertificateService, IstioCertificateServiceServer,
        },
    },
};
use pki::{Ca, SpiffeId, tls};
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What it serves and what it saw.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) ca: Arc<Ca>,
    resources: Arc<Vec<(String, Any)>>,
    pub(crate) rejections: Arc<Mutex<Vec<String>>>,
}

/// A resource in protobuf's JSON, with its full message name.
pub(crate) fn resource(message: &str, name: &str, json: &Value) -> (String, Any) {
    let descriptor = pb::descriptors().get_message_by_name(message).expect("a known message");
    let message = DynamicMessage::deserialize(descriptor, json).expect("its JSON");
    let type_url = format!("type.googleapis.com/{}", message.descriptor().full_name());
    (name.to_owned(), Any { type_url, value: message.encode_to_vec() })
}

impl Control {
    pub(crate) fn new(resources: Vec<(String, Any)>) -> Self {
        let ca = Ca::self_signed("cluster.local", SystemTime::now()).expect("a CA");
        Self { ca: Arc::new(ca), resources: Arc::new(resources), rejections: Arc::default() }
    }

    /// Serves on an address until the runtime ends.
    pub(crate) async fn serve(self, address: SocketAddr) {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let identity = self
            .ca
            .server_identity(
                &["istiod.istio-system.svc"],
                Duration::from_secs(600),
                SystemTime::now(),
            )
            .expect("signed");
        let alpn = vec![b"h2".to_vec()];
        let versions = tls::Versions::default();
        let config = tls::server_config(&identity, tls::ClientAuth::None, alpn, versions);
        let acceptor = TlsAcceptor::from(config.expect("a configuration"));
        let (connections, incoming) = mpsc::channel::<std::io::Result<_>>(4);
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.expect("accepted");
                let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                // tonic knows no TLS stream of ours as a connection.
                let (inner, mut outer) = tokio::io::duplex(64 * 1024);
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut outer).await;
                });
                let _ = connections.send(Ok(inner)).await;
            }
        });
        Server::builder()
            .add_service(AggregatedDiscoveryServiceServer::new(self.clone()))
            .add_service(IstioCertificateServiceServer::new(self))
            .serve_with_incoming(ReceiverStream::new(incoming))
            .await
            .expect("served");
    }

    fn response(&self, type_url: &str) -> DeltaDiscoveryResponse {
        let resources = self
            .resources
            .iter()
            .filter(|(_, any)| any.type_url == type_url)
            .map(|(name, any)| Resource {
                name: name.clone(),
                version: "1".into(),
                resource: Some(any.clone()),
                ..Resource::default()
            })
            .collect();
        DeltaDiscoveryResponse {
            system_version_info: "1".into(),
            resources,
            type_url: type_url.to_owned(),
            nonce: "n".into(),
            ..DeltaDiscoveryResponse::default()
        }
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Control {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let mut requests = request.into_inner();
        let (answers, stream) = mpsc::channel(4);
        let control = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if let Some(error) = request.error_detail {
                    control.rejections.lock().expect("not poisoned").push(error.message);
                } else if request.response_nonce.is_empty() {
                    let _ = answers.send(Ok(control.response(&request.type_url))).await;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Control {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let request = request.into_inner();
        let identity = SpiffeId::new("cluster.local", "shop", "cart").expect("a name");
        let cert_chain = self
            .ca
            .sign(&request.csr, &identity, request.validity_duration, SystemTime::now())
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(IstioCertificateResponse { cert_chain }))
    }
}
