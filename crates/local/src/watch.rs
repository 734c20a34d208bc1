//! Tells when something in the user's directory may have changed. What did is found by reading.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Editors write a file in several steps; this long without a new one means that they are done.
const QUIET: Duration = Duration::from_millis(100);
/// A directory that never is quiet is read this often.
const PATIENCE: Duration = Duration::from_millis(400);
/// How often the directory is read where the system cannot tell of changes.
const POLL: Duration = Duration::from_secs(1);

/// Watches a directory, in a task of its own: waiting for quiet must not be interrupted.
#[derive(Debug)]
pub(crate) struct Watch {
    dirty: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts to watch. When the system refuses (too many watches, a file system without events),
    /// the directory is read every second instead.
    pub(crate) fn new(directory: &Path) -> Self {
        let (sender, changes) = mpsc::channel(1);
        let notice = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| !event.kind.is_access()) {
                // One waiting notice is as good as many.
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(notice).and_then(|mut watcher| {
            watcher.watch(directory, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!("{}: reading it every second: {error}", directory.display());
            })
            .ok();
        let dirty = Arc::new(Notify::new());
        let task = tokio::spawn(follow(watcher, changes, Arc::clone(&dirty)));
        Self { dirty, task }
    }

    /// Returns when it is time to read the directory again. May be dropped and called anew.
    pub(crate) async fn changed(&self) {
        self.dirty.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    watcher: Option<RecommendedWatcher>,
    mut changes: mpsc::Receiver<()>,
    dirty: Arc<Notify>,
) {
    while watcher.is_some() && changes.recv().await.is_some() {
        wait_for_quiet(&mut changes).await;
        dirty.notify_one();
    }
    loop {
        tokio::time::sleep(POLL).await;
        dirty.notify_one();
    }
}

async fn wait_for_quiet(changes: &mut mpsc::Receiver<()>) {
    let latest = Instant::now() + PATIENCE;
    loop {
        let quiet = (Instant::now() + QUIET).min(latest);
        if timeout_at(quiet, changes.recv()).await.is_err() || Instant::now() >= latest {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_is_one_change() {
        let directory = tempfile::tempdir().unwrap();
        let watch = Watch::new(directory.path());
        for text in ["a", "b", "c"] {
            std::fs::write(directory.path().join("x.yaml"), text).unwrap();
        }
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.unwrap();
        let again = tokio::time::timeout(Duration::from_millis(300), watch.changed()).await;
        assert!(again.is_err());
    }
}
