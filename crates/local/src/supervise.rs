//! Keeping one process alive: start it, tell how it does, start it again with a growing delay, and
//! end it with a grace period.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, Policy};
use crate::inherited;

/// This very program, however it is reached: its directory may be closed to the user that a child
/// becomes before it is executed, and its file may have been replaced meanwhile.
pub(crate) const SELF: &str = "/proc/self/exe";

/// A process that is ready to be started.
#[derive(Debug)]
pub(crate) struct Start {
    /// What to execute.
    pub(crate) command: Command,
    /// Descriptors that it inherits.
    pub(crate) inherited: Vec<OwnedFd>,
}

impl From<Command> for Start {
    fn from(command: Command) -> Self {
        Self { command, inherited: Vec::new() }
    }
}

/// How a process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not been started.
    Pending,
    /// It runs.
    Running {
        /// Its id in this PID namespace.
        pid: i32,
    },
    /// It ended, and will be started again.
    Waiting {
        /// How it ended.
        message: String,
        /// Whether it ended more than once in a row.
        looping: bool,
    },
    /// It could not be started at all; that is tried again.
    Failed {
        /// Why.
        message: String,
    },
}

/// Who gets the signal that asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process alone: it has its own way to end its children.
    Process(Duration),
    /// All that it started, too.
    Group(Duration),
}

/// How one process is kept alive.
#[derive(Debug)]
pub(crate) struct Supervisor<'a> {
    /// The delays.
    pub(crate) policy: Policy,
    /// The end; the time is from SIGTERM to SIGKILL.
    pub(crate) ending: Ending,
    /// Where its output goes.
    pub(crate) log: &'a File,
}

impl Supervisor<'_> {
    /// Runs the process until told to stop, and returns when it and its group are gone.
    pub(crate) async fn run(
        &self,
        mut prepare: impl FnMut() -> Result<Start, String>,
        report: impl Fn(State),
        stop: &CancellationToken,
    ) {
        let mut backoff = Backoff::new(self.policy);
        while !stop.is_cancelled() {
            let began = Instant::now();
            let failure = match self.spawn(&mut prepare) {
                Ok(mut child) => {
                    let pid = id(&child);
                    report(State::Running { pid: pid.as_raw() });
                    let ended = tokio::select! {
                        ended = child.wait() => ended,
                        () = stop.cancelled() => {
                            self.end(&mut child, pid).await;
                            return;
                        }
                    };
                    let _ = killpg(pid, Signal::SIGKILL);
                    Ok(ended.map_or_else(|error| error.to_string(), describe))
                }
                Err(message) => Err(message),
            };
            let delay = backoff.next(began.elapsed());
            report(match failure {
                Ok(message) => State::Waiting { message, looping: backoff.is_crash_loop() },
                Err(message) => State::Failed { message },
            });
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    fn spawn(&self, prepare: &mut impl FnMut() -> Result<Start, String>) -> Result<Child, String> {
        let output = || self.log.try_clone().map_err(|error| format!("its log: {error}"));
        let (stdout, stderr) = (output()?, output()?);
        let _guard = inherited::spawning();
        let Start { mut command, inherited } = prepare()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot be started: {error}"));
        drop(inherited);
        child
    }

    async fn end(&self, child: &mut Child, pid: Pid) {
        let grace = match self.ending {
            Ending::Process(grace) => {
                let _ = kill(pid, Signal::SIGTERM);
                grace
            }
            Ending::Group(grace) => {
                let _ = killpg(pid, Signal::SIGTERM);
                grace
            }
        };
        let ended = tokio::time::timeout(grace, child.wait()).await;
        let _ = killpg(pid, Signal::SIGKILL);
        if ended.is_err() {
            let _ = child.wait().await;
        }
    }
}

/// Runs a process once, to its end.
///
/// # Errors
/// When it cannot be started or does not exit with 0; the message says which.
pub(crate) async fn run_once(mut command: Command, log: &File) -> Result<(), String> {
    let output = || log.try_clone().map_err(|error: io::Error| format!("its log: {error}"));
    command.stdin(Stdio::null()).stdout(output()?).stderr(output()?).kill_on_drop(true);
    let child = {
        let _guard = inherited::spawning();
        command.spawn()
    };
    let status = match child {
        Ok(mut child) => child.wait().await.map_err(|error| error.to_string())?,
        Err(error) => return Err(format!("cannot be started: {error}")),
    };
    if status.success() { Ok(()) } else { Err(describe(status)) }
}

fn id(child: &Child) -> Pid {
    // A child that was not waited for has an id; 0 would mean ourselves.
    Pid::from_raw(child.id().map_or(i32::MAX, u32::cast_signed))
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("ended by {signal}"),
            Err(_) => format!("ended by signal {signal}"),
        },
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn a_process_is_restarted_and_ended() {
        let log = tempfile::tempfile().unwrap();
        let supervisor = Supervisor {
            policy: Policy::Infrastructure,
            ending: Ending::Group(Duration::from_secs(5)),
            log: &log,
        };
        let states = Mutex::new(Vec::new());
        let stop = CancellationToken::new();
        let starts = Mutex::new(0);
        let prepare = || {
            let mut starts = starts.lock().unwrap();
            *starts += 1;
            let mut command = Command::new("sh");
            command.args(["-c", if *starts == 1 { "exit 3" } else { "sleep 60 & wait" }]);
            Ok(command.into())
        };
        let report = |state: State| {
            let mut states = states.lock().unwrap();
            if states.len() == 2 && matches!(state, State::Running { .. }) {
                stop.cancel();
            }
            states.push(state);
        };
        let began = Instant::now();
        supervisor.run(prepare, report, &stop).await;
        let states = states.into_inner().unwrap();
        let message = "exited with code 3".to_owned();
        assert_eq!(states[1], State::Waiting { message, looping: false });
        assert_eq!(states.len(), 3);
        assert!(began.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn what_cannot_start_says_why() {
        let log = tempfile::tempfile().unwrap();
        let supervisor = Supervisor {
            policy: Policy::Infrastructure,
            ending: Ending::Process(Duration::ZERO),
            log: &log,
        };
        let stop = CancellationToken::new();
        let seen = Mutex::new(None);
        let report = |state| {
            *seen.lock().unwrap() = Some(state);
            stop.cancel();
        };
        supervisor.run(|| Err("command \"x\" not found in PATH".to_owned()), report, &stop).await;
        let message = "command \"x\" not found in PATH".to_owned();
        assert_eq!(seen.into_inner().unwrap(), Some(State::Failed { message }));
    }
}
