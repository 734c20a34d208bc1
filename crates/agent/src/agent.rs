//! The agent as a whole: binds its sockets, starts the proxy, and ends both in order.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use daemon::{TcpOptions, bind_tcp, bind_unix};
use pb::envoy::service::{
    discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer,
    secret::v3::secret_discovery_service_server::SecretDiscoveryServiceServer,
};
use pki::SpiffeId;
use thiserror::Error;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::{
    discovery::DiscoveryError,
    dns::{DnsServer, Forwarder, Sockets, Table, nameservers},
    envoy::{Admin, EnvoyProcess},
    identity::{CaClient, Clock, Rotation},
    metrics::Metrics,
    node::NodeIdentity,
    options::{AgentOptions, ProxyChoice, Role},
    relay::Relay,
    sds::SecretService,
    status::Status,
    steering::Steering,
};

/// How often connections are counted while draining.
const DRAIN_CHECK: Duration = Duration::from_millis(250);
/// No connection for this long ends a drain early. Not the first moment without one: a client that
/// has not heard yet may be about to connect.
const DRAIN_QUIET: Duration = Duration::from_secs(1);

/// Why an agent could not start, or ended.
#[derive(Debug, Error)]
pub enum AgentError {
    /// A socket or file of the agent's.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The control plane's address or files.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The workload's name cannot be an identity.
    #[error("workload identity: {0}")]
    Identity(#[from] pki::SpiffeIdError),
    /// Our proxy failed.
    #[error("proxy: {0}")]
    Proxy(#[from] proxy::ProxyError),
    /// Our proxy's task ended without having been asked to.
    #[error("proxy: ended unexpectedly")]
    ProxyEnded,
    /// Envoy ended without having been asked to.
    #[error("Envoy ended: {0}")]
    EnvoyEnded(ExitStatus),
    /// A part of the agent ended, which none should: without it the workload would go on with a
    /// certificate that nobody renews, or without configuration.
    #[error("the agent's {0} ended unexpectedly")]
    PartEnded(&'static str),
    /// Anything that should not happen.
    #[error("{0}")]
    Internal(String),
}

/// The agent's parts by name. None of them ends by itself.
type Parts = JoinSet<&'static str>;

impl AgentError {
    /// The status that the process should end with: Envoy's own where it ended by itself.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        use std::os::unix::process::ExitStatusExt as _;
        match self {
            Self::EnvoyEnded(status) => {
                let code = status.code().or_else(|| Some(128 + status.signal()?));
                code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)
            }
            _ => 1,
        }
    }
}

/// Runs an agent and its proxy until `stop` is cancelled and the drain is over, or one of them
/// fails.
///
/// # Errors
/// When something cannot be started, or the proxy ended by itself.
pub async fn run(options: AgentOptions, stop: CancellationToken) -> Result<(), AgentError> {
    options.discovery.check()?;
    let metrics = Metrics::new().map_err(|error| AgentError::Internal(error.to_string()))?;
    let mut tasks = Parts::new();
    start_sockets(&options, &metrics, &mut tasks).await?;
    let (role, drain_limit, ports) = (options.role, options.termination_drain, options.ports);
    let application = match role {
        Role::Sidecar => options.workload.application_metrics.clone(),
        Role::Router => None,
    };
    let (mut running, steering) = start_proxy(options, &mut tasks)?;
    let quit = CancellationToken::new();
    let status = Status {
        steering: steering.clone(),
        metrics,
        prometheus_port: ports.prometheus,
        application,
        inbound_only: role == Role::Sidecar,
        quit: quit.clone(),
        started: Instant::now(),
        scraping: Arc::default(),
    };
    serve_status(status, (ports.status, ports.agent), &mut tasks)?;
    let ended = tokio::select! {
        Some(part) = tasks.join_next() => Err(part_ended(part)),
        result = running.wait() => Err(result.err().unwrap_or(AgentError::ProxyEnded)),
        () = quit.cancelled() => Ok(()),
        () = stop.cancelled() => {
            tokio::select! {
                () = drain(&steering, role == Role::Sidecar, drain_limit) => {}
                () = quit.cancelled() => {}
            }
            Ok(())
        }
    };
    running.stop().await;
    ended
}

/// Binds and serves what the proxy and the workload find: secrets, xDS, DNS.
async fn start_sockets(
    options: &AgentOptions,
    metrics: &Metrics,
    tasks: &mut Parts,
) -> Result<(), AgentError> {
    let workload = &options.workload;
    let spiffe =
        SpiffeId::new(&workload.trust_domain, &workload.namespace, &workload.service_account)?;
    let (publish, material) = watch::channel(None);
    let lifetime = workload.certificate_lifetime;
    let issuer = CaClient::new(options.discovery.clone(), spiffe, lifetime, metrics.clone());
    let clock: Clock = Arc::new(SystemTime::now);
    let rotation = Rotation { issuer, clock, publish, metrics: metrics.clone() };
    tasks.spawn(named("certificate rotation", rotation.run()));

    let secrets = SecretDiscoveryServiceServer::new(SecretService::new(material, metrics.clone()));
    let secret_socket = bind_unix(&options.run_dir.join("sds.sock"))?;
    let table = Arc::new(ArcSwapOption::<Table>::empty());
    let relay = relay(options, metrics, &table);
    let relay_socket = bind_unix(&options.run_dir.join("xds.sock"))?;
    let server = Server::builder().add_service(secrets);
    let served = server.serve_with_incoming(UnixListenerStream::new(secret_socket));
    tasks.spawn(named("secret discovery", reported(served)));
    let server = Server::builder().add_service(relay);
    let served = server.serve_with_incoming(UnixListenerStream::new(relay_socket));
    tasks.spawn(named("xDS relay", reported(served)));
    if options.role == Role::Sidecar {
        start_dns(options, metrics, &table, tasks).await?;
    }
    Ok(())
}

fn relay(
    options: &AgentOptions,
    metrics: &Metrics,
    table: &Arc<ArcSwapOption<Table>>,
) -> AggregatedDiscoveryServiceServer<Relay> {
    let table = Arc::clone(table);
    let (namespace, domain) = (options.workload.namespace.clone(), options.domain.clone());
    let on_names = Arc::new(move |names| {
        let new = Table::new(&names, &namespace, &domain);
        tracing::debug!(names = new.len(), "name table");
        table.store(Some(Arc::new(new)));
    });
    let relay = Relay::new(options.discovery.clone(), metrics.clone(), on_names);
    AggregatedDiscoveryServiceServer::new(relay).max_decoding_message_size(usize::MAX)
}

async fn start_dns(
    options: &AgentOptions,
    metrics: &Metrics,
    table: &Arc<ArcSwapOption<Table>>,
    tasks: &mut Parts,
) -> Result<(), AgentError> {
    let mut resolvers = options.dns.upstream.clone();
    if let Some(path) = &options.dns.upstream_resolv_conf {
        let found = nameservers(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        resolvers.extend(found);
    }
    let mark = options.discovery.socket_mark;
    let forwarder = Forwarder::new(resolvers, mark, metrics.clone());
    let server = DnsServer::new(Arc::clone(table), forwarder, metrics.clone());
    let port = options.ports.dns;
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let sockets = Sockets::bind(address, mark)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("DNS on {address}: {error}")))?;
    tasks.spawn(named("DNS proxy", server.clone().serve(sockets)));
    // Captured IPv6 queries arrive on IPv6 loopback, which not every namespace has.
    match Sockets::bind(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port), mark).await {
        Ok(sockets) => drop(tasks.spawn(named("DNS proxy", server.serve(sockets)))),
        Err(error) => tracing::debug!(%error, "no DNS on IPv6 loopback"),
    }
    Ok(())
}

