//! The admin interface, with the paths and forms of Envoy's, on a TCP address and a Unix socket;
//! and the page of metrics on an address of its own.

mod clusters;
mod dump;
mod pages;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Router,
    routing::{get, post},
};
use daemon::{Listener, TcpOptions, bind_tcp, bind_unix};

use crate::{ProxyError, shared::Shared};

/// Where the pages are served.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) tcp: Option<SocketAddr>,
    pub(crate) unix: Option<PathBuf>,
    pub(crate) stats: Option<SocketAddr>,
}

/// Starts serving; ends with the proxy.
pub(crate) fn start(shared: &Arc<Shared>, places: Places) -> Result<(), ProxyError> {
    let router = router(Arc::clone(shared));
    if let Some(address) = places.tcp {
        let listener =
            bind_tcp(address, TcpOptions::default()).map_err(|source| ProxyError::Listen {
                purpose: "the admin interface",
                address: address.to_string(),
                source,
            })?;
        spawn(shared, listener.into(), router.clone());
    }
    if let Some(path) = places.unix {
        let listener = bind_unix(&path).map_err(|source| ProxyError::Listen {
            purpose: "the admin interface",
            address: path.display().to_string(),
            source,
        })?;
        spawn(shared, listener.into(), router);
    }
    if let Some(address) = places.stats {
        let listener = bind_tcp(address, TcpOptions::default()).map_err(|source| {
            ProxyError::Listen { purpose: "metrics", address: address.to_string(), source }
        })?;
        let router = Router::new()
            .route("/stats/prometheus", get(pages::prometheus))
            .route("/metrics", get(pages::prometheus))
            .with_state(Arc::clone(shared));
        spawn(shared, listener.into(), router);
    }
    Ok(())
}

fn spawn(shared: &Shared, listener: Listener, router: Router) {
    let stop = shared.handle.shutdown_token().clone();
    tokio::spawn(daemon::serve(listener, router, stop));
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(pages::help))
        .route("/help", get(pages::help))
        .route("/ready", get(pages::ready))
        .route("/server_info", get(pages::server_info))
        .route("/stats", get(pages::stats))
        .route("/stats/prometheus", get(pages::prometheus))
        .route("/config_dump", get(dump::config_dump))
        .route("/certs", get(dump::certs))
        .route("/clusters", get(clusters::clusters))
        .route("/listeners", get(pages::listeners))
        .route("/memory", get(pages::memory))
        .route("/drain_listeners", post(pages::drain_listeners))
        .route("/healthcheck/fail", post(pages::healthcheck_fail))
        .route("/healthcheck/ok", post(pages::healthcheck_ok))
        .route("/quitquitquit", post(pages::quit))
        .route("/logging", post(pages::logging))
        .with_state(shared)
}
