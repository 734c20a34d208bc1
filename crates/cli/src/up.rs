//! `mizzen up DIR`: the outer process. It has the terminal; the mesh itself runs in processes of its
//! own (see ARCHITECTURE.md) that end when this one does.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use local::event::Event;
use local::launch::{self, Events, GatewayAddress, Launch, LaunchError, Mesh};
use local::state::StateDir;
use local::status::{WorkloadStatus, XdsState};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::status;

mod progress;

use progress::Progress;

/// Run a whole mesh on this machine from a directory of Kubernetes and Istio YAML
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of YAML files; the mesh follows its changes
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Where sockets, logs and keys are kept [default: $MIZZEN_STATE_DIR, $XDG_RUNTIME_DIR/mizzen or
    /// /tmp/mizzen-UID]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where this machine reaches the ingress gateway's port 8080; with =PORT, another of its ports
    #[arg(long, value_name = "ADDRESS:PORT[=PORT]", default_value = "127.0.0.1:8080")]
    gateway_address: Vec<GatewayAddress>,
    /// How long workload certificates live
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    workload_cert_ttl: String,
    /// The stock Envoy for workloads annotated with proxy.mizzen.dev/type: envoy [default:
    /// $MIZZEN_ENVOY, the peers' cache, PATH]
    #[arg(long, value_name = "FILE")]
    envoy_path: Option<PathBuf>,
}

/// Runs the mesh until it is told to stop.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let launch = Launch {
        directory: launch::directory(&args.directory)?,
        state: StateDir::choose(args.state_dir.as_deref()),
        gateways: args.gateway_address.clone(),
        workload_cert_ttl: args.workload_cert_ttl.clone(),
        envoy: args.envoy_path.as_deref().map(std::path::absolute).transpose()?,
    };
    let checked = launch.check().inspect_err(|error| {
        if let LaunchError::Configuration { diagnostics, .. } = error {
            for diagnostic in diagnostics {
                anstream::eprintln!("{diagnostic}");
            }
        }
    })?;
    let progress = Progress::new();
    for warning in &checked.warnings {
        progress.line(warning);
    }
    progress.doing("entering namespaces");
    let (mesh, events) = launch.start(&checked)?;
    progress.doing("starting the control plane");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    let ended_well = runtime.block_on(follow(mesh, events, &launch.state, progress))?;
    runtime.shutdown_background();
    Ok(if ended_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows what happens until the mesh has ended. Gives whether it ended because it was asked to.
async fn follow(
    mut mesh: Mesh,
    events: Events,
    state: &StateDir,
    mut progress: Progress,
) -> anyhow::Result<bool> {
    let mut stop = Stop::new()?;
    let mut events = read(events);
    let mut asked = 0;
    let mut failed = false;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Settled) => show_table(state, &mut progress).await,
                Some(event) => {
                    failed |= matches!(event, Event::Failed { .. });
                    progress.show(&event);
                }
                None => break,
            },
            () = stop.asked() => {
                asked += 1;
                if asked == 1 {
                    progress.line("stopping; press Ctrl-C again to stop at once");
                    mesh.drain();
                } else {
                    mesh.kill();
                }
            }
        }
    }
    progress.finish();
    let clean = tokio::task::spawn_blocking(move || mesh.finish()).await?;
    if asked == 0 && !failed {
        let log = state.own_log("runtime");
        anyhow::bail!("the mesh ended by itself; see {}", log.display());
    }
    if asked > 0 {
        anstream::eprintln!("stopped");
    }
    Ok(asked > 0 && (clean || asked > 1))
}

/// The table, once the proxies have what follows from the last workload's being ready; after a few
/// seconds in any case.
async fn show_table(state: &StateDir, progress: &mut Progress) {
    let mut status = Ok(None);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        status = local::status::fetch(state).await;
        let pending = |workload: &WorkloadStatus| {
            workload.ready && workload.xds.is_some_and(|xds| xds != XdsState::Synced)
        };
        match &status {
            Ok(Some(status)) if status.workloads.iter().any(pending) => {}
            _ => break,
        }
    }
    match status {
        Ok(Some(status)) => progress.table(&status::table(&status)),
        Ok(None) => progress.line("the mesh is up, but its state socket is not there"),
        Err(error) => progress.line(&format!("the mesh is up, but does not say how: {error:#}")),
    }
}

/// Events from a thread of their own: their pipe is read blocking.
fn read(events: Events) -> mpsc::UnboundedReceiver<Event> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for event in events {
            if sender.send(event).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The signals that ask for an end: Ctrl-C, `kill`, and the terminal's going away.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
