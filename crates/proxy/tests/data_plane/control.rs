//! A control plane (or an agent's SDS) that serves what a test tells it.

use std::{
    collections::BTreeMap,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures_util::Stream;
use pb::envoy::service::{
    discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_server::{
            AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
        },
    },
    secret::v3::secret_discovery_service_server::{
        SecretDiscoveryService, SecretDiscoveryServiceServer,
    },
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};
use xds::{
    Resource, ResourceType,
    session::{Encoded, EventKind, Protocol, Removals, Resources, Server},
};

type World = BTreeMap<ResourceType, Resources>;

/// What is served, and what clients said about it.
#[derive(Clone)]
pub(crate) struct Control {
    world: Arc<watch::Sender<World>>,
    nacks: Arc<Mutex<Vec<String>>>,
    server: Arc<Mutex<Option<tokio::task::JoinHandle<()>>>>,
    stopped: Arc<watch::Sender<u64>>,
    pushed: Arc<Mutex<Vec<String>>>,
    version: Arc<Mutex<u64>>,
}

impl Control {
    /// Serves on a Unix socket.
    pub(crate) fn start(path: &Path) -> Self {
        let control = Self {
            world: Arc::new(watch::Sender::new(World::new())),
            nacks: Arc::default(),
            server: Arc::default(),
            stopped: Arc::new(watch::Sender::new(0)),
            pushed: Arc::default(),
            version: Arc::default(),
        };
        control.restart(path);
        control
    }

    /// Ends all streams and starts anew on the same socket.
    pub(crate) fn restart(&self, path: &Path) {
        self.stop();
        let _none = std::fs::remove_file(path);
        *self.server.lock().unwrap() = Some(self.serve(path));
    }

    /// Ends all streams; nobody answers any more.
    pub(crate) fn stop(&self) {
        self.stopped.send_modify(|generation| *generation += 1);
        if let Some(server) = self.server.lock().unwrap().take() {
            server.abort();
        }
    }

    fn serve(&self, path: &Path) -> tokio::task::JoinHandle<()> {
        let listener = tokio::net::UnixListener::bind(path).expect("socket");
        let service = self.clone();
        tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(AggregatedDiscoveryServiceServer::new(service.clone()))
                .add_service(SecretDiscoveryServiceServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener))
                .await
                .expect("served");
        })
    }

    /// Serves a resource.
    pub(crate) fn put(&self, resource: Resource) {
        let mut version = self.version.lock().unwrap();
        *version += 1;
        let encoded = Encoded { version: version.to_string(), any: xds::encode(&resource) };
        self.world.send_modify(|world| {
            let of = world.entry(resource.resource_type()).or_default();
            of.insert(resource.name().to_owned(), encoded);
        });
    }

    /// Serves bytes that are no good resource.
    pub(crate) fn put_raw(&self, kind: ResourceType, name: &str, any: pb::Any) {
        let encoded = Encoded { version: "raw".to_owned(), any };
        self.world.send_modify(|world| {
            world.entry(kind).or_default().insert(name.to_owned(), encoded);
        });
    }

    /// Serves a resource no more.
    pub(crate) fn remove(&self, kind: ResourceType, name: &str) {
        self.world.send_modify(|world| {
            world.entry(kind).or_default().remove(name);
        });
    }

    /// Names of resources that were sent since this was last asked.
    pub(crate) fn take_pushed(&self) -> Vec<String> {
        std::mem::take(&mut self.pushed.lock().unwrap())
    }

    /// What clients refused.
    pub(crate) fn nacks(&self) -> Vec<String> {
        self.nacks.lock().unwrap().clone()
    }

    fn stream(
        &self,
        requests: Streaming<DeltaDiscoveryRequest>,
        only: Option<ResourceType>,
    ) -> Answers {
        let (answers, inbox) = mpsc::channel(16);
        tokio::spawn(self.clone().session(requests, answers, only));
        Box::pin(ReceiverStream::new(inbox))
    }

    async fn session(
        self,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        answers: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
        only: Option<ResourceType>,
    ) {
        let mut server = Server::new(Protocol::Delta);
        let mut world = self.world.subscribe();
        let mut stopped = self.stopped.subscribe();
        loop {
            tokio::select! {
                _ = stopped.changed() => return,
                request = requests.message() => {
                    let Ok(Some(mut request)) = request else { return };
                    if let Some(kind) = only {
                        request.type_url = kind.type_url().to_owned();
                    }
                    let event = server.on_request(request).expect("protocol");
                    if let EventKind::Nacked { detail, .. } = event.kind {
                        self.nacks.lock().unwrap().push(detail);
                    }
                }
                changed = world.changed() => {
                    if changed.is_err() { return; }
                }
            }
            let now = world.borrow_and_update().clone();
            for kind in ResourceType::ALL {
                if server.subscription(kind.type_url()).is_none() {
                    continue;
                }
                let empty = Resources::new();
                let resources = now.get(&kind).unwrap_or(&empty);
                let Some(answer) = server.push(kind.type_url(), resources, Removals::Now) else {
                    continue;
                };
                let names = answer.resources.iter().map(|resource| resource.name.clone());
                self.pushed.lock().unwrap().extend(names);
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;
type Never = Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Control {
    type StreamAggregatedResourcesStream = Never;
    type DeltaAggregatedResourcesStream = Answers;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Never>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Ok(Response::new(self.stream(request.into_inner(), None)))
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for Control {
    type StreamSecretsStream = Never;
    type DeltaSecretsStream = Answers;

    async fn stream_secrets(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Never>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Ok(Response::new(self.stream(request.into_inner(), Some(ResourceType::Secret))))
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("delta only"))
    }
}
