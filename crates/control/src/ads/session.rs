//! One proxy's session: which resources it is sent, in which order, and when old ones go.
//!
//! Sans-IO; the time is passed in. Make before break, over all types:
//!
//! 1. *Warming*: new and changed clusters, their endpoints and the name table are sent; nothing is
//!    removed. Listeners and routes stay those of the snapshot before.
//! 2. *Switching*: when the proxy has accepted all clusters and has endpoints for each, listeners
//!    and routes of the new snapshot are sent.
//! 3. *Settled*: when it has accepted those too, clusters and endpoints that nothing refers to any
//!    more are removed. A proxy that refused the listeners or routes still runs the old ones, so
//!    their clusters stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use pilot::Proxy;
use pki::SpiffeId;
use tokio::time::Instant;
use xds::ResourceType::{
    self, Cluster, Listener, LoadAssignment, NameTable, RouteConfiguration, Secret,
};
use xds::session::{
    EventKind, Protocol, ProtocolError, Removals, Resources, Server, ServerEvent, Subscription,
};

use super::generate::Snapshot;

/// How long listeners and routes wait for clusters that do not come up (a refused cluster, a proxy
/// that never asks for endpoints).
pub(crate) const WARMING_LIMIT: Duration = Duration::from_secs(2);

/// A request in either variant of the protocol.
#[derive(Debug)]
pub(crate) enum Request {
    Sotw(DiscoveryRequest),
    Delta(DeltaDiscoveryRequest),
}

impl Request {
    /// Takes the proxy's description out; only a stream's first request needs one.
    pub(crate) fn take_node(&mut self) -> Option<xds::Node> {
        let node = match self {
            Self::Sotw(request) => request.node.take(),
            Self::Delta(request) => request.node.take(),
        };
        node.map(xds::Node::from_proto)
    }
}

/// A response in either variant of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Response {
    Sotw(DiscoveryResponse),
    Delta(DeltaDiscoveryResponse),
}

impl Response {
    pub(crate) fn type_url(&self) -> &str {
        match self {
            Self::Sotw(response) => &response.type_url,
            Self::Delta(response) => &response.type_url,
        }
    }
}

/// What a proxy said of a response, for the log and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted(ResourceType),
    Refused(ResourceType, String),
    Stale(ResourceType),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Warming { since: Instant },
    Switching,
    Settled,
}

/// One proxy's session.
#[derive(Debug)]
pub(crate) struct Session {
    server: Server,
    proxy: Proxy,
    /// The namespace that the proxy has proved to be of; its Secrets are served to it.
    proven_namespace: Option<String>,
    /// What clusters, endpoints and names are made from.
    latest: Arc<Snapshot>,
    /// What listeners and routes are made from: `latest`, or the one before while warming.
    routed: Arc<Snapshot>,
    phase: Phase,
    /// Names whose endpoints the proxy needs for the clusters of `latest`.
    endpoints: BTreeSet<String>,
    /// Names of the routes that the listeners of `routed` refer to.
    routes: Vec<String>,
    /// Listeners and routes that were asked for while warming.
    deferred: bool,
    /// What was made of `latest` (listeners and routes: of `routed`), and for which names, so that
    /// nothing is made twice of one snapshot.
    made: BTreeMap<ResourceType, (Subscription, Arc<Resources>)>,
    /// What the proxy was sent, by type.
    sent: BTreeMap<ResourceType, Arc<Resources>>,
}

