//! What the processes behind `mizzen up` tell the outer one: one JSON object a line on their
//! standard output. The outer process turns them into words on the terminal.

use std::io::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::status::Phase;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The namespaces exist and wait for their user mappings.
    Unshared,
    /// The mesh cannot start, or cannot go on; the process ends after this.
    Failed {
        /// Which part failed.
        stage: Stage,
        /// What and why.
        message: String,
        /// The system's error number, if it was a system call.
        errno: Option<i32>,
    },
    /// Something that a user should read now.
    Note {
        /// Plain text of one or more lines.
        message: String,
    },
    /// The control plane answers.
    ControlReady,
    /// A workload entered another phase.
    Workload {
        /// The workload's name.
        name: String,
        /// The new phase.
        phase: Phase,
        /// Why, when it is not running.
        message: Option<String>,
    },
    /// Everything that was asked for has either become ready or failed in a way that waiting does
    /// not mend.
    Settled,
    /// The mesh is being stopped.
    Draining,
}

/// The part of the start that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Entering the user namespace and those that it owns.
    Namespaces,
    /// The first use of a privilege inside: mounts.
    Mounts,
    /// The bridge and its links.
    Network,
    /// Everything after that.
    Runtime,
}

impl Event {
    /// Tells the outer process. That it does not listen any more is no reason to fail: the control
    /// pipe says when to stop.
    pub(crate) fn send(&self) {
        if let Ok(mut line) = serde_json::to_vec(self) {
            line.push(b'\n');
            let _ = io::stdout().lock().write_all(&line);
            let _ = io::stdout().lock().flush();
        }
    }
}
