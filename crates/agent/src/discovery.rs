//! The connection to the control plane: TLS on a socket of our own (marked when the namespace
//! tells the proxy's traffic by mark), a bearer token, and keep-alives that notice a dead peer.
//!
//! Files (root certificate, client certificate, token) are read again for each connection or call,
//! so their rotation needs no restart. A client certificate that cannot be used is left out, as
//! Istio's agent does: the control plane refuses a connection that shows an expired one, while the
//! token may still be good.

use std::{
    error::Error as _,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use pki::{CertifiedIdentity, TrustBundle, tls};
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::TlsConnector;
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint},
};

/// How long a connection may take, as Istio's agent allows.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Istio's keep-alive: a ping after this time of silence…
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// …and an answer within this time, or the connection is dead.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the control plane is and how to talk to it.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// `host:port`. With `socket_mark`, the host must be an address: a name would have to be asked
    /// of the DNS proxy, which waits for the control plane.
    pub address: String,
    /// The DNS name that the server's certificate must have (`istiod.istio-system.svc`).
    pub server_name: String,
    /// PEM file with the roots of the server's certificate; none means plaintext.
    pub root_cert: Option<PathBuf>,
    /// File with the bearer token.
    pub token: Option<PathBuf>,
    /// Folder with `cert-chain.pem` and `key.pem` to authenticate with instead of a token.
    pub client_cert_dir: Option<PathBuf>,
    /// The `clusterid` that goes with each call.
    pub cluster_id: String,
    /// Mark of the socket (`SO_MARK`).
    pub socket_mark: Option<u32>,
}

