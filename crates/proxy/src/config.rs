//! Configuration: takes resources from the control plane and secrets from the agent, warms what is
//! new before it lets go of what is old, and publishes snapshots for workers.
//!
//! One task owns all of it. The last good configuration is kept whatever happens to the streams.

mod clusters;
mod dns;
mod dump;
mod link;
mod listeners;
mod routes;
mod sockets;
mod store;
mod task;

pub(crate) use dump::{Dump, Entry};
pub(crate) use task::{Inputs, run};

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

/// How long something new may wait for what it needs before it is used without (Envoy's default
/// `initial_fetch_timeout`).
const WARMING_TIMEOUT: Duration = Duration::from_secs(15);
/// How long something that is gone is kept for those who still refer to it.
const GONE_TIMEOUT: Duration = Duration::from_secs(60);

/// A resource in use, and the one that will replace it once it is warm.
#[derive(Debug)]
struct Slot<T> {
    active: Option<Arc<T>>,
    warming: Option<(Arc<T>, Instant)>,
    /// Since when the control plane has said that it is gone.
    gone: Option<Instant>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { active: None, warming: None, gone: None }
    }
}

impl<T> Slot<T> {
    /// The newest value, whether in use or not.
    fn newest(&self) -> Option<&Arc<T>> {
        self.warming.as_ref().map(|(value, _)| value).or(self.active.as_ref())
    }

    fn warm(&mut self, value: T) {
        self.gone = None;
        self.warming = Some((Arc::new(value), Instant::now()));
    }
}
