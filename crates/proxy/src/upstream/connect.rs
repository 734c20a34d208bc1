//! Connects to a host: TCP, then TLS, within the cluster's time.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc};

use tokio_rustls::TlsConnector;

use super::key::{Alpn, PoolKey};
use crate::{
    cluster::{Cluster, ClusterShared},
    net::{io::Io, socket},
    tls::{PEER_EXCHANGE, TlsError, UpstreamTls},
};

/// A connection that did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// TCP failed.
    #[error("delayed connect error: {0}")]
    Tcp(io::Error),
    /// TLS failed.
    #[error("TLS_error:|{0}")]
    Tls(io::Error),
    /// There is no usable secret: it fails closed.
    #[error("TLS_context:|{0}")]
    Context(#[from] TlsError),
    /// It took longer than the cluster's `connect_timeout`.
    #[error("connect timeout")]
    Timeout,
    /// HTTP could not be started on it.
    #[error("protocol error: {0}")]
    Http(hyper::Error),
}

impl Clone for ConnectError {
    fn clone(&self) -> Self {
        let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
        match self {
            Self::Tcp(error) => Self::Tcp(again(error)),
            Self::Tls(error) => Self::Tls(again(error)),
            Self::Context(error) => Self::Tls(io::Error::other(error.to_string())),
            Self::Timeout => Self::Timeout,
            Self::Http(error) => Self::Tcp(io::Error::other(error.to_string())),
        }
    }
}

/// What connections of a pool have in common.
pub(super) struct Origin {
    pub(super) cluster: Arc<Cluster>,
    pub(super) host: Option<Arc<engine::Host>>,
    pub(super) key: PoolKey,
}

/// What is known of an open upstream connection.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
    /// The URI name that the server has proved.
    pub(crate) principal: Option<Rc<str>>,
}

/// An open stream, counted for as long as the guard lives.
pub(crate) struct Opened {
    pub(crate) io: Io,
    pub(crate) upstream: Upstream,
    pub(crate) http2: bool,
    /// Peer metadata is exchanged on it first.
    pub(crate) exchange: bool,
    pub(crate) guard: OpenGuard,
}

/// Counts an upstream connection.
pub(crate) struct OpenGuard {
    cluster: Arc<ClusterShared>,
    host: Option<Arc<engine::Host>>,
}

impl OpenGuard {
    fn new(cluster: &Arc<ClusterShared>, host: Option<&Arc<engine::Host>>) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        cluster.stats.cx_total.inc();
        cluster.stats.cx_active.inc();
        if let Some(host) = host {
            host.state.total_connections.fetch_add(1, Relaxed);
            host.state.active_connections.fetch_add(1, Relaxed);
        }
        Self { cluster: Arc::clone(cluster), host: host.map(Arc::clone) }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        use std::sync::atomic::Ordering::Relaxed;
        self.cluster.stats.cx_active.dec();
        self.cluster.stats.cx_destroy.inc();
        if let Some(host) = &self.host {
            host.state.active_connections.fetch_sub(1, Relaxed);
        }
    }
}

/// Connects to a host of a cluster, outside of any pool.
pub(crate) async fn connect_stream(
    cluster: &Arc<Cluster>,
    host: Option<&Arc<engine::Host>>,
    address: SocketAddr,
) -> Result<Opened, ConnectError> {
    let (_, transport) = cluster.transport(host.map(AsRef::as_ref));
    let exchange =
        cluster.shared.config.filters.iter().any(|filter| {
            matches!(filter.config, xds::NetworkFilterConfig::MetadataExchange { .. })
        });
    let how = How { tls: transport.tls.as_ref(), alpn: None, server: None, exchange };
    connect(cluster, host, address, how).await
}

