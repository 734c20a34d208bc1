//! Starting and stopping: reads the configuration, sets up the CA, then listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use daemon::{Drain, Readiness, TcpOptions};
use pb::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use pb::istio::v1::auth::istio_certificate_service_server::IstioCertificateServiceServer;
use pki::{Ca, CaError, TokenError, TokenVerifier};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ads::Discovery;
use crate::ads::registry::Registry;
use crate::authn::Authenticator;
use crate::certificate_service::CertificateService;
use crate::configuration::{Configuration, Loaded};
use crate::debounce::Debounce;
use crate::debug::{self, Pages};
use crate::metrics::Metrics;
use crate::source::{FileSource, SourceError};
use crate::transport::{ServerTls, ServerTlsError, accept};

/// How long open streams may take to end after the signal to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// A proxy that does not answer a ping for this long is gone.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// COMPAT: Istio allows 100 000. An agent has one or two on a connection.
const MAX_STREAMS: u32 = 256;
/// More than any request for a certificate needs.
const MAX_CSR_MESSAGE: usize = 64 * 1024;

/// The ports that the control plane listens on; 0 lets the system choose.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// gRPC without encryption, on loopback only.
    pub plaintext: u16,
    /// gRPC over TLS.
    pub tls: u16,
    /// `/metrics` and `/version`.
    pub monitoring: u16,
    /// `/ready` and `/debug`.
    pub http: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { plaintext: 15010, tls: 15012, monitoring: 15014, http: 8080 }
    }
}

/// What the control plane needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directories of YAML.
    pub config: Vec<PathBuf>,
    /// The CA's directory; a new CA is made when it has none.
    pub ca_dir: PathBuf,
    /// The public key that workloads' tokens are verified with; without one, tokens prove nothing.
    pub token_key: Option<PathBuf>,
    /// Where to listen.
    pub address: IpAddr,
    /// The ports.
    pub ports: Ports,
    /// A Unix socket that serves the debug pages too.
    pub debug_socket: Option<PathBuf>,
    /// The life of workload certificates when the request names none.
    pub workload_cert_ttl: Duration,
    /// The mesh's trust domain.
    pub trust_domain: String,
    /// How long changes of files are waited for.
    pub debounce: Debounce,
}

impl Options {
    /// Istio's defaults with these directories, on loopback.
    pub fn new(config: Vec<PathBuf>, ca_dir: PathBuf) -> Self {
        Self {
            config,
            ca_dir,
            token_key: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: Ports::default(),
            debug_socket: None,
            workload_cert_ttl: pki::ca::DEFAULT_TTL,
            trust_domain: "cluster.local".into(),
            debounce: Debounce::default(),
        }
    }
}

/// Why the control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory of configuration is not usable.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The CA is not usable.
    #[error("certificate authority: {0}")]
    Ca(#[from] CaError),
    /// The token key cannot be read.
    #[error("token key {0}: {1}")]
    TokenFile(PathBuf, std::io::Error),
    /// The token key is no key.
    #[error("token key {0}: {1}")]
    TokenKey(PathBuf, TokenError),
    /// The trust domain is no trust domain.
    #[error(transparent)]
    TrustDomain(#[from] pki::SpiffeIdError),
    /// The own TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] ServerTlsError),
    /// An address is taken or not this machine's.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    /// A mistake in the program.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Where a started control plane listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// gRPC without encryption.
    pub plaintext: SocketAddr,
    /// gRPC over TLS.
    pub tls: SocketAddr,
    /// `/metrics`.
    pub monitoring: SocketAddr,
    /// `/ready` and `/debug`.
    pub http: SocketAddr,
}

/// A started control plane.
#[derive(Debug)]
pub struct ControlPlane {
    drain: Drain,
    addresses: Addresses,
    debug_socket: Option<PathBuf>,
}

impl ControlPlane {
    /// Reads the configuration, sets up the CA and listens. It stops when `stop` is cancelled.
    ///
    /// # Errors
    /// When something it needs is missing or taken; nothing runs then.
    pub async fn start(options: Options, stop: CancellationToken) -> Result<Self, StartError> {
        pki::validate_trust_domain(&options.trust_domain)?;
        let metrics = Metrics::new()?;
        let source = FileSource::new(options.config.clone())?;
        let mut configuration = Configuration::new(source, metrics.clone());
        let loaded = configuration.load();
        warn_of_trust_domain(&options, &loaded);
        let parts = Parts::new(&options, metrics, loaded)?;
        let sockets = Sockets::bind(&options)?;
        let addresses = sockets.addresses()?;
        let drain = Drain::new(stop);
        parts.spawn(&drain, sockets, &options);
        let (shared, sender) = (parts.loaded, parts.snapshots);
        let stop = drain.token().clone();
        drain.spawn(configuration.run(options.debounce, shared, sender, stop));
        parts.gate.open();
        tracing::info!(?addresses, "control plane ready");
        Ok(Self { drain, addresses, debug_socket: options.debug_socket })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits until it is told to stop and has stopped.
    pub async fn wait(self) {
        self.drain.token().cancelled().await;
        self.drain.finish(DRAIN_LIMIT).await;
        if let Some(path) = &self.debug_socket
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "the debug socket's file stays");
        }
        tracing::info!("control plane stopped");
    }
}

fn warn_of_trust_domain(options: &Options, loaded: &Loaded) {
    let mesh = &loaded.snapshot.context.world().mesh().trust_domain;
    if *mesh != options.trust_domain {
        let given = &options.trust_domain;
        tracing::warn!(mesh, given, "--trust-domain differs from the mesh configuration's");
    }
}