fn serve_status(
    status: Status,
    (probe, operator): (u16, u16),
    tasks: &mut Parts,
) -> Result<(), AgentError> {
    let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    for (port, router) in
        [(probe, status.clone().probe_router()), (operator, status.operator_router())]
    {
        let listener = bind_tcp(SocketAddr::new(any, port), TcpOptions::default())?;
        let served = daemon::serve(listener.into(), router, CancellationToken::new());
        tasks.spawn(named("status server", served));
    }
    Ok(())
}

async fn named(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}

async fn reported<E: std::fmt::Display>(served: impl Future<Output = Result<(), E>>) {
    if let Err(error) = served.await {
        tracing::error!(%error, "a server of the agent failed");
    }
}

fn part_ended(part: Result<&'static str, JoinError>) -> AgentError {
    match part {
        Ok(name) => AgentError::PartEnded(name),
        Err(panic) => AgentError::Internal(format!("a part of the agent failed: {panic}")),
    }
}

/// The proxy while it runs.
enum Running {
    Mizzen { handle: proxy::Handle, task: tokio::task::JoinHandle<Result<(), proxy::ProxyError>> },
    Envoy(EnvoyProcess),
}

impl Running {
    /// Waits until it ends, which it should not.
    async fn wait(&mut self) -> Result<(), AgentError> {
        match self {
            Self::Mizzen { task, .. } => match task.await {
                Ok(result) => Ok(result?),
                Err(error) => Err(AgentError::Internal(format!("proxy: {error}"))),
            },
            Self::Envoy(process) => Err(AgentError::EnvoyEnded(process.wait().await?)),
        }
    }

