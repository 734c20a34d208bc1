//! The xDS relay: the proxy's aggregated discovery stream comes in on a Unix socket and goes out
//! to the control plane with TLS and the workload's token, one upstream stream for each.
//!
//! Resources pass untouched. The agent adds one subscription of its own, the name table for DNS,
//! and keeps its answers. When either side fails both are closed: the proxy connects again, and
//! keeps its last good configuration meanwhile.

mod exchange;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{Stream, future::BoxFuture};
use pb::{
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_server::AggregatedDiscoveryService,
    },
    istio::networking::nds::v1::NameTable,
};
use prost::{Message as _, Name as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use self::exchange::{Delta, Exchange, StateOfTheWorld};
use crate::{
    discovery::{Discovery, status_text},
    metrics::Metrics,
};

/// How long connecting to the control plane may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a proxy that does not read is waited for at the end of its stream.
const FAREWELL: Duration = Duration::from_secs(1);
/// How many messages may wait in each direction.
const BACKLOG: usize = 16;

/// Called with each name table that arrives.
pub(crate) type OnNames = Arc<dyn Fn(NameTable) + Send + Sync>;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The relay's service for the proxy.
#[derive(Clone)]
pub(crate) struct Relay {
    discovery: Discovery,
    metrics: Metrics,
    on_names: OnNames,
    /// Ends the stream that is open now: there is one at a time, and a new one ends the old.
    current: Arc<Mutex<CancellationToken>>,
}

impl Relay {
    pub(crate) fn new(discovery: Discovery, metrics: Metrics, on_names: OnNames) -> Self {
        Self { discovery, metrics, on_names, current: Arc::default() }
    }

    async fn open<E: Exchange>(
        &self,
        downstream: Streaming<E::Request>,
    ) -> Result<Response<Answers<E::Response>>, Status> {
        let cancelled = self.take_over();
        let channel = match tokio::time::timeout(OPEN_TIMEOUT, self.discovery.channel()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(self.refused(error.to_string())),
            Err(_) => {
                let (address, seconds) = (&self.discovery.address, OPEN_TIMEOUT.as_secs());
                let why = format!("control plane {address}: no connection within {seconds} s");
                return Err(self.refused(why));
            }
        };
        let (to_upstream, requests) = mpsc::channel(BACKLOG);
        let mut request = Request::new(ReceiverStream::new(requests));
        self.discovery.authorize(&mut request).map_err(|error| self.refused(error.to_string()))?;
        let (to_downstream, answers) = mpsc::channel(BACKLOG);
        let link = Link::<E> {
            control_plane: self.discovery.address.clone(),
            to_upstream,
            to_downstream,
            metrics: self.metrics.clone(),
            on_names: Arc::clone(&self.on_names),
        };
        tokio::spawn(link.run(downstream, E::open(channel, request), cancelled));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    fn refused(&self, why: String) -> Status {
        self.metrics.upstream_failures.inc();
        tracing::warn!(why, "xDS not connected");
        Status::unavailable(why)
    }

    /// Ends the stream before this one.
    fn take_over(&self) -> CancellationToken {
        let mine = CancellationToken::new();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, mine.clone()).cancel();
        mine
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Relay {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.open::<StateOfTheWorld>(request.into_inner()).await
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.open::<Delta>(request.into_inner()).await
    }
}

/// One pair of streams.
struct Link<E: Exchange> {
    control_plane: String,
    to_upstream: mpsc::Sender<E::Request>,
    to_downstream: mpsc::Sender<Result<E::Response, Status>>,
    metrics: Metrics,
    on_names: OnNames,
}

impl<E: Exchange> Link<E> {
    /// Passes messages until either side ends; then both end.
    async fn run(
        self,
        downstream: Streaming<E::Request>,
        upstream: Opening<'static, E::Response>,
        cancelled: CancellationToken,
    ) {
        let outcome = tokio::select! {
            () = self.pass_requests(downstream) => {
                self.metrics.downstream_terminations.inc();
                tracing::info!("xDS: the proxy ended its stream");
                return;
            }
            status = self.pass_responses(upstream) => {
                self.metrics.upstream_terminations.inc();
                tracing::warn!(why = status_text(&status), "xDS: the control plane ended the stream");
                status
            }
            () = cancelled.cancelled() => Status::aborted("the proxy opened another stream"),
        };
        // The proxy must connect again whatever the control plane's reason was.
        let why = format!("control plane: {}", outcome.message());
        let status = Err(Status::unavailable(why));
        if self.to_downstream.send_timeout(status, FAREWELL).await.is_err() {
            tracing::debug!("the proxy does not read why its stream ends");
        }
    }

    async fn pass_requests(&self, mut downstream: Streaming<E::Request>) {
        let mut first = true;
        loop {
            let request = match downstream.message().await {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(status) => {
                    tracing::debug!(%status, "xDS: the proxy's stream broke");
                    return;
                }
            };
            self.metrics.relayed_requests.inc();
            if self.to_upstream.send(request).await.is_err() {
                // The upstream half reports why.
                return std::future::pending().await;
            }
            // The first request carries the node, which ours need not repeat.
            if first {
                first = false;
                if self.to_upstream.send(E::subscribe(NameTable::type_url())).await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Opening is part of this: a control plane may say nothing, not even that it accepts the
    /// stream, before it has a request to answer.
    async fn pass_responses(&self, upstream: Opening<'static, E::Response>) -> Status {
        let mut upstream = match upstream.await {
            Ok(upstream) => upstream,
            Err(status) => return status,
        };
        tracing::info!(control_plane = self.control_plane, form = E::NAME, "xDS connected");
        loop {
            let response = match upstream.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return Status::unavailable("the stream ended"),
                Err(status) => return status,
            };
            if E::type_url(&response) == NameTable::type_url() {
                if self.to_upstream.send(self.take_names(&response)).await.is_err() {
                    tracing::debug!("the control plane takes no answers any more");
                }
                continue;
            }
            self.metrics.relayed_responses.inc();
            if self.to_downstream.send(Ok(response)).await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Hands the names on; what it returns says so, or why not.
    fn take_names(&self, response: &E::Response) -> E::Request {
        let mut rejection = None;
        for resource in E::resources(response) {
            match NameTable::decode(resource.value.as_slice()) {
                Ok(names) => (self.on_names)(names),
                Err(error) => rejection = Some(format!("name table: {error}")),
            }
        }
        if let Some(why) = &rejection {
            tracing::warn!(why, "the control plane's name table is unusable; the last one stays");
        }
        E::answer(response, rejection)
    }
}

/// A boxed future, so that the trait of the two forms stays simple.
type Opening<'a, T> = BoxFuture<'a, Result<Streaming<T>, Status>>;

#[cfg(test)]
mod tests;
