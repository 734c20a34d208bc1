//! The aggregated discovery service: one task a connection, which feeds a [`session::Session`] with
//! the proxy's requests and the world's changes.

pub(crate) mod generate;
pub(crate) mod patched;
pub(crate) mod registry;
pub(crate) mod session;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt as _};
use pb::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use pilot::Proxy;
use pki::SpiffeId;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Request as Call, Response as Answer, Status, Streaming};
use xds::session::Protocol;

use self::generate::Snapshot;
use self::registry::{Registered, Registry};
use self::session::{Request, Response, Session, Verdict};
use crate::authn::{Authenticator, Peer, authorize_node};
use crate::metrics::{Metrics, short_name};

/// Responses that may wait for a slow proxy before its task waits too. Few: while it waits, changes
/// are taken together, so a slow proxy is sent the newest and costs little.
const QUEUE: usize = 4;

/// How long a proxy may take to say who it is, once its stream is open.
const FIRST_REQUEST: Duration = Duration::from_secs(20);

/// How long a proxy that does not read is waited for at the end of its stream.
const FAREWELL: Duration = Duration::from_secs(1);

/// What one stream may make the control plane remember: far more than any mesh needs.
const MAX_TYPES: usize = 64;
const MAX_TEXT: usize = 32 * 1024 * 1024;

/// What all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Discovery {
    pub(crate) authenticator: Authenticator,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Incoming = Pin<Box<dyn Stream<Item = Result<Request, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type StreamAggregatedResourcesStream = Outgoing<DiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        call: Call<Streaming<DiscoveryRequest>>,
    ) -> Result<Answer<Self::StreamAggregatedResourcesStream>, Status> {
        let identity = self.identify(&call)?;
        let peer = peer_name(call.extensions());
        let incoming = call.into_inner().map(|request| request.map(Request::Sotw));
        let outgoing = self.start(Protocol::Sotw, identity, peer, Box::pin(incoming));
        let outgoing = outgoing.filter_map(|response| async {
            match response {
                Ok(Response::Sotw(response)) => Some(Ok(response)),
                Ok(Response::Delta(_)) => None,
                Err(status) => Some(Err(status)),
            }
        });
        Ok(Answer::new(Box::pin(outgoing)))
    }

    type DeltaAggregatedResourcesStream = Outgoing<DeltaDiscoveryResponse>;

    async fn delta_aggregated_resources(
        &self,
        call: Call<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Answer<Self::DeltaAggregatedResourcesStream>, Status> {
        let identity = self.identify(&call)?;
        let peer = peer_name(call.extensions());
        let incoming = call.into_inner().map(|request| request.map(Request::Delta));
        let outgoing = self.start(Protocol::Delta, identity, peer, Box::pin(incoming));
        let outgoing = outgoing.filter_map(|response| async {
            match response {
                Ok(Response::Delta(response)) => Some(Ok(response)),
                Ok(Response::Sotw(_)) => None,
                Err(status) => Some(Err(status)),
            }
        });
        Ok(Answer::new(Box::pin(outgoing)))
    }
}

fn stopping() -> Status {
    Status::unavailable("the control plane is stopping")
}

fn peer_name(extensions: &Extensions) -> String {
    let address = extensions.get::<Peer>().and_then(|peer| peer.address);
    address.map_or_else(|| "local".to_owned(), |address| address.to_string())
}

impl Discovery {
    fn identify<T>(&self, call: &Call<T>) -> Result<Option<SpiffeId>, Status> {
        self.authenticator
            .authenticate_xds(call.extensions(), call.metadata(), SystemTime::now())
            .inspect_err(|status| {
                let peer = peer_name(call.extensions());
                tracing::warn!(peer, reason = status.message(), "refused a proxy: no identity");
            })
    }

    fn start(
        &self,
        protocol: Protocol,
        identity: Option<SpiffeId>,
        peer: String,
        incoming: Incoming,
    ) -> ReceiverStream<Result<Response, Status>> {
        let (send, receive) = mpsc::channel(QUEUE);
        let mut connection =
            Connection { shared: self.clone(), incoming, outgoing: send.clone(), proxy: None };
        tokio::spawn(async move {
            let Err(status) = connection.run(protocol, identity, peer).await else { return };
            if send.send_timeout(Err(status), FAREWELL).await.is_err() {
                tracing::debug!("a proxy does not read why its stream ends");
            }
        });
        ReceiverStream::new(receive)
    }
}

struct Connection {
    shared: Discovery,
    incoming: Incoming,
    outgoing: mpsc::Sender<Result<Response, Status>>,
    /// For the log and the metrics, once the proxy has said who it is.
    proxy: Option<Connected>,
}

/// What happened to a connection.
enum Happening {
    Request(Box<Request>),
    Closed(Result<(), Status>),
    Changed(bool),
    Time,
    Stop,
}

