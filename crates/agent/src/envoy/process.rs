//! Envoy as a child process. When it ends, the agent ends; when the agent ends, however, it ends.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use super::bootstrap;
use crate::options::AgentOptions;

/// How long Envoy has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);
/// The bootstrap's file in the run directory.
const FILE: &str = "envoy.json";

/// A running Envoy.
pub(crate) struct EnvoyProcess {
    child: Child,
}

impl EnvoyProcess {
    /// Writes the bootstrap and starts Envoy with it.
    ///
    /// # Errors
    /// With the file in the message.
    pub(crate) fn start(options: &AgentOptions, executable: &Path) -> io::Result<Self> {
        let file = options.run_dir.join(FILE);
        let json = serde_json::to_vec_pretty(&bootstrap(options))?;
        std::fs::write(&file, json).map_err(|error| explain(&error, &file))?;
        // Envoy refuses to listen where a dead one left its socket.
        match std::fs::remove_file(options.run_dir.join("admin.sock")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut command = Command::new(executable);
        command
            .args(arguments(options))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        die_with_parent(&mut command);
        let mut child = command.spawn().map_err(|error| explain(&error, executable))?;
        // Envoy opens /dev/stdout again for its access log, which fails if the file behind ours
        // belongs to another user. A pipe of our own does not.
        if let Some(mut output) = child.stdout.take() {
            tokio::spawn(async move {
                if let Err(error) = tokio::io::copy(&mut output, &mut tokio::io::stdout()).await {
                    tracing::warn!(%error, "Envoy's standard output is not passed on any more");
                    // Envoy must not stand still because nobody reads what it writes.
                    if let Err(error) = tokio::io::copy(&mut output, &mut tokio::io::sink()).await {
                        tracing::debug!(%error, "Envoy's standard output");
                    }
                }
            });
        }
        tracing::info!(pid = child.id(), executable = %executable.display(), "Envoy started");
        Ok(Self { child })
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it: SIGTERM, and SIGKILL if that does not suffice.
    pub(crate) async fn stop(&mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended by itself already.
            if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM) {
                tracing::debug!(%error, pid, "Envoy could not be asked to end");
            }
        }
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err()
            && let Err(error) = self.child.kill().await
        {
            tracing::warn!(%error, "Envoy could not be ended");
        }
    }
}

/// Istio's arguments.
pub(crate) fn arguments(options: &AgentOptions) -> Vec<String> {
    let version = if options.workload.addresses.first().is_some_and(std::net::IpAddr::is_ipv6) {
        "v6"
    } else {
        "v4"
    };
    let pairs = [
        ("--drain-time-s", options.drain_time.as_secs().to_string()),
        ("--drain-strategy", "immediate".to_owned()),
        ("--local-address-ip-version", version.to_owned()),
        ("--file-flush-interval-msec", "1000".to_owned()),
        ("--concurrency", options.concurrency.to_string()),
        ("-l", options.proxy_log_level.clone()),
        ("--component-log-level", "misc:error".to_owned()),
    ];
    let flags = ["--disable-hot-restart", "--allow-unknown-static-fields"];
    flags
        .into_iter()
        .map(str::to_owned)
        .chain(pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]))
        .collect()
}

/// Envoy must not outlive an agent that was killed: it would hold ports that the next one needs.
#[expect(unsafe_code, reason = "the kernel's parent-death signal can only be set in the child")]
fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let prepare = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the signal was asked for.
        if u32::try_from(nix::unistd::getppid().as_raw()) != Ok(parent) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        Ok(())
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

fn explain(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
