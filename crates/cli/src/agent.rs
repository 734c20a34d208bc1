//! `mizzen agent`: the proxy's companion, and `mizzen agent capture`, which redirects a workload's
//! traffic to it. The environment is pilot-agent's; the command line only says where things are.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use agent::{AgentOptions, Discovery, Dns, Environment, Ports, ProxyChoice, Role};
use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};

mod capture;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run beside a workload (the default)
    Sidecar(RunArgs),
    /// Run as a gateway
    Router(RunArgs),
    /// Redirect a workload's traffic to its proxy: programs this network namespace, then exits
    Capture(Box<capture::Args>),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProxyName {
    /// Mizzen's own, in this process
    Mizzen,
    /// A stock Envoy, as a child process
    Envoy,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The proxy to run
    #[arg(long, value_enum, default_value = "mizzen")]
    proxy: ProxyName,
    /// Envoy's executable
    #[arg(long, value_name = "FILE", default_value = "envoy", env = "MIZZEN_ENVOY")]
    envoy_path: PathBuf,
    /// The control plane
    #[arg(long, value_name = "HOST:PORT", default_value = "istiod.istio-system.svc:15012")]
    discovery_address: String,
    /// The DNS name that the control plane's certificate must have
    #[arg(
        long,
        value_name = "NAME",
        default_value = "istiod.istio-system.svc",
        env = "DISCOVERY_SAN"
    )]
    discovery_san: String,
    /// Roots of the control plane's certificate, PEM
    #[arg(long, value_name = "FILE", default_value = "./var/run/secrets/istio/root-cert.pem")]
    root_cert: PathBuf,
    /// Talk to the control plane without TLS (its port 15010)
    #[arg(long)]
    plaintext: bool,
    /// The workload's token
    #[arg(long, value_name = "FILE", default_value = "./var/run/secrets/tokens/istio-token")]
    token: PathBuf,
    /// Authenticate with cert-chain.pem and key.pem of this folder instead of a token
    #[arg(long, value_name = "DIR", env = "PROV_CERT")]
    client_cert_dir: Option<PathBuf>,
    /// Folder of the sockets between agent and proxy
    #[arg(long, value_name = "DIR", default_value = "./etc/istio/proxy")]
    run_dir: PathBuf,
    /// Life of the workload's certificate to ask for [default: $SECRET_TTL, or 24h]
    #[arg(long, value_name = "DURATION", value_parser = agent::duration)]
    cert_ttl: Option<Duration>,
    /// The cluster's domain
    #[arg(long, default_value = "cluster.local")]
    domain: String,
    /// Mark of the proxy's sockets, where capture exempts by mark
    #[arg(long, value_name = "MARK")]
    socket_mark: Option<u32>,
    /// A listening socket that was handed in, as PORT=FD
    #[arg(long, value_name = "PORT=FD", value_parser = listen_fd)]
    listen_fd: Vec<(u16, i32)>,
    /// A resolver for names outside the mesh
    #[arg(long, value_name = "IP[:PORT]", value_parser = resolver)]
    dns_upstream: Vec<SocketAddr>,
    /// A resolv.conf whose resolvers are used for names outside the mesh
    #[arg(long, value_name = "FILE")]
    upstream_resolv_conf: Option<PathBuf>,
    /// The proxy's worker threads [default: of proxy.istio.io/config, or 2]
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// Level of the agent's log, and of Envoy's
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "RUST_LOG")]
    log_level: String,
    /// How long open connections have when the agent is told to end [default: of
    /// proxy.istio.io/config, or 5s]
    #[arg(long, value_name = "DURATION", value_parser = agent::duration)]
    termination_drain_duration: Option<Duration>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        None => serve(Role::Sidecar, args.run),
        Some(Command::Sidecar(args)) => serve(Role::Sidecar, args),
        Some(Command::Router(args)) => serve(Role::Router, args),
        Some(Command::Capture(args)) => capture::run(&args),
    }
}