pub(super) async fn connect_origin(origin: &Origin) -> Result<Opened, ConnectError> {
    let (_, transport) = origin.cluster.transport(origin.host.as_deref());
    let how = How {
        tls: transport.tls.as_ref(),
        alpn: origin.key.alpn.as_ref().map(Alpn::names),
        server: origin.key.host.as_deref(),
        exchange: false,
    };
    connect(&origin.cluster, origin.host.as_ref(), origin.key.address, how).await
}

struct How<'a> {
    tls: Option<&'a UpstreamTls>,
    alpn: Option<&'a [String]>,
    server: Option<&'a str>,
    exchange: bool,
}

async fn connect(
    cluster: &Arc<Cluster>,
    host: Option<&Arc<engine::Host>>,
    address: SocketAddr,
    how: How<'_>,
) -> Result<Opened, ConnectError> {
    let shared = &cluster.shared;
    let guard = OpenGuard::new(shared, host);
    let connecting = async {
        match host.map(|host| &host.endpoint.address) {
            Some(xds::Address::Pipe(path)) => connect_unix(path, address, &how, guard).await,
            _ => connect_in_time(shared, address, how, guard).await,
        }
    };
    let attempt = tokio::time::timeout(shared.config.connect_timeout, connecting);
    let result = match attempt.await {
        Ok(result) => result,
        Err(_elapsed) => {
            shared.stats.cx_connect_timeout.inc();
            Err(ConnectError::Timeout)
        }
    };
    if let Err(error) = &result {
        shared.stats.cx_connect_fail.inc();
        if matches!(error, ConnectError::Tls(_) | ConnectError::Context(_)) {
            shared.stats.ssl_error.inc();
        }
        if let Some(host) = host {
            host.state.failed_connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        tracing::debug!(cluster = %shared.name, %address, %error, "cannot connect to an upstream");
    }
    result
}

/// Connects to a Unix socket; `address` stands for it where only socket addresses fit.
async fn connect_unix(
    path: &str,
    address: SocketAddr,
    how: &How<'_>,
    guard: OpenGuard,
) -> Result<Opened, ConnectError> {
    if how.tls.is_some() {
        let problem = "TLS to a Unix socket is not supported";
        return Err(ConnectError::Tls(io::Error::new(io::ErrorKind::Unsupported, problem)));
    }
    let stream = tokio::net::UnixStream::connect(path).await.map_err(ConnectError::Tcp)?;
    let upstream = Upstream { remote: address, local: None, principal: None };
    Ok(Opened { io: Io::Unix(stream), upstream, http2: false, exchange: false, guard })
}

async fn connect_in_time(
    shared: &ClusterShared,
    address: SocketAddr,
    how: How<'_>,
    guard: OpenGuard,
) -> Result<Opened, ConnectError> {
    let ready = match how.tls {
        Some(tls) => {
            Some((tls.config(how.alpn, how.exchange)?, tls.server_name(how.server, address.ip())?))
        }
        None => None,
    };
    let stream = socket::connect(address, &shared.options).await.map_err(ConnectError::Tcp)?;
    let local = stream.local_addr().ok();
    let Some((config, name)) = ready else {
        let upstream = Upstream { remote: address, local, principal: None };
        return Ok(Opened {
            io: Io::Plain(stream),
            upstream,
            http2: false,
            exchange: false,
            guard,
        });
    };
    let stream =
        TlsConnector::from(config).connect(name, stream).await.map_err(ConnectError::Tls)?;
    shared.stats.ssl_handshake.inc();
    let session = stream.get_ref().1;
    let principal = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|leaf| pki::PeerIdentity::from_der(leaf).ok())
        .and_then(|peer| peer.uri_sans.first().map(|uri| Rc::from(uri.as_str())));
    let http2 = session.alpn_protocol() == Some(b"h2");
    let exchange = session.alpn_protocol() == Some(PEER_EXCHANGE.as_bytes());
    let upstream = Upstream { remote: address, local, principal };
    Ok(Opened { io: Io::Client(Box::new(stream)), upstream, http2, exchange, guard })
}