/// Why the control plane cannot be asked.
#[derive(Debug, Error)]
pub enum DiscoveryError {
    /// A file of ours is missing or unreadable.
    #[error("{what} {}: {why}", path.display())]
    File {
        /// The file's role.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        why: String,
    },
    /// The address is not of the form `host:port`, or not usable.
    #[error("control plane address {address}: {why}")]
    Address {
        /// The address as configured.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The cluster's name cannot go into a header.
    #[error("cluster id {0:?} has characters that no header can carry")]
    Cluster(String),
    /// No connection.
    #[error("control plane {address}: {why}")]
    Connect {
        /// The address as configured.
        address: String,
        /// The chain of causes.
        why: String,
    },
}

/// A connected stream, encrypted or not.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Discovery {
    /// Whether address and names have the form that calls need; files may still come.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self) -> Result<(), DiscoveryError> {
        self.cluster_id
            .parse::<AsciiMetadataValue>()
            .map_err(|_| DiscoveryError::Cluster(self.cluster_id.clone()))?;
        self.endpoint().map(|_| ())
    }

    /// A channel that is connected now.
    ///
    /// # Errors
    /// When there is no connection within 5 s.
    pub(crate) async fn channel(&self) -> Result<Channel, DiscoveryError> {
        let connecting = self.endpoint()?.connect_with_connector(self.connector()).await;
        connecting.map_err(|error| {
            let why = error.source().map_or_else(|| error.to_string(), causes);
            // Our own connector has said whose connection it was.
            let why = why.replace(&format!("control plane {}: ", self.address), "");
            DiscoveryError::Connect { address: self.address.clone(), why }
        })
    }

    /// Adds the token, read anew, and the cluster to a call.
    ///
    /// # Errors
    /// When the token's file cannot be read.
    pub(crate) fn authorize<T>(&self, request: &mut Request<T>) -> Result<(), DiscoveryError> {
        let metadata = request.metadata_mut();
        let cluster = self.cluster_id.parse::<AsciiMetadataValue>();
        let cluster = cluster.map_err(|_| DiscoveryError::Cluster(self.cluster_id.clone()))?;
        metadata.insert("clusterid", cluster);
        let Some(path) = &self.token else { return Ok(()) };
        match bearer(path) {
            Ok(value) => {
                metadata.insert("authorization", value);
                Ok(())
            }
            Err(error) if self.usable_certificate(SystemTime::now()).is_some() => {
                tracing::debug!(%error, "the client certificate alone proves who this is");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The client certificate, if there is one that is valid now.
    fn usable_certificate(&self, now: SystemTime) -> Option<CertifiedIdentity> {
        let dir = self.client_cert_dir.as_deref()?;
        let problem = match client_identity(dir) {
            Ok(identity) if now < identity.not_before() => "it is not valid yet".to_owned(),
            Ok(identity) if now >= identity.not_after() => "it has expired".to_owned(),
            Ok(identity) => return Some(identity),
            Err(error) => error.to_string(),
        };
        let dir = dir.display();
        tracing::warn!(%dir, problem, "no client certificate is shown to the control plane");
        None
    }

    fn endpoint(&self) -> Result<Endpoint, DiscoveryError> {
        let bad = |why: String| DiscoveryError::Address { address: self.address.clone(), why };
        let scheme = if self.root_cert.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{}", self.address).parse::<Uri>();
        let origin = origin.map_err(|error| bad(error.to_string()))?;
        // The scheme of the endpoint is for tonic's own TLS, which we do not use.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))
            .map_err(|error| bad(error.to_string()))?;
        Ok(endpoint
            .origin(origin)
            .connect_timeout(DIAL_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true))
    }

    fn connector(
        &self,
    ) -> impl tower::Service<
        Uri,
        Response = TokioIo<Box<dyn Duplex>>,
        Error = io::Error,
        Future: Send,
    > + Send
    + use<> {
        let discovery = Arc::new(self.clone());
        tower::service_fn(move |_: Uri| {
            let discovery = Arc::clone(&discovery);
            async move { discovery.dial().await.map(TokioIo::new).map_err(io::Error::other) }
        })
    }

    async fn dial(&self) -> Result<Box<dyn Duplex>, DiscoveryError> {
        let failed = |error: io::Error| DiscoveryError::Connect {
            address: self.address.clone(),
            why: error.to_string(),
        };
        let tcp = self.tcp().await?;
        if self.root_cert.is_none() {
            return Ok(Box::new(tcp));
        }
        let config = self.tls()?;
        let name = ServerName::try_from(self.server_name.clone()).map_err(|_| {
            DiscoveryError::Address {
                address: self.address.clone(),
                why: format!("`{}` is not a server name", self.server_name),
            }
        })?;
        let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(failed)?;
        Ok(Box::new(tls))
    }

    async fn tcp(&self) -> Result<TcpStream, DiscoveryError> {
        let failed = |error: io::Error| DiscoveryError::Connect {
            address: self.address.clone(),
            why: error.to_string(),
        };
        let addresses: Vec<SocketAddr> = match self.address.parse() {
            Ok(address) => vec![address],
            Err(_) if self.socket_mark.is_some() => {
                return Err(DiscoveryError::Address {
                    address: self.address.clone(),
                    why: "must be IP:port when the proxy's traffic is told by a socket mark".into(),
                });
            }
            Err(_) => tokio::net::lookup_host(&self.address).await.map_err(failed)?.collect(),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let share = DIAL_TIMEOUT / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        for address in addresses {
            let connected = connect_marked(address, self.socket_mark);
            match tokio::time::timeout(share, connected).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    last = io::Error::new(error.kind(), format!("{address}: {error}"))
                }
                Err(_) => {
                    last = io::Error::new(io::ErrorKind::TimedOut, format!("{address}: no answer"))
                }
            }
        }
        Err(failed(last))
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, DiscoveryError> {
        let Some(root) = &self.root_cert else {
            return Err(DiscoveryError::Address {
                address: self.address.clone(),
                why: "no root certificate is configured".into(),
            });
        };
        let trust = TrustBundle::from_pem(&read(root, "root certificate")?)
            .map_err(|error| unusable(root, "root certificate", &error.to_string()))?;
        let identity = self.usable_certificate(SystemTime::now());
        let server = tls::ServerAuth::WebPki(trust);
        tls::client_config(
            identity.as_ref(),
            server,
            vec![b"h2".to_vec()],
            tls::Versions::default(),
        )
        .map_err(|error| unusable(root, "root certificate", &error.to_string()))
    }
}

/// A TCP connection whose socket carries the mark from its first packet on.
pub(crate) async fn connect_marked(
    address: SocketAddr,
    mark: Option<u32>,
) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(mark) = mark {
        socket2::SockRef::from(&socket).set_mark(mark)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn client_identity(dir: &Path) -> Result<CertifiedIdentity, DiscoveryError> {
    let (chain, key) = (dir.join("cert-chain.pem"), dir.join("key.pem"));
    let chain_pem = read(&chain, "client certificate")?;
    CertifiedIdentity::from_pem(&chain_pem, &read(&key, "client key")?)
        .map_err(|error| unusable(&chain, "client certificate", &error.to_string()))
}

fn bearer(path: &Path) -> Result<AsciiMetadataValue, DiscoveryError> {
    let token = read(path, "token")?;
    if token.trim().is_empty() {
        return Err(unusable(path, "token", "the file is empty"));
    }
    let mut value: AsciiMetadataValue = format!("Bearer {}", token.trim())
        .parse()
        .map_err(|_| unusable(path, "token", "has characters that no header can carry"))?;
    // Not even a log of whole requests shows it, and HTTP/2 does not keep it in its tables.
    value.set_sensitive(true);
    Ok(value)
}

fn read(path: &Path, what: &'static str) -> Result<String, DiscoveryError> {
    std::fs::read_to_string(path).map_err(|error| unusable(path, what, &error.to_string()))
}

fn unusable(path: &Path, what: &'static str, why: &str) -> DiscoveryError {
    DiscoveryError::File { what, path: path.to_owned(), why: why.to_owned() }
}

/// An error with its causes, without repeating what a cause already says.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// What a failed call says, with the transport's causes.
pub(crate) fn status_text(status: &Status) -> String {
    let cause = status.source().map(causes).unwrap_or_default();
    let message = status.message();
    if cause.is_empty() || message.contains(&cause) {
        format!("{:?}: {message}", status.code())
    } else {
        format!("{:?}: {message}: {cause}", status.code())
    }
}

#[cfg(test)]
mod tests;
