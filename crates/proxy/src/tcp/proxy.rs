//! The TCP proxy: one upstream connection for each downstream connection.

use std::{io, rc::Rc, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Progress, Timers, copy_both, exchange};
use crate::{
    access_log::{self, AccessLog},
    cluster::Cluster,
    connection::Connection,
    facts::{Facts, Kept},
    flags::Flags,
    format::Scope,
    listener::Downstream,
    net::io::{Io, Prefixed},
    stats::{Outline, Peer, Protocol, Reporter, Security, TcpObservation},
    tls::PEER_EXCHANGE,
    upstream::{ConnectError, Destination, Target, connect_stream},
};

/// Envoy's default idle time of TCP connections.
const DEFAULT_IDLE: Duration = Duration::from_secs(3_600);
/// Longer than any connection lives.
const FOREVER: Duration = Duration::from_secs(86_400 * 365);
/// How often Istio's metrics of open connections are reported.
const DEFAULT_REPORT: Duration = Duration::from_secs(5);
/// Envoy's default of `max_connect_attempts`.
const CONNECT_ATTEMPTS: u32 = 1;

/// Serves a connection to its end.
pub(crate) async fn serve(
    connection: Rc<Connection>,
    proxy: &engine::TcpProxy,
    access_logs: &[AccessLog],
    io: Downstream,
) {
    let started = Instant::now();
    let mut facts = Facts::new(Rc::clone(&connection));
    let mut report = Report::new(&connection);
    carry(&connection, proxy, io, &mut facts, &mut report).await;
    facts.duration = started.elapsed();
    report.close(&facts);
    let nothing = Kept::default();
    let scope = Scope { facts: &facts, request: &nothing, response: &nothing, trailers: None };
    access_log::log(access_logs, &scope);
}

async fn carry(
    connection: &Rc<Connection>,
    proxy: &engine::TcpProxy,
    mut io: Downstream,
    facts: &mut Facts,
    report: &mut Report,
) {
    let worker = &connection.worker;
    let snapshot = worker.snapshot();
    let name = proxy.cluster(worker.random()).unwrap_or_default();
    let Some(cluster) = snapshot.clusters.get(name).map(Arc::clone) else {
        facts.flags.insert(Flags::NO_CLUSTER);
        facts.upstream_cluster = Some(name.into());
        return;
    };
    drop(snapshot);
    facts.upstream_cluster = Some(Arc::clone(&cluster.shared.name));
    report.cluster = Some(Arc::clone(&cluster));
    let Some((target, opened)) = connect(connection, &cluster, facts).await else { return };
    facts.upstream_host = Some(opened.upstream.remote);
    facts.upstream_local = opened.upstream.local;
    let mut upstream = Prefixed::new(Bytes::new(), opened.io);
    let Some(peer) = exchange(connection, &mut io, &mut upstream, opened.exchange, facts).await
    else {
        return;
    };
    let peer = peer.or_else(|| {
        let host = target.host.as_ref().filter(|_| !report.inbound)?;
        Peer::from_endpoint(&host.endpoint.metadata)
    });
    report.open(peer.as_ref(), opened.upstream.principal.as_deref());
    let _open = OpenConnection::new(&target);
    let idle = proxy.config.idle_timeout.unwrap_or(DEFAULT_IDLE);
    let timers = Timers {
        idle: (!idle.is_zero()).then_some(idle),
        tick: report.every.filter(|every| !every.is_zero()),
    };
    let stats = Arc::clone(&cluster.shared.stats);
    let copied = copy_both(&mut io, &mut upstream, timers, |progress| match progress {
        Progress::Up(count) => {
            facts.bytes_received += count;
            stats.cx_tx_bytes.add(count);
        }
        Progress::Down(count) => {
            facts.bytes_sent += count;
            stats.cx_rx_bytes.add(count);
        }
        Progress::Tick => report.deltas(facts.bytes_received, facts.bytes_sent, 0),
    });
    let lasts = proxy.config.max_downstream_connection_duration.filter(|lasts| !lasts.is_zero());
    let lasts = lasts.unwrap_or(FOREVER);
    let ended = tokio::select! {
        ended = tokio::time::timeout(lasts, copied) => ended,
        () = retired(connection) => Ok(Ok(())),
    };
    drop(opened.guard);
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            facts.flags.insert(Flags::STREAM_IDLE_TIMEOUT);
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TCP connection broke"),
        Err(_elapsed) => facts.flags.insert(Flags::DURATION_TIMEOUT),
    }
}

/// Waits until an update has replaced the chain and the drain time is over.
async fn retired(connection: &Connection) {
    connection.chain.retired.wait().await;
    tokio::time::sleep(connection.worker.shared.drain_time).await;
}

/// Exchanges peer metadata with the sides that have agreed to it. The peer of an inbound
/// connection is its client, else its server; the outer `None` says that a side broke.
async fn exchange(
    connection: &Connection,
    downstream: &mut Downstream,
    upstream: &mut Prefixed<Io>,
    with_upstream: bool,
    facts: &mut Facts,
) -> Option<Option<Peer>> {
    let local = &connection.worker.shared.local;
    let alpn = connection.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    let mut peer = None;
    if alpn == Some(PEER_EXCHANGE.as_bytes()) {
        let heard = exchange::exchange(downstream, local).await.ok()?;
        downstream.unread(heard.rest);
        peer = heard.peer;
    }
    if with_upstream {
        let Ok(heard) = exchange::exchange(upstream, local).await else {
            facts.flags.insert(Flags::UPSTREAM_CONNECTION_TERMINATION);
            return None;
        };
        upstream.unread(heard.rest);
        peer = peer.or(heard.peer);
    }
    Some(peer)
}