impl Connection {
    /// Serves until either end closes.
    async fn run(
        &mut self,
        protocol: Protocol,
        identity: Option<SpiffeId>,
        peer: String,
    ) -> Result<(), Status> {
        let Some(mut first) = self.first().await? else { return Ok(()) };
        let node = first
            .take_node()
            .ok_or_else(|| Status::invalid_argument("a stream's first request needs a node"))?;
        let snapshot = self.shared.snapshots.borrow_and_update().clone();
        let proxy = Self::admit(&node, identity.as_ref(), &peer)?;
        let mut session = Session::new(protocol, proxy, snapshot, Instant::now())
            .with_identity(identity.as_ref());
        let connected = Connected::new(&self.shared, node, peer, identity);
        tracing::info!(node = connected.id(), protocol = ?protocol, "proxy connected");
        self.proxy = Some(connected);
        self.request(&mut session, first).await?;
        loop {
            match self.next(&session).await {
                Happening::Request(request) => self.request(&mut session, *request).await?,
                Happening::Changed(true) => {
                    let snapshot = self.shared.snapshots.borrow_and_update().clone();
                    let responses = session.on_snapshot(snapshot, Instant::now());
                    self.send(&session, responses).await?;
                }
                Happening::Time => {
                    let responses = session.on_time(Instant::now());
                    self.send(&session, responses).await?;
                }
                Happening::Closed(result) => return result,
                Happening::Changed(false) => return Ok(()),
                Happening::Stop => {
                    return Err(stopping());
                }
            }
        }
    }

    async fn first(&mut self) -> Result<Option<Request>, Status> {
        tokio::select! {
            () = self.shared.stop.cancelled() => Err(stopping()),
            first = tokio::time::timeout(FIRST_REQUEST, self.incoming.next()) => match first {
                Ok(first) => first.transpose(),
                Err(_) => {
                    let seconds = FIRST_REQUEST.as_secs();
                    let text = format!("no discovery request came within {seconds} s");
                    Err(Status::deadline_exceeded(text))
                }
            },
        }
    }

    async fn next(&mut self, session: &Session) -> Happening {
        let deadline = session.deadline();
        let time = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => Happening::Stop,
            () = self.outgoing.closed() => Happening::Closed(Ok(())),
            request = self.incoming.next() => match request {
                Some(Ok(request)) => Happening::Request(Box::new(request)),
                Some(Err(status)) => Happening::Closed(Err(status)),
                None => Happening::Closed(Ok(())),
            },
            changed = self.shared.snapshots.changed() => Happening::Changed(changed.is_ok()),
            () = time => Happening::Time,
        }
    }

    fn admit(node: &xds::Node, identity: Option<&SpiffeId>, peer: &str) -> Result<Proxy, Status> {
        let allowed = identity.map_or(Ok(()), |identity| authorize_node(identity, node));
        let proxy = allowed.and_then(|()| {
            Proxy::from_node(node).map_err(|error| Status::invalid_argument(error.to_string()))
        });
        proxy.inspect_err(|status| {
            tracing::warn!(peer, node = node.id, reason = status.message(), "refused a proxy");
        })
    }

    async fn request(&mut self, session: &mut Session, mut request: Request) -> Result<(), Status> {
        // Only the first one counts: a stream is one proxy's.
        drop(request.take_node());
        let (verdict, responses) = session
            .on_request(request, Instant::now())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let remembered = session.server().remembered();
        if remembered.types > MAX_TYPES || remembered.text > MAX_TEXT {
            let text = format!(
                "a stream may ask for {MAX_TYPES} types and {MAX_TEXT} bytes of names, \
                 this one asks for {} and {}",
                remembered.types, remembered.text
            );
            tracing::warn!(node = self.proxy.as_ref().map(Connected::id), text, "ended a stream");
            return Err(Status::resource_exhausted(text));
        }
        if let (Some(verdict), Some(proxy)) = (verdict, &self.proxy) {
            proxy.note(&verdict);
        }
        self.send(session, responses).await
    }

    async fn send(&mut self, session: &Session, responses: Vec<Response>) -> Result<(), Status> {
        if let Some(proxy) = &self.proxy {
            proxy.registered.entry.update(session);
        }
        for response in responses {
            if let Some(kind) = xds::ResourceType::from_type_url(response.type_url()) {
                self.shared.metrics.pushes.with_label_values(&[short_name(kind)]).inc();
                if kind == xds::ResourceType::Listener {
                    let waited = session.routed().noticed.elapsed();
                    self.shared.metrics.convergence.observe(waited.as_secs_f64());
                }
            }
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err(stopping()),
                sent = self.outgoing.send(Ok(response)) => if sent.is_err() {
                    // The proxy went away, which the next turn notices.
                    return Ok(());
                },
            }
        }
        Ok(())
    }
}

/// A proxy's entry in the registry and the metrics, for as long as it is connected.
struct Connected {
    registered: Registered,
    metrics: Metrics,
}

impl Connected {
    fn new(shared: &Discovery, node: xds::Node, peer: String, identity: Option<SpiffeId>) -> Self {
        let registered = shared.registry.add(node, peer, identity.map(|id| id.to_string()));
        Self { registered, metrics: shared.metrics.clone() }
    }

    fn id(&self) -> &str {
        &self.registered.entry.node.id
    }

    fn note(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Accepted(kind) => self.metrics.accepted(*kind, self.id()),
            Verdict::Refused(kind, detail) => {
                self.metrics.rejected(*kind, self.id());
                let kind = short_name(*kind);
                tracing::warn!(node = self.id(), kind, detail, "a proxy refused its configuration");
            }
            Verdict::Stale(kind) => {
                let kind = short_name(*kind);
                self.metrics.expired_nonce.with_label_values(&[kind]).inc();
                tracing::debug!(node = self.id(), kind, "an answer to what is not newest");
            }
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        for kind in xds::ResourceType::ALL {
            self.metrics.accepted(kind, self.id());
        }
        tracing::info!(node = self.id(), "proxy disconnected");
    }
}
