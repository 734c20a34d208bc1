//! Stopping: signals cancel a token, tasks finish within a time, a second signal does not wait.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Exit status after a second signal, as a shell reports a process ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once with status
/// 130. Must be called inside a tokio runtime.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let mut seen = 0_u32;
        loop {
            let name = tokio::select! {
                Some(()) = terminate.recv() => "SIGTERM",
                Some(()) = interrupt.recv() => "SIGINT",
                else => return,
            };
            seen += 1;
            if seen > 1 {
                tracing::warn!(signal = name, "second signal: stopping at once");
                std::process::exit(INTERRUPTED);
            }
            tracing::info!(signal = name, "stopping");
            stop.cancel();
        }
    });
    Ok(token)
}

/// Tasks that are told to stop together and are waited for, for a bounded time.
#[derive(Clone, Debug)]
pub struct Drain {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// A drain that starts when `token` is cancelled.
    pub fn new(token: CancellationToken) -> Self {
        Self { token, tasks: TaskTracker::new() }
    }

    /// The token that tells tasks to stop.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Starts a task that [`Drain::finish`] waits for.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Cancels the token and waits until all tasks have ended, at most `limit`. True when all did.
    pub async fn finish(&self, limit: Duration) -> bool {
        self.token.cancel();
        self.tasks.close();
        let done = tokio::time::timeout(limit, self.tasks.wait()).await.is_ok();
        if !done {
            let running = self.tasks.len();
            tracing::warn!(running, ?limit, "tasks did not stop in time");
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_tasks_but_not_for_ever() {
        let drain = Drain::new(CancellationToken::new());
        let token = drain.token().clone();
        drain.spawn(async move { token.cancelled().await });
        assert!(drain.finish(Duration::from_secs(5)).await);

        let drain = Drain::new(CancellationToken::new());
        drain.spawn(std::future::pending::<()>());
        assert!(!drain.finish(Duration::from_millis(10)).await);
    }
}
