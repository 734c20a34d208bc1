//! The control plane as a supervised child of the runtime, in the mesh's root network namespace.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::address;
use crate::backoff::Policy;
use crate::launch::Options;
use crate::replica::World;
use crate::status::ControlStatus;
use crate::supervise::{Ending, SELF, State, Supervisor};
use daemon::http_client;

/// How long a readiness request may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the last pushes and streams when it is told to end.
const GRACE: Duration = Duration::from_secs(3);

/// The control plane's state, for the others.
#[derive(Debug)]
pub(crate) struct Control {
    status: Mutex<ControlStatus>,
    socket: PathBuf,
    changed: Arc<Notify>,
}

impl Control {
    /// Not started yet.
    pub(crate) fn new(options: &Options, changed: Arc<Notify>) -> Self {
        Self { status: Mutex::default(), socket: options.state.debug_socket(), changed }
    }

    /// How it does.
    pub(crate) fn status(&self) -> ControlStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs it until told to stop.
    pub(crate) async fn run(&self, world: &World, log: File, stop: CancellationToken) {
        let supervisor = Supervisor {
            policy: Policy::Infrastructure,
            ending: Ending::Process(GRACE),
            log: &log,
        };
        let process = supervisor.run(|| Ok(command(world).into()), |state| self.note(state), &stop);
        tokio::select! {
            () = process => {}
            () = self.watch_readiness() => {}
        }
    }

    fn note(&self, state: State) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.ready = false;
        match state {
            State::Pending => {}
            State::Running { pid } => status.process = Some(pid),
            State::Waiting { message, .. } | State::Failed { message } => {
                tracing::error!("control plane: {message}");
                status.process = None;
                status.restarts = status.restarts.saturating_add(1);
                status.message = Some(message);
            }
        }
        drop(status);
        self.changed.notify_one();
    }

    /// Takes over what the process `asked` said.
    fn set_ready(&self, ready: bool, asked: Option<i32>) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.ready != ready && status.process == asked {
            status.ready = ready;
            self.changed.notify_one();
        }
    }

    /// Asks for readiness: often until it is there, then now and then. Never ends.
    async fn watch_readiness(&self) {
        loop {
            let running = self.status().process;
            let ready = running.is_some()
                && http_client::get(&self.socket, "/ready", TIMEOUT)
                    .await
                    .is_ok_and(|(code, _)| code == 200);
            self.set_ready(ready, running);
            tokio::time::sleep(Duration::from_millis(if ready { 1000 } else { 50 })).await;
        }
    }
}

fn command(world: &World) -> Command {
    let options = &world.options;
    let state = &options.state;
    let mut command = Command::new(SELF);
    command
        .arg0("mizzen")
        .arg("control")
        .arg("--config")
        .arg(&options.directory)
        .arg("--config")
        .arg(state.registry())
        .arg("--ca-dir")
        .arg(state.ca())
        .arg("--token-key")
        .arg(state.token_key())
        .arg("--grpc-address")
        .arg(address::CONTROL_PLANE.to_string())
        .arg("--debug-socket")
        .arg(state.debug_socket())
        .arg("--workload-cert-ttl")
        .arg(&options.workload_cert_ttl)
        .arg("--trust-domain")
        .arg(&world.trust_domain);
    command
}
