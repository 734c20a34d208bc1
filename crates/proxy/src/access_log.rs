//! Access logs: what a line says, which requests get one, and the thread that writes them.

mod line;
mod writer;

use std::sync::Arc;

pub(crate) use line::AccessLog;
pub(crate) use writer::{LogBuffers, LogWriter};

use crate::format::Scope;

/// Writes a finished request or connection to the logs that want it.
pub(crate) fn log(logs: &[AccessLog], scope: &Scope<'_>) {
    for log in logs.iter().filter(|log| log.wants(scope.facts)) {
        let mut buffers = scope.facts.connection.worker.logs.borrow_mut();
        buffers.append(log.path(), |line| log.write(scope, line));
    }
}

/// A log's path, shared between its lines.
pub(crate) type LogPath = Arc<str>;