/// What the servers are made of.
struct Parts {
    metrics: Metrics,
    authenticator: Authenticator,
    ca: Arc<Ca>,
    tls: ServerTls,
    registry: Registry,
    loaded: Arc<ArcSwap<Loaded>>,
    snapshots: watch::Sender<Arc<crate::ads::generate::Snapshot>>,
    readiness: Readiness,
    gate: daemon::Gate,
}

impl Parts {
    fn new(options: &Options, metrics: Metrics, loaded: Loaded) -> Result<Self, StartError> {
        let trust_domain = options.trust_domain.clone();
        let ca = pki::ca::load_or_create(&options.ca_dir, &trust_domain, SystemTime::now())?;
        let ca = Arc::new(ca.with_default_ttl(options.workload_cert_ttl));
        metrics.root_expires(ca.not_after());
        let tokens = options.token_key.as_deref().map(read_token_key).transpose()?;
        if tokens.is_none() {
            tracing::warn!("no --token-key: only client certificates prove an identity");
        }
        let readiness = Readiness::new();
        Ok(Self {
            registry: Registry::new(metrics.connected.clone()),
            metrics,
            authenticator: Authenticator::new(tokens, trust_domain.clone()),
            tls: ServerTls::new(Arc::clone(&ca), trust_domain)?,
            ca,
            snapshots: watch::Sender::new(Arc::clone(&loaded.snapshot)),
            loaded: Arc::new(ArcSwap::from_pointee(loaded)),
            gate: readiness.gate("configuration"),
            readiness,
        })
    }

    fn spawn(&self, drain: &Drain, sockets: Sockets, options: &Options) {
        let stop = drain.token();
        drain.spawn(self.tls.clone().rotate(stop.clone()));
        self.spawn_grpc(drain, sockets.plaintext, None);
        self.spawn_grpc(drain, sockets.tls, Some(self.tls.clone()));
        let pages = Pages {
            registry: self.registry.clone(),
            loaded: Arc::clone(&self.loaded),
            authenticator: self.authenticator.clone(),
            trust_domain: options.trust_domain.clone(),
            own_address: Some(options.address).filter(|address| !address.is_unspecified()),
        };
        let ready = || daemon::ready_router("/ready", self.readiness.clone());
        let metrics = daemon::metrics_router("/metrics", self.metrics.registry.clone());
        let http = ready().merge(debug::guarded(pages.clone()));
        let private = ready().merge(debug::private(pages)).merge(metrics.clone());
        let monitoring = metrics.merge(debug::version());
        let mut pages = vec![
            (daemon::Listener::from(sockets.http), http),
            (sockets.monitoring.into(), monitoring),
        ];
        pages.extend(sockets.debug.map(|socket| (socket.into(), private)));
        for (listener, router) in pages {
            drain.spawn(daemon::serve(listener, router, stop.clone()));
        }
    }

    fn spawn_grpc(&self, drain: &Drain, listener: TcpListener, tls: Option<ServerTls>) {
        let discovery = Discovery {
            authenticator: self.authenticator.clone(),
            snapshots: self.snapshots.subscribe(),
            registry: self.registry.clone(),
            metrics: self.metrics.clone(),
            stop: drain.token().clone(),
        };
        let certificates = CertificateService {
            ca: Arc::clone(&self.ca),
            authenticator: self.authenticator.clone(),
            metrics: self.metrics.clone(),
        };
        let connections = accept(listener, tls, drain.token().clone());
        let stopped = drain.token().clone().cancelled_owned();
        let server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(MAX_STREAMS)
            .add_service(AggregatedDiscoveryServiceServer::new(discovery))
            .add_service(
                IstioCertificateServiceServer::new(certificates)
                    .max_decoding_message_size(MAX_CSR_MESSAGE),
            )
            .serve_with_incoming_shutdown(connections, stopped);
        drain.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "a gRPC server failed");
            }
        });
    }
}

fn read_token_key(path: &Path) -> Result<TokenVerifier, StartError> {
    let pem = std::fs::read_to_string(path)
        .map_err(|error| StartError::TokenFile(path.to_owned(), error))?;
    TokenVerifier::local(&pem).map_err(|error| StartError::TokenKey(path.to_owned(), error))
}

/// All sockets, bound before anything is served.
struct Sockets {
    plaintext: TcpListener,
    tls: TcpListener,
    monitoring: TcpListener,
    http: TcpListener,
    debug: Option<tokio::net::UnixListener>,
}

impl Sockets {
    fn bind(options: &Options) -> std::io::Result<Self> {
        let bind =
            |address, port| daemon::bind_tcp(SocketAddr::new(address, port), TcpOptions::default());
        let (ports, address) = (options.ports, options.address);
        Ok(Self {
            // Whoever can reach it may read any proxy's configuration, so only this machine can.
            plaintext: bind(IpAddr::V4(Ipv4Addr::LOCALHOST), ports.plaintext)?,
            tls: bind(address, ports.tls)?,
            monitoring: bind(address, ports.monitoring)?,
            http: bind(address, ports.http)?,
            debug: options.debug_socket.as_deref().map(daemon::bind_unix).transpose()?,
        })
    }

    fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            plaintext: self.plaintext.local_addr()?,
            tls: self.tls.local_addr()?,
            monitoring: self.monitoring.local_addr()?,
            http: self.http.local_addr()?,
        })
    }
}