fn serve(role: Role, args: RunArgs) -> anyhow::Result<ExitCode> {
    // Sockets that were handed in are taken before anything else opens files.
    let inherited = args
        .listen_fd
        .iter()
        .map(|(port, fd)| agent::inherit(*port, *fd))
        .collect::<Result<_, _>>()
        .context("--listen-fd")?;
    let filter = args.log_level.clone();
    daemon::init_logging(&daemon::LogOptions { filter, ..daemon::LogOptions::default() })
        .map_err(anyhow::Error::msg)?;
    let options = AgentOptions { inherited, ..options(role, args)? };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("agent")
        .enable_all()
        .build()
        .context("the async runtime")?;
    let outcome = runtime.block_on(async {
        let stop = daemon::on_signals()?;
        agent::run(options, stop).await
    });
    // Nothing that still runs may keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            tracing::error!("{error}");
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

fn options(role: Role, args: RunArgs) -> anyhow::Result<AgentOptions> {
    let mut workload = Environment::read(std::env::vars())?;
    if let Some(lifetime) = args.cert_ttl {
        workload.certificate_lifetime = lifetime;
    }
    let config = |key: &str| workload.proxy_config.get(key);
    let concurrency = args
        .concurrency
        .or_else(|| usize::try_from(config("concurrency")?.as_u64()?).ok())
        .filter(|threads| *threads > 0)
        .unwrap_or(2);
    let configured = |key: &str, default: u64| match config(key).and_then(|value| value.as_str()) {
        None => Ok(Duration::from_secs(default)),
        Some(text) => agent::duration(text)
            .map_err(|why| anyhow::anyhow!("proxy.istio.io/config: {key}: {why}")),
    };
    let termination_drain = match args.termination_drain_duration {
        Some(duration) => duration,
        None => configured("terminationDrainDuration", 5)?,
    };
    let drain_time = configured("drainDuration", 45)?;
    let cluster_id = workload.metadata.get("CLUSTER_ID").and_then(|id| id.as_str());
    let cluster_id = cluster_id.unwrap_or("Kubernetes").to_owned();
    let token = args.client_cert_dir.is_none().then_some(args.token);
    Ok(AgentOptions {
        role,
        proxy: match args.proxy {
            ProxyName::Mizzen => ProxyChoice::Mizzen,
            ProxyName::Envoy => ProxyChoice::Envoy { path: args.envoy_path },
        },
        discovery: Discovery {
            address: args.discovery_address,
            server_name: args.discovery_san,
            root_cert: (!args.plaintext).then_some(args.root_cert),
            token,
            client_cert_dir: args.client_cert_dir,
            cluster_id,
            socket_mark: args.socket_mark,
        },
        workload,
        domain: args.domain,
        run_dir: args.run_dir,
        dns: Dns { upstream: args.dns_upstream, upstream_resolv_conf: args.upstream_resolv_conf },
        ports: Ports::default(),
        concurrency,
        proxy_log_level: envoy_level(&args.log_level).to_owned(),
        termination_drain,
        drain_time,
        inherited: Vec::new(),
    })
}

/// Envoy's name for the level of a filter; a filter with targets means nothing to Envoy. Istio's
/// proxies log warnings unless told otherwise.
fn envoy_level(filter: &str) -> &str {
    match filter {
        "error" | "debug" | "trace" | "off" => filter,
        _ => "warning",
    }
}

fn listen_fd(text: &str) -> Result<(u16, i32), String> {
    let bad = || format!("`{text}` is not of the form PORT=FD, such as 8080=3");
    let (port, fd) = text.split_once('=').ok_or_else(bad)?;
    let fd = fd.parse().ok().filter(|fd| *fd > 2).ok_or_else(bad)?;
    Ok((port.parse().map_err(|_| bad())?, fd))
}

fn resolver(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .or_else(|_| text.parse().map(|address| SocketAddr::new(address, 53)))
        .map_err(|_| format!("`{text}` is not an address, such as 10.0.0.2 or 10.0.0.2:53"))
}