    async fn stop(self) {
        match self {
            Self::Mizzen { handle, task } => {
                handle.shutdown();
                if !task.is_finished() {
                    match tokio::time::timeout(Duration::from_secs(1), task).await {
                        Ok(Ok(Ok(()))) => {}
                        Ok(Ok(Err(error))) => tracing::warn!(%error, "proxy"),
                        Ok(Err(error)) => tracing::warn!(%error, "the proxy failed at its end"),
                        Err(_) => tracing::warn!("the proxy did not end within a second"),
                    }
                }
            }
            Self::Envoy(mut process) => process.stop().await,
        }
    }
}

fn start_proxy(
    options: AgentOptions,
    tasks: &mut Parts,
) -> Result<(Running, Steering), AgentError> {
    let admin_socket = options.run_dir.join("admin.sock");
    let admin_address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), options.ports.admin);
    match &options.proxy {
        ProxyChoice::Envoy { path } => {
            let admin = Admin::new(admin_socket);
            let listener = bind_tcp(admin_address, TcpOptions::default())?;
            tasks.spawn(named("admin relay", admin.clone().relay(listener)));
            let process = EnvoyProcess::start(&options, path)?;
            Ok((Running::Envoy(process), Steering::envoy(admin)))
        }
        ProxyChoice::Mizzen => {
            let handle = proxy::Handle::new();
            let bootstrap = proxy::Bootstrap {
                node: NodeIdentity::new(&options).for_mizzen(),
                ads: proxy::ServiceAddress::Unix(options.run_dir.join("xds.sock")),
                sds: Some(proxy::ServiceAddress::Unix(options.run_dir.join("sds.sock"))),
                admin_address: Some(admin_address),
                admin_socket: Some(admin_socket),
                stats_address: Some(SocketAddr::new(
                    Ipv4Addr::UNSPECIFIED.into(),
                    options.ports.prometheus,
                )),
                concurrency: options.concurrency,
                socket_mark: options.discovery.socket_mark,
                inherited: options.inherited,
                drain_time: options.drain_time,
            };
            let task = tokio::spawn(proxy::run(bootstrap, handle.clone()));
            let steering = Steering::mizzen(handle.clone());
            Ok((Running::Mizzen { handle, task }, steering))
        }
    }
}

/// Drains until nobody is connected any more, or the time is over.
async fn drain(steering: &Steering, inbound_only: bool, limit: Duration) {
    let deadline = tokio::time::Instant::now() + limit;
    tracing::info!(limit_ms = limit.as_millis(), "draining");
    steering.drain(inbound_only).await;
    let mut quiet_since: Option<tokio::time::Instant> = None;
    while tokio::time::Instant::now() < deadline {
        if steering.active_connections().await == Some(0) {
            let since = *quiet_since.get_or_insert_with(tokio::time::Instant::now);
            if since.elapsed() >= DRAIN_QUIET {
                break;
            }
        } else {
            quiet_since = None;
        }
        tokio::time::sleep(DRAIN_CHECK).await;
    }
    let open = steering.active_connections().await;
    tracing::info!(open, "drained");
}
