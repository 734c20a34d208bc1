//! Takes connections, finds out what they are, and gives them to the filter chain that matches.

mod handshake;
pub(crate) mod inspect;
mod sniff;

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{
    access_log,
    connection::{Connection, TlsDetails},
    facts::{Facts, Kept},
    flags::Flags,
    format::Scope,
    http,
    net::{
        io::{Io, Prefixed},
        original_dst::original_destination,
    },
    snapshot::{Chain, Listener, Terminal},
    stats::ListenerStats,
    tcp,
    worker::Worker,
};

use sniff::{Findings, Wanted, sniff};

/// Envoy's default of `listener_filters_timeout`.
const DEFAULT_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait when there is no file descriptor left.
const EXHAUSTED_BACKOFF: Duration = Duration::from_millis(50);

/// The stream of a downstream connection.
pub(crate) type Downstream = Prefixed<Io>;

/// Takes connections until it is told to stop.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    name: Arc<str>,
    socket: TcpListener,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                tokio::task::spawn_local(serve(
                    Rc::clone(&worker),
                    Arc::clone(&name),
                    stream,
                    remote,
                ));
            }
            Err(error) => on_accept_error(&worker, &name, &error).await,
        }
    }
}

/// A connection that was gone before it was taken is its client's affair; when descriptors or
/// memory run out, trying again at once would only burn time.
async fn on_accept_error(worker: &Worker, name: &str, error: &io::Error) {
    if let Some(listener) = worker.snapshot().listeners.get(name) {
        listener.stats.accept_error.inc();
    }
    let gone =
        matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if !gone {
        tracing::warn!(listener = name, %error, "cannot take a connection");
        tokio::time::sleep(EXHAUSTED_BACKOFF).await;
    }
}

async fn serve(worker: Rc<Worker>, name: Arc<str>, stream: TcpStream, remote: SocketAddr) {
    let snapshot = worker.snapshot();
    let Some(listener) = snapshot.listeners.get(&*name).map(Arc::clone) else { return };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was looked at");
        return;
    }
    let Ok(local) = stream.local_addr() else { return };
    let restores = listener.engine.config.use_original_dst
        || listener.engine.listener_filter(&xds::ListenerFilterKind::OriginalDst, local.port());
    let original = if restores { original_destination(&stream) } else { None };
    let destination = canonical(original.unwrap_or(local));
    let target = match original {
        Some(_) if listener.engine.config.use_original_dst => {
            snapshot.listener_for(destination).map_or(listener, Arc::clone)
        }
        _ => listener,
    };
    drop(snapshot);
    let origin = Origin { worker, listener: target, remote: canonical(remote), destination };
    origin.inspect(stream).await;
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Where a connection comes from and where it goes, before its filter chain is chosen.
struct Origin {
    worker: Rc<Worker>,
    listener: Arc<Listener>,
    remote: SocketAddr,
    destination: SocketAddr,
}

impl Origin {
    async fn inspect(self, mut stream: TcpStream) {
        let port = self.destination.port();
        let listener = &self.listener.engine;
        let wanted = Wanted {
            tls: listener.listener_filter(&xds::ListenerFilterKind::TlsInspector, port),
            http: listener.listener_filter(&xds::ListenerFilterKind::HttpInspector, port),
        };
        let timeout = listener.config.listener_filters_timeout.unwrap_or(DEFAULT_FILTERS_TIMEOUT);
        let mut buffer = BytesMut::new();
        let sniffed = if timeout.is_zero() {
            Ok(sniff(&mut stream, &mut buffer, wanted).await)
        } else {
            tokio::time::timeout(timeout, sniff(&mut stream, &mut buffer, wanted)).await
        };
        let findings = match sniffed {
            Ok(Ok(findings)) => findings,
            // The client went away, or broke the connection, before it said anything.
            Ok(Err(_)) => return,
            Err(_elapsed) => {
                self.listener.stats.pre_cx_timeout.inc();
                if !self.listener.engine.config.continue_on_listener_filters_timeout {
                    return;
                }
                Findings::default()
            }
        };
        let chosen = self.listener.select(&engine::ConnectionInfo {
            destination: self.destination,
            source: self.remote,
            direct_source: self.remote,
            transport_protocol: findings.transport_protocol,
            server_name: findings.server_name.as_deref(),
            application_protocols: &findings.application_protocols,
        });
        match chosen.map(Arc::clone) {
            Some(chain) => self.start(chain, findings, stream, buffer.freeze()).await,
            None => self.refuse(findings),
        }
    }

    fn connection(
        self,
        chain: Arc<Chain>,
        server_name: Option<String>,
        tls: Option<TlsDetails>,
    ) -> Rc<Connection> {
        Rc::new(Connection {
            id: self.worker.connection_id(),
            _guard: self.worker.shared.handle.connection_opened(),
            worker: self.worker,
            listener: self.listener,
            chain,
            destination: self.destination,
            remote: self.remote,
            server_name,
            tls,
        })
    }

    /// No chain takes it: it is closed, and logged with the flag `NR`.
    fn refuse(self, findings: Findings) {
        self.listener.stats.no_filter_chain_match.inc();
        let Some(chain) = self.listener.chains().next().map(Arc::clone) else { return };
        let listener = Arc::clone(&self.listener);
        let connection = self.connection(chain, findings.server_name, None);
        let mut facts = Facts::new(connection);
        facts.flags = Flags::NO_ROUTE;
        facts.details = "filter_chain_not_found".into();
        let scope = Scope {
            facts: &facts,
            request: &Kept::default(),
            response: &Kept::default(),
            trailers: None,
        };
        access_log::log(&listener.access_logs, &scope);
    }

    async fn start(self, chain: Arc<Chain>, findings: Findings, stream: TcpStream, buffer: Bytes) {
        let stats = Arc::clone(&self.listener.stats);
        stats.cx_total.inc();
        let _open = Open::new(Arc::clone(&stats));
        let (io, details, version) = match &chain.tls {
            None => (Prefixed::new(buffer, Io::Plain(stream)), None, findings.http),
            Some(tls) => {
                let offered = &findings.application_protocols;
                match handshake::accept(tls, &chain, (stream, buffer), offered).await {
                    Ok((stream, details)) => {
                        stats.ssl_handshake.inc();
                        (
                            Prefixed::new(Bytes::new(), Io::Server(Box::new(stream))),
                            Some(details),
                            None,
                        )
                    }
                    Err(error) => return self.refuse_tls(&error),
                }
            }
        };
        let terminal = chain.terminal.clone();
        let connection = self.connection(chain, findings.server_name, details);
        if !tcp::pass_network_filters(&connection) {
            return;
        }
        match terminal {
            Terminal::Http(manager) => http::serve(connection, manager, io, version).await,
            Terminal::Tcp { proxy, access_logs } => {
                tcp::serve(connection, &proxy, &access_logs, io).await;
            }
        }
    }

    fn refuse_tls(&self, error: &handshake::HandshakeError) {
        let stats = &self.listener.stats;
        stats.ssl_error.inc();
        if error.is_certificate() {
            stats.ssl_fail_verify_error.inc();
        }
        tracing::debug!(
            listener = self.listener.name(), remote = %self.remote, %error,
            "refused a TLS connection"
        );
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<ListenerStats>);

impl Open {
    fn new(stats: Arc<ListenerStats>) -> Self {
        stats.cx_active.inc();
        Self(stats)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.cx_active.dec();
    }
}
