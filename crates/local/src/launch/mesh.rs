//! A started mesh, as the outer process holds it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::Duration;

use super::LaunchError;
use crate::boot::GO;
use crate::event::{Event, Stage};
use crate::state::{Lock, StateDir};
use crate::userns;

/// A mesh that is starting or running.
#[derive(Debug)]
pub struct Mesh {
    pub(super) boot: Child,
    pub(super) control: ChildStdin,
    pub(super) state: StateDir,
    pub(super) _lock: Lock,
}

/// What the mesh tells, in order; ends with the mesh.
#[derive(Debug)]
pub struct Events(pub(super) BufReader<ChildStdout>);

impl Mesh {
    pub(super) fn map_users(&mut self, events: &mut Events) -> Result<(), LaunchError> {
        match events.next() {
            Some(Event::Unshared) => {}
            Some(Event::Failed { stage, message, errno }) => {
                return Err(LaunchError::Namespaces(userns::explain(stage, &message, errno)));
            }
            _ => {
                let log = self.state.own_log("runtime");
                let message = format!("it ended at once; see {}", log.display());
                return Err(io::Error::other(message).into());
            }
        }
        userns::map(self.boot.id()).map_err(|error| {
            let message = format!("users cannot be mapped into it ({error})");
            LaunchError::Namespaces(userns::explain(
                Stage::Namespaces,
                &message,
                error.raw_os_error(),
            ))
        })?;
        self.control.write_all(GO)?;
        Ok(())
    }

    /// The process that stands for the mesh on the host.
    #[must_use]
    pub fn boot_pid(&self) -> u32 {
        self.boot.id()
    }

    /// Asks the mesh to drain and end.
    pub fn drain(&mut self) {
        let _ = self.control.write_all(b"drain\n");
    }

    /// Ends every process of the mesh at once.
    pub fn kill(&mut self) {
        let _ = self.boot.kill();
    }

    /// Waits until no process of the mesh is left, then removes what it had in the state directory.
    /// Gives whether it ended well.
    pub fn finish(mut self) -> bool {
        let status = self.boot.wait();
        // The first process inside dies with `boot`, but not in the same instant.
        let gone = Duration::from_millis(20);
        for _ in 0..50 {
            if std::os::unix::net::UnixStream::connect(self.state.socket()).is_err() {
                break;
            }
            std::thread::sleep(gone);
        }
        self.state.clean();
        self.state.remove_lock();
        status.is_ok_and(|status| status.success())
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match serde_json::from_str(&line) {
                Ok(event) => return Some(event),
                Err(error) => tracing::debug!("not an event: {line:?}: {error}"),
            }
        }
    }
}
