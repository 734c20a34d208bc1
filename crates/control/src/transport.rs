//! Connections to the control plane's gRPC ports: plaintext, and TLS by our own acceptor, so that
//! the certificate can be replaced at any time and callers' identities are known.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::Stream;
use pki::tls::{ClientAuth, TlsError, Versions, mesh_client_policy, server_config};
use pki::{Ca, CaError, PeerIdentity};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::authn::Peer;

/// Names under which proxies know the control plane.
pub(crate) const SERVER_NAMES: [&str; 3] =
    ["istiod.istio-system.svc", "istiod-remote.istio-system.svc", "istio-pilot.istio-system.svc"];
/// The life of the control plane's own certificate; it is replaced at half of it.
const SERVER_TTL: Duration = Duration::from_secs(24 * 3600);
/// How often the own certificate is held against the wall clock, which can jump, and which goes on
/// while the machine sleeps.
const CLOCK_CHECK: Duration = Duration::from_secs(60);
/// A handshake that takes longer is given up. After it, HTTP/2 has to begin within the same time.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at one time. One more ends the oldest: whoever opens connections and says nothing
/// must not keep proxies out.
const HANDSHAKES: usize = 1024;
/// The bytes with which each HTTP/2 connection begins (RFC 9113, 3.4).
const PREFACE: usize = 24;
/// How long to wait after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An accepted connection, with what is known of its other end.
pub(crate) struct Connection {
    stream: Carrier,
    peer: Peer,
    /// Until HTTP/2 has begun, from when on pings tell whether anybody is there.
    beginning: Option<Beginning>,
}

struct Beginning {
    missing: usize,
    limit: Pin<Box<tokio::time::Sleep>>,
}

enum Carrier {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    fn new(stream: Carrier, peer: Peer) -> Self {
        let limit = Box::pin(tokio::time::sleep(HANDSHAKE_LIMIT));
        Self { stream, peer, beginning: Some(Beginning { missing: PREFACE, limit }) }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// The TLS configuration in use, replaced before its certificate ends.
#[derive(Clone, Debug)]
pub(crate) struct ServerTls {
    ca: Arc<Ca>,
    trust_domain: String,
    current: Arc<ArcSwap<Current>>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    issued: SystemTime,
    not_after: SystemTime,
}

impl Current {
    /// Whether half of the life is over, or the clock was set back to before it began.
    fn is_due(&self, now: SystemTime) -> bool {
        let life = self.not_after.duration_since(self.issued).unwrap_or_default();
        now.duration_since(self.issued).map_or(true, |age| age >= life / 2)
    }
}

/// The control plane's own TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// The CA did not sign.
    #[error("cannot make the control plane's own certificate: {0}")]
    Ca(#[from] CaError),
    /// rustls refused the configuration.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ServerTls {
    pub(crate) fn new(ca: Arc<Ca>, trust_domain: String) -> Result<Self, ServerTlsError> {
        let current = make(&ca, &trust_domain, SystemTime::now())?;
        Ok(Self { ca, trust_domain, current: Arc::new(ArcSwap::from_pointee(current)) })
    }

    /// Replaces the certificate at half of its life, until told to stop.
    pub(crate) async fn rotate(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(CLOCK_CHECK) => self.renew_if_due(SystemTime::now()),
            }
        }
    }

    fn renew_if_due(&self, now: SystemTime) {
        if !self.current.load().is_due(now) {
            return;
        }
        match make(&self.ca, &self.trust_domain, now) {
            Ok(current) => {
                self.current.store(Arc::new(current));
                tracing::info!("replaced the control plane's own certificate");
            }
            Err(error) => {
                tracing::error!(%error, "the control plane's own certificate is not replaced");
            }
        }
    }
}

fn make(ca: &Ca, trust_domain: &str, now: SystemTime) -> Result<Current, ServerTlsError> {
    let identity = ca.server_identity(&SERVER_NAMES, SERVER_TTL, now)?;
    let clients = mesh_client_policy(ca.roots().clone(), [trust_domain]);
    let alpn = vec![b"h2".to_vec()];
    let clients = ClientAuth::Optional(clients);
    let config = server_config(&identity, clients, alpn, Versions::default())?;
    Ok(Current { config, issued: now, not_after: identity.not_after() })
}

/// Accepts connections until told to stop; with `tls` each is encrypted before it comes out.
pub(crate) fn accept(
    listener: TcpListener,
    tls: Option<ServerTls>,
    stop: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let (send, receive) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut handshakes = Handshakes::default();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                // What has ended is only taken off the list.
                Some(_) = handshakes.tasks.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let (send, tls) = (send.clone(), tls.clone());
                    handshakes.add(async move {
                        let peer = Peer { address: Some(address), ..Peer::default() };
                        if let Some(connection) = establish(stream, peer, tls).await
                            && send.send(Ok(connection)).await.is_err()
                        {
                            tracing::debug!(%address, "not served: the control plane is stopping");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    ReceiverStream::new(receive)
}

/// Connections that are being established, at most [`HANDSHAKES`].
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<()>,
    /// All that go on and perhaps some that have ended.
    oldest: VecDeque<AbortHandle>,
}

impl Handshakes {
    fn add(&mut self, handshake: impl Future<Output = ()> + Send + 'static) {
        if self.oldest.len() >= HANDSHAKES {
            self.oldest.retain(|task| !task.is_finished());
        }
        if self.oldest.len() >= HANDSHAKES
            && let Some(oldest) = self.oldest.pop_front()
        {
            tracing::debug!(limit = HANDSHAKES, "too many handshakes: giving up the oldest");
            oldest.abort();
        }
        self.oldest.push_back(self.tasks.spawn(handshake));
    }
}

async fn establish(stream: TcpStream, peer: Peer, tls: Option<ServerTls>) -> Option<Connection> {
    let address = peer.address;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(?address, %error, "cannot set TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return Some(Connection::new(Carrier::Plain(stream), peer));
    };
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.current.load().config));
    match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let leaf = certificates.and_then(|chain| chain.first());
            let identity = leaf.and_then(|leaf| PeerIdentity::from_der(leaf).ok()?.spiffe);
            let peer = Peer { identity, encrypted: true, ..peer };
            Some(Connection::new(Carrier::Tls(Box::new(stream)), peer))
        }
        Ok(Err(error)) => {
            tracing::info!(?address, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::info!(?address, "TLS handshake took too long");
            None
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = match &mut this.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Carrier::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if let Some(beginning) = &mut this.beginning {
            beginning.missing = beginning.missing.saturating_sub(buffer.filled().len() - before);
            if beginning.missing == 0 {
                this.beginning = None;
            } else if read.is_pending() && beginning.limit.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_flush(context),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests;
