//! The agent's HTTP servers: readiness for probes (15021), and readiness, merged metrics and
//! termination for operators (15020).

mod scrape;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{ConnectInfo, State},
    routing::{get, post},
};
use http::{StatusCode, header::CONTENT_TYPE};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{environment::ApplicationMetrics, metrics::Metrics, steering::Steering};

/// The media type of Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the servers show and can start.
#[derive(Clone)]
pub(crate) struct Status {
    pub(crate) steering: Steering,
    pub(crate) metrics: Metrics,
    /// The proxy's metrics port.
    pub(crate) prometheus_port: u16,
    /// The application's metrics; none for gateways, which have no application.
    pub(crate) application: Option<ApplicationMetrics>,
    /// Whether a drain is for inbound connections only.
    pub(crate) inbound_only: bool,
    /// Ends the agent without a drain.
    pub(crate) quit: CancellationToken,
    pub(crate) started: Instant,
    /// Held while a page of metrics is put together.
    pub(crate) scraping: Arc<Mutex<()>>,
}

impl Status {
    /// The probe's server.
    pub(crate) fn probe_router(self) -> Router {
        Router::new().route("/healthz/ready", get(ready)).with_state(self)
    }

    /// The operator's server.
    pub(crate) fn operator_router(self) -> Router {
        Router::new()
            .route("/healthz/ready", get(ready))
            .route("/stats/prometheus", get(metrics))
            .route("/quitquitquit", post(quit))
            .route("/drain", post(drain))
            .with_state(self)
    }
}

async fn ready(State(status): State<Status>) -> (StatusCode, String) {
    match status.steering.readiness().await {
        Ok(()) => {
            let seconds = &status.metrics.startup_seconds;
            if seconds.get() == 0.0 {
                seconds.set(status.started.elapsed().as_secs_f64());
            }
            (StatusCode::OK, "ready\n".to_owned())
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

async fn metrics(
    State(status): State<Status>,
) -> (StatusCode, [(http::HeaderName, &'static str); 1], String) {
    (StatusCode::OK, [(CONTENT_TYPE, TEXT_FORMAT)], scrape::merged(&status).await)
}

async fn quit(
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    State(status): State<Status>,
) -> (StatusCode, &'static str) {
    if !client.ip().is_loopback() {
        return (StatusCode::FORBIDDEN, "only from the workload itself\n");
    }
    tracing::info!("asked to quit");
    status.quit.cancel();
    (StatusCode::OK, "OK\n")
}

async fn drain(
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    State(status): State<Status>,
) -> (StatusCode, &'static str) {
    if !client.ip().is_loopback() {
        return (StatusCode::FORBIDDEN, "only from the workload itself\n");
    }
    tracing::info!("asked to drain");
    status.steering.drain(status.inbound_only).await;
    (StatusCode::OK, "OK\n")
}

#[cfg(test)]
mod tests;
