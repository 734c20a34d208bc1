//! Connections to the control plane's gRPC ports: plaintext, and TLS by our own acceptor, so that
//! the certificate can be replaced at any time and callers' identities are known.

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
use tokio::sync::{Semaphore, mpsc};
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
/// A handshake that takes longer is given up.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at one time; further connections wait in the kernel.
const HANDSHAKES: usize = 256;
/// How long to wait after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An accepted connection, with what is known of its other end.
pub(crate) struct Connection {
    stream: Carrier,
    peer: Peer,
}

enum Carrier {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
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
    config: Arc<ArcSwap<ServerConfig>>,
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
        let config = make_config(&ca, &trust_domain)?;
        Ok(Self { ca, trust_domain, config: Arc::new(ArcSwap::new(config)) })
    }

    /// Replaces the certificate at half of its life, until told to stop.
    pub(crate) async fn rotate(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SERVER_TTL / 2) => {}
            }
            match make_config(&self.ca, &self.trust_domain) {
                Ok(config) => {
                    self.config.store(config);
                    tracing::info!("replaced the control plane's own certificate");
                }
                Err(error) => tracing::error!(%error, "the control plane's certificate stays"),
            }
        }
    }
}

fn make_config(ca: &Ca, trust_domain: &str) -> Result<Arc<ServerConfig>, ServerTlsError> {
    let identity = ca.server_identity(&SERVER_NAMES, SERVER_TTL, SystemTime::now())?;
    let clients = mesh_client_policy(ca.roots().clone(), [trust_domain]);
    let alpn = vec![b"h2".to_vec()];
    Ok(server_config(&identity, ClientAuth::Optional(clients), alpn, Versions::default())?)
}

/// Accepts connections until told to stop; with `tls` each is encrypted before it comes out.
pub(crate) fn accept(
    listener: TcpListener,
    tls: Option<ServerTls>,
    stop: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let (send, receive) = mpsc::channel(64);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let (send, tls) = (send.clone(), tls.clone());
                    tokio::spawn(async move {
                        let _permit = permit;
                        let peer = Peer { address: Some(address), ..Peer::default() };
                        if let Some(connection) = establish(stream, peer, tls).await {
                            let _ = send.send(Ok(connection)).await;
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

async fn establish(stream: TcpStream, peer: Peer, tls: Option<ServerTls>) -> Option<Connection> {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return Some(Connection { stream: Carrier::Plain(stream), peer });
    };
    let acceptor = TlsAcceptor::from(tls.config.load_full());
    let address = peer.address;
    match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let leaf = certificates.and_then(|chain| chain.first());
            let identity = leaf.and_then(|leaf| PeerIdentity::from_der(leaf).ok()?.spiffe);
            let peer = Peer { identity, encrypted: true, ..peer };
            Some(Connection { stream: Carrier::Tls(Box::new(stream)), peer })
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
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Carrier::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
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