async fn connect(
    connection: &Rc<Connection>,
    cluster: &Arc<Cluster>,
    facts: &mut Facts,
) -> Option<(Target, crate::upstream::Opened)> {
    let worker = &connection.worker;
    let shared = &cluster.shared;
    let wanted =
        Destination { original: connection.destination, hash: None, avoid: &[], attempts: 0 };
    for _ in 0..CONNECT_ATTEMPTS {
        if shared.stats.cx_active.get() >= shared.limits.connections {
            shared.stats.cx_overflow.inc();
            facts.flags.insert(Flags::UPSTREAM_OVERFLOW);
            return None;
        }
        let Some(target) = worker.cluster(cluster).pick(worker, cluster, &wanted) else {
            shared.stats.cx_none_healthy.inc();
            facts.flags.insert(Flags::NO_HEALTHY_UPSTREAM);
            return None;
        };
        facts.upstream_host = Some(target.address);
        let opened = connect_stream(cluster, target.host.as_ref(), target.address).await;
        if let Some(host) = &target.host {
            let outcome = if opened.is_ok() {
                engine::Outcome::Connected
            } else {
                engine::Outcome::LocalOriginFailure
            };
            let snapshot = worker.snapshot();
            let current = snapshot.clusters.get(&*shared.name).unwrap_or(cluster);
            current.record(host, outcome, worker.random());
        }
        match opened {
            Ok(opened) => return Some((target, opened)),
            Err(error) => {
                facts.flags.insert(Flags::UPSTREAM_CONNECTION_FAILURE);
                facts.transport_failure =
                    (!matches!(error, ConnectError::Timeout)).then(|| error.to_string());
            }
        }
    }
    None
}

/// Counts a connection at its host.
struct OpenConnection(Option<Arc<engine::Host>>);

impl OpenConnection {
    fn new(target: &Target) -> Self {
        if let Some(host) = &target.host {
            host.state.active_requests.fetch_add(1, Relaxed);
            host.state.total_requests.fetch_add(1, Relaxed);
        }
        Self(target.host.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(host) = &self.0 {
            host.state.active_requests.fetch_sub(1, Relaxed);
        }
    }
}

/// Istio's TCP metrics of a connection.
struct Report {
    connection: Rc<Connection>,
    inbound: bool,
    every: Option<Duration>,
    cluster: Option<Arc<Cluster>>,
    outline: Option<Outline>,
    received: u64,
    sent: u64,
}

impl Report {
    fn new(connection: &Rc<Connection>) -> Self {
        let filters = &connection.chain.engine.filters;
        let every = filters.iter().find_map(|filter| match filter {
            engine::NetworkFilter::Stats(config) => Some(
                config
                    .tcp_reporting_duration
                    .filter(|every| !every.is_zero())
                    .unwrap_or(DEFAULT_REPORT),
            ),
            _ => None,
        });
        Self {
            connection: Rc::clone(connection),
            inbound: connection.direction() == xds::TrafficDirection::Inbound,
            every,
            cluster: None,
            outline: None,
            received: 0,
            sent: 0,
        }
    }

    fn open(&mut self, peer: Option<&Peer>, principal: Option<&str>) {
        self.outline = Some(self.outline_of(peer, principal, Flags::default()));
        self.count(1, 0, 0, 0);
    }

    fn outline_of(&self, peer: Option<&Peer>, principal: Option<&str>, flags: Flags) -> Outline {
        let connection = &self.connection;
        let (worker, inbound) = (&connection.worker, self.inbound);
        let local = connection.tls.as_ref().and_then(|tls| tls.local_uri.as_deref());
        let (source, target) = if inbound {
            (connection.peer_principal(), local.unwrap_or_default())
        } else if let Some(principal) = principal {
            (worker.shared.principal(), principal)
        } else {
            ("", "")
        };
        let security = match (inbound, connection.is_authenticated()) {
            (false, _) => Security::Unknown,
            (true, true) => Security::MutualTls,
            (true, false) => Security::None,
        };
        let mut istio = worker.istio.borrow_mut();
        Outline {
            reporter: if inbound { Reporter::Destination } else { Reporter::Source },
            peer: peer.map_or(0, |peer| istio.peer(peer)),
            destination: self
                .cluster
                .as_ref()
                .map_or(0, |cluster| istio.destination(&cluster.shared.destination)),
            source_principal: istio.name(source),
            destination_principal: istio.name(target),
            protocol: Protocol::Tcp,
            security,
            flags: if flags.is_empty() { 0 } else { istio.name(&flags.to_string()) },
        }
    }

    fn deltas(&mut self, received: u64, sent: u64, closed: u64) {
        let (more_received, more_sent) = (received - self.received, sent - self.sent);
        (self.received, self.sent) = (received, sent);
        self.count(0, closed, more_sent, more_received);
    }

    fn count(&self, opened: u64, closed: u64, sent: u64, received: u64) {
        let (Some(_), Some(outline)) = (self.every, self.outline) else { return };
        let observation = TcpObservation { outline, opened, closed, sent, received };
        self.connection.worker.istio.borrow_mut().tcp(&observation);
    }

    fn close(&mut self, facts: &Facts) {
        if self.outline.is_none() {
            self.outline = Some(self.outline_of(None, None, facts.flags));
            self.count(1, 0, 0, 0);
        }
        self.deltas(facts.bytes_received, facts.bytes_sent, 1);
    }
}