impl Session {
    pub(crate) fn new(
        protocol: Protocol,
        proxy: Proxy,
        snapshot: Arc<Snapshot>,
        now: Instant,
    ) -> Self {
        Self {
            server: Server::new(protocol),
            endpoints: BTreeSet::new(),
            proxy,
            proven_namespace: None,
            routes: Vec::new(),
            routed: Arc::clone(&snapshot),
            latest: snapshot,
            phase: Phase::Warming { since: now },
            deferred: false,
            made: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Serves the Secrets of the namespace of an identity. Without one none is served: what a proxy
    /// says of itself is no proof.
    pub(crate) fn with_identity(mut self, identity: Option<&SpiffeId>) -> Self {
        self.proven_namespace = identity.map(|identity| identity.namespace().to_owned());
        self
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// What the proxy was sent of each type, the newest.
    pub(crate) fn sent(&self) -> &BTreeMap<ResourceType, Arc<Resources>> {
        &self.sent
    }

    /// The snapshot that all listeners and routes were made from.
    pub(crate) fn routed(&self) -> &Arc<Snapshot> {
        &self.routed
    }

    /// Takes a request. Answers what it said of an earlier response, and what to send.
    ///
    /// # Errors
    /// When the request breaks the protocol.
    pub(crate) fn on_request(
        &mut self,
        request: Request,
        now: Instant,
    ) -> Result<(Option<Verdict>, Vec<Response>), ProtocolError> {
        let event = match request {
            Request::Sotw(request) => self.server.on_sotw_request(request)?,
            Request::Delta(request) => self.server.on_request(request)?,
        };
        let mut responses = Vec::new();
        if event.change.first && event.type_url == Cluster.type_url() {
            // A proxy that comes back may have clusters of an earlier stream: as after a change.
            self.phase = Phase::Warming { since: now };
        }
        match ResourceType::from_type_url(&event.type_url) {
            Some(kind) if event.wants_push() => self.asked(kind, &mut responses),
            Some(_) => {}
            None if event.wants_push() => self.unknown(&event.type_url, &mut responses),
            None => {}
        }
        self.advance(now, &mut responses);
        Ok((verdict(&event), responses))
    }

    /// Takes a new snapshot.
    pub(crate) fn on_snapshot(&mut self, snapshot: Arc<Snapshot>, now: Instant) -> Vec<Response> {
        self.latest = snapshot;
        self.made.retain(|kind, _| matches!(kind, Listener | RouteConfiguration));
        if !matches!(self.phase, Phase::Warming { .. }) {
            self.phase = Phase::Warming { since: now };
        }
        let mut responses = Vec::new();
        for kind in [Secret, Cluster, LoadAssignment, NameTable] {
            self.push(kind, &mut responses);
        }
        self.advance(now, &mut responses);
        responses
    }

    /// Looks at the clock.
    pub(crate) fn on_time(&mut self, now: Instant) -> Vec<Response> {
        let mut responses = Vec::new();
        self.advance(now, &mut responses);
        responses
    }

    /// When [`Session::on_time`] should be called, if nothing else happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Warming { since } => Some(since + WARMING_LIMIT),
            Phase::Switching | Phase::Settled => None,
        }
    }

    /// A client waits for a type. Listeners and routes wait for clusters.
    fn asked(&mut self, kind: ResourceType, responses: &mut Vec<Response>) {
        match kind {
            Listener | RouteConfiguration if self.is_warming() => self.deferred = true,
            _ => self.push(kind, responses),
        }
    }

    fn is_warming(&self) -> bool {
        matches!(self.phase, Phase::Warming { .. })
    }

    fn advance(&mut self, now: Instant, responses: &mut Vec<Response>) {
        if let Phase::Warming { since } = self.phase {
            let late = now >= since + WARMING_LIMIT;
            if !late && !self.warm() {
                return;
            }
            self.routed = Arc::clone(&self.latest);
            self.made.retain(|kind, _| !matches!(kind, Listener | RouteConfiguration));
            self.routes = self.latest.context.route_names(&self.proxy);
            self.deferred = false;
            self.phase = Phase::Switching;
            self.push(Listener, responses);
            self.push(RouteConfiguration, responses);
        }
        if self.phase == Phase::Switching && self.switched() {
            self.phase = Phase::Settled;
            self.push(Cluster, responses);
            self.push(LoadAssignment, responses);
        }
    }

    /// Whether the proxy has all clusters with their endpoints.
    fn warm(&self) -> bool {
        if self.server.subscription(Cluster.type_url()).is_none() {
            // It asked for other types only, or not for clusters yet. Nothing was asked that has
            // to wait, or there is nothing to wait for.
            return self.deferred;
        }
        let known = self.server.known(LoadAssignment.type_url());
        self.answered(Cluster)
            && self.answered(LoadAssignment)
            && self.endpoints.iter().all(|name| known.contains_key(name))
    }

    /// Whether the proxy runs the listeners and routes of the newest snapshot. Types that it never
    /// asked for do not count, unless it has clusters from an earlier stream and will still ask.
    fn switched(&self) -> bool {
        let asked = |kind: ResourceType| self.server.subscription(kind.type_url()).is_some();
        if !asked(Listener) {
            return false;
        }
        let routes = self.server.known(RouteConfiguration.type_url());
        self.accepted(Listener)
            && self.accepted(RouteConfiguration)
            && self.routes.iter().all(|name| routes.contains_key(name))
    }

    /// Whether nothing of a type waits for an answer.
    fn answered(&self, kind: ResourceType) -> bool {
        let url = kind.type_url();
        let sent = self.server.sent(url);
        sent == self.server.acked(url) || sent == self.server.nacked(url).map(|(sent, _)| sent)
    }

    /// Whether the newest of a type was accepted (or there was none).
    fn accepted(&self, kind: ResourceType) -> bool {
        let url = kind.type_url();
        self.server.nacked(url).is_none() && self.server.sent(url) == self.server.acked(url)
    }

    /// Sends what the proxy lacks of a type.
    fn push(&mut self, kind: ResourceType, responses: &mut Vec<Response>) {
        let Some(subscription) = self.server.subscription(kind.type_url()) else { return };
        let mut resources = match self.made.get(&kind) {
            Some((wanted, made)) if wanted == subscription => Arc::clone(made),
            _ => {
                let made = Arc::new(match kind {
                    Cluster => {
                        let (clusters, endpoints) = self.latest.clusters(&self.proxy);
                        self.endpoints = endpoints;
                        clusters
                    }
                    Listener | RouteConfiguration => {
                        self.routed.resources(&self.proxy, kind, subscription)
                    }
                    Secret => self.latest.secrets(self.proven_namespace.as_deref(), subscription),
                    _ => self.latest.resources(&self.proxy, kind, subscription),
                });
                self.made.insert(kind, (subscription.clone(), Arc::clone(&made)));
                made
            }
        };
        let keeps = matches!(kind, Cluster | LoadAssignment) && self.phase != Phase::Settled;
        if keeps && let Some(before) = self.sent.get(&kind) {
            let missing = |name: &String| subscription.wants(name) && !resources.contains_key(name);
            let kept = before.iter().filter(|(name, _)| missing(name));
            let kept: Vec<_> = kept.map(|(name, kept)| (name.clone(), kept.clone())).collect();
            if !kept.is_empty() {
                Arc::make_mut(&mut resources).extend(kept);
            }
        }
        // Removals of what an earlier stream sent wait too.
        let removals = if keeps { Removals::Later } else { Removals::Now };
        responses.extend(self.deliver(kind.type_url(), &resources, removals));
        // Private keys are not kept for those who look into the session.
        if kind != Secret {
            self.sent.insert(kind, resources);
        }
    }

    /// A type that is not served is answered with nothing, so that the client need not wait.
    fn unknown(&mut self, type_url: &str, responses: &mut Vec<Response>) {
        responses.extend(self.deliver(type_url, &Resources::new(), Removals::Now));
    }

    fn deliver(
        &mut self,
        type_url: &str,
        resources: &Resources,
        removals: Removals,
    ) -> Option<Response> {
        match self.server.protocol() {
            Protocol::Sotw => {
                let version = &self.latest.version;
                self.server.sotw_push(type_url, version, resources).map(Response::Sotw)
            }
            Protocol::Delta => self.server.push(type_url, resources, removals).map(Response::Delta),
        }
    }
}

fn verdict(event: &ServerEvent) -> Option<Verdict> {
    let kind = ResourceType::from_type_url(&event.type_url)?;
    match &event.kind {
        EventKind::Subscribed => None,
        EventKind::Acked { .. } => Some(Verdict::Accepted(kind)),
        EventKind::Nacked { detail, .. } => Some(Verdict::Refused(kind, detail.clone())),
        EventKind::Stale => Some(Verdict::Stale(kind)),
    }
}

#[cfg(test)]
mod tests;
