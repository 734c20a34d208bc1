//! The secret discovery service that the proxy takes its certificates from, on a Unix socket
//! (Envoy's `SecretDiscoveryService`, state of the world and delta).
//!
//! A stock Envoy opens one stream for each secret. A secret that does not exist yet is sent when
//! it does; a changed one is pushed to every stream that asked for it.

mod secrets;
mod session;

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use pb::envoy::service::{
    discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    },
    secret::v3::secret_discovery_service_server::SecretDiscoveryService,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use self::{
    secrets::Secrets,
    session::{Delta, Session, StateOfTheWorld},
};
use crate::{identity::MaterialReceiver, metrics::Metrics};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves the workload's certificate, the mesh's roots, and certificates in files.
#[derive(Clone)]
pub(crate) struct SecretService {
    secrets: Arc<Secrets>,
    metrics: Metrics,
}

impl SecretService {
    /// A service that follows the material.
    pub(crate) fn new(material: MaterialReceiver, metrics: Metrics) -> Self {
        Self { secrets: Arc::new(Secrets::new(material)), metrics }
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for SecretService {
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Answers<DiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let (answers, stream) = mpsc::channel(4);
        let session = Session::<StateOfTheWorld>::new(&self.secrets, &self.metrics, answers);
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        let (answers, stream) = mpsc::channel(4);
        let session = Session::<Delta>::new(&self.secrets, &self.metrics, answers);
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("secrets are streamed: use StreamSecrets or DeltaSecrets"))
    }
}

#[cfg(test)]
mod tests;
