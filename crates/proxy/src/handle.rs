//! How the process that started a proxy asks about it and steers it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A running proxy's readiness, drain and shutdown; clones are the same proxy.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ready: watch::Sender<bool>,
    failed_health: AtomicBool,
    drain: DrainFlag,
    inbound_drain: DrainFlag,
    shutdown: CancellationToken,
    connections: AtomicU64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            ready: watch::Sender::new(false),
            failed_health: AtomicBool::new(false),
            drain: DrainFlag::default(),
            inbound_drain: DrainFlag::default(),
            shutdown: CancellationToken::new(),
            connections: AtomicU64::new(0),
        }
    }
}

/// What an operator sees of a proxy's life (`server.state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for its first configuration.
    Initializing,
    /// Serves.
    Live,
    /// Lets open connections finish.
    Draining,
}

impl State {
    /// The name that Envoy's admin interface uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initializing => "INITIALIZING",
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
        }
    }

    /// The number that `server.state` shows.
    pub fn number(self) -> u64 {
        match self {
            Self::Live => 0,
            Self::Draining => 1,
            Self::Initializing => 3,
        }
    }
}

impl Handle {
    /// A handle for a proxy that is about to be started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the proxy is in its life.
    pub fn state(&self) -> State {
        if self.inner.drain.is_set() || self.inner.failed_health.load(Ordering::Relaxed) {
            State::Draining
        } else if *self.inner.ready.borrow() {
            State::Live
        } else {
            State::Initializing
        }
    }

    /// Whether clusters and listeners have arrived and all workers run. Once true, it stays so
    /// until a drain.
    pub fn is_ready(&self) -> bool {
        self.state() == State::Live
    }

    /// Waits until the proxy has become ready for the first time.
    pub async fn ready(&self) {
        let mut ready = self.inner.ready.subscribe();
        // The sender lives as long as `self`.
        let _still_there = ready.wait_for(|ready| *ready).await;
    }

    /// Asks clients to go away (`Connection: close`, GOAWAY) and, after the drain time, closes
    /// listeners. Open requests finish.
    pub fn drain(&self) {
        self.inner.drain.set();
        self.inner.inbound_drain.set();
    }

    /// As [`Handle::drain`], for inbound connections only: what an application still calls on its
    /// own way down goes on.
    pub fn drain_inbound(&self) {
        self.inner.inbound_drain.set();
    }

    /// Ends the proxy at once.
    pub fn shutdown(&self) {
        self.inner.shutdown.cancel();
    }

    /// How many downstream connections are open.
    pub fn active_connections(&self) -> u64 {
        self.inner.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ready(&self) {
        self.inner.ready.send_replace(true);
    }

    pub(crate) fn set_failed_health(&self, failed: bool) {
        self.inner.failed_health.store(failed, Ordering::Relaxed);
    }

    pub(crate) fn drain_flag(&self) -> &DrainFlag {
        &self.inner.drain
    }

    pub(crate) fn inbound_drain_flag(&self) -> &DrainFlag {
        &self.inner.inbound_drain
    }

    pub(crate) fn shutdown_token(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    pub(crate) fn connection_opened(&self) -> ConnectionGuard {
        self.inner.connections.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard { inner: Arc::clone(&self.inner) }
    }
}

/// Says once and for all that connections should go. Asking costs no lock; waiting does, once a
/// connection.
#[derive(Debug, Default)]
pub(crate) struct DrainFlag {
    set: AtomicBool,
    token: CancellationToken,
}

impl DrainFlag {
    pub(crate) fn set(&self) {
        self.set.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Waits until it is set.
    pub(crate) async fn wait(&self) {
        self.token.cancelled().await;
    }
}

/// Counts a downstream connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    inner: Arc<Inner>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.inner.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
