//! Starts the parts of a proxy, and keeps them running until it is shut down.

use std::{
    sync::{Arc, OnceLock},
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;

use crate::{
    Bootstrap, Handle, ProxyError, access_log::LogWriter, admin, config, shared::Shared,
    snapshot::Snapshot, stats::LocalPeer, worker,
};

/// Runs a proxy until [`Handle::shutdown`].
///
/// # Errors
/// When the admin interface cannot listen or a worker cannot be started.
pub async fn run(bootstrap: Bootstrap, handle: Handle) -> Result<(), ProxyError> {
    let log_writer =
        LogWriter::start().map_err(|source| ProxyError::Worker { index: 0, source })?;
    let shared = Arc::new(Shared {
        local: LocalPeer::new(&bootstrap.node),
        node: bootstrap.node,
        snapshot: ArcSwap::from_pointee(Snapshot::default()),
        registry: crate::stats::Registry::default(),
        secrets: crate::tls::SecretStore::default(),
        dump: config::Dump::default(),
        handle: handle.clone(),
        socket_mark: bootstrap.socket_mark,
        drain_time: bootstrap.drain_time,
        log_writer,
        workers: OnceLock::new(),
        principal: OnceLock::new(),
        started: Instant::now(),
        started_at: SystemTime::now(),
    });
    let places = admin::Places {
        tcp: bootstrap.admin_address,
        unix: bootstrap.admin_socket,
        stats: bootstrap.stats_address,
    };
    admin::start(&shared, places)?;
    let workers = worker::start(&shared, bootstrap.concurrency)?;
    let server = &shared.registry.server;
    server.concurrency.set(workers.len() as u64);
    server.workers_started.set(1);
    server.live.set(1);
    if shared.workers.set(workers).is_err() {
        tracing::debug!("the workers were started twice");
    }
    config::run(config::Inputs {
        shared: Arc::clone(&shared),
        ads: bootstrap.ads,
        sds: bootstrap.sds,
        inherited: bootstrap.inherited,
    })
    .await;
    Ok(())
}
