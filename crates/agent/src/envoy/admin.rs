//! Envoy's admin interface on its Unix socket: questions, drain, and the relay that makes it
//! reachable at Istio's address inside the network namespace too (Envoy itself listens on one
//! address only).

use std::{io, path::PathBuf, time::Duration};

use daemon::http_client;
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The largest answer that is read.
const LARGEST: usize = 10 * 1024 * 1024;

/// A client of the admin interface.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    socket: PathBuf,
}

impl Admin {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Whether the server is live: initialised, not draining.
    pub(crate) async fn is_live(&self) -> bool {
        matches!(self.ask(Method::GET, "/ready").await, Ok((StatusCode::OK, _)))
    }

    /// Whether clusters and listeners have arrived and the workers run.
    pub(crate) async fn is_configured(&self) -> bool {
        const PATH: &str = "/stats?filter=^(cluster_manager.cds.update_success|\
                            listener_manager.lds.update_success|\
                            listener_manager.workers_started)$";
        let Ok((_, text)) = self.ask(Method::GET, PATH).await else { return false };
        let values = statistics(&text);
        values.len() == 3 && values.iter().all(|(_, value)| *value > 0)
    }

    /// Open connections of clients, without those that ask for metrics.
    pub(crate) async fn active_connections(&self) -> Option<u64> {
        let path = r"/stats?filter=^listener\..*\.downstream_cx_active$";
        let (_, text) = self.ask(Method::GET, path).await.ok()?;
        let listeners = statistics(&text).into_iter().filter(|(name, _)| {
            !name.contains(".worker_")
                && !name.starts_with("listener.admin.")
                && !name.starts_with("listener.0.0.0.0_15090.")
        });
        Some(listeners.map(|(_, value)| value).sum())
    }

    /// Asks clients to go away and stops accepting.
    pub(crate) async fn drain(&self, inbound_only: bool) {
        let path = if inbound_only {
            "/drain_listeners?inboundonly&graceful"
        } else {
            "/drain_listeners?graceful"
        };
        match self.ask(Method::POST, path).await {
            Ok((StatusCode::OK, _)) => tracing::info!(inbound_only, "Envoy drains"),
            Ok((status, text)) => tracing::warn!(%status, text, "Envoy did not drain"),
            Err(error) => tracing::warn!(error, "Envoy did not drain"),
        }
    }

    async fn ask(&self, method: Method, path: &str) -> Result<(StatusCode, String), String> {
        let asked = async {
            let stream = UnixStream::connect(&self.socket).await.map_err(|e| e.to_string())?;
            request(stream, method, "admin", path).await
        };
        tokio::time::timeout(TIMEOUT, asked).await.map_err(|_| "no answer".to_owned())?
    }

    /// Passes connections of a TCP address on to the socket, until dropped.
    pub(crate) async fn relay(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    let socket = self.socket.clone();
                    tokio::spawn(async move {
                        if let Err(error) = pass(client, socket).await {
                            tracing::debug!(%error, "admin relay");
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "admin relay: accepting failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

async fn pass(mut client: TcpStream, socket: PathBuf) -> io::Result<()> {
    let mut envoy = UnixStream::connect(socket).await?;
    tokio::io::copy_bidirectional(&mut client, &mut envoy).await?;
    Ok(())
}

/// One request on a new connection, and its answer as text.
pub(crate) async fn request(
    stream: impl http_client::Stream,
    method: Method,
    host: &str,
    path: &str,
) -> Result<(StatusCode, String), String> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("accept", "text/plain;version=0.0.4")
        .header("connection", "close")
        .body(Empty::new())
        .map_err(|e| e.to_string())?;
    let answer = http_client::send(stream, request, LARGEST).await;
    let (status, body) = answer.map_err(|error| error.to_string())?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Lines of the form `name: value`.
fn statistics(text: &str) -> Vec<(&str, u64)> {
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(name, value)| Some((name, value.trim().parse().ok()?)))
        .collect()
}
