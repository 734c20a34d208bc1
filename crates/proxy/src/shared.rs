//! What the threads of a proxy have in common.

use std::{
    sync::{Arc, OnceLock},
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;

use crate::{
    Handle,
    access_log::LogWriter,
    config::Dump,
    snapshot::Snapshot,
    stats::{LocalPeer, Registry},
    tls::SecretStore,
    worker::WorkerHandle,
};

/// One proxy.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: xds::Node,
    pub(crate) local: LocalPeer,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) registry: Registry,
    pub(crate) secrets: SecretStore,
    pub(crate) dump: Dump,
    pub(crate) handle: Handle,
    pub(crate) socket_mark: Option<u32>,
    pub(crate) drain_time: std::time::Duration,
    pub(crate) log_writer: LogWriter,
    pub(crate) workers: OnceLock<Vec<WorkerHandle>>,
    /// Set once: a certificate that is renewed keeps its name.
    pub(crate) principal: OnceLock<String>,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
}

impl Shared {
    /// The workers; none before they are started.
    pub(crate) fn workers(&self) -> &[WorkerHandle] {
        self.workers.get().map_or(&[], Vec::as_slice)
    }

    /// Our own identity: the URI name of the certificate `default`; empty until it has arrived.
    pub(crate) fn principal(&self) -> &str {
        self.principal.get().map_or("", String::as_str)
    }

    /// The configuration of the moment.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}
