//! Serving an axum router on a TCP or Unix socket until told to stop.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

/// A listening socket of either kind.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket; its file stays when the listener closes.
    Unix(UnixListener),
}

impl Listener {
    /// The TCP address; `None` for Unix sockets.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Serves until `stop` is cancelled and open requests have ended. TCP handlers can extract
/// `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(listener: Listener, router: Router, stop: CancellationToken) -> io::Result<()> {
    let stopped = stop.cancelled_owned();
    match listener {
        Listener::Tcp(listener) => {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).with_graceful_shutdown(stopped).await
        }
        Listener::Unix(listener) => {
            let service = router.into_make_service();
            axum::serve(listener, service).with_graceful_shutdown(stopped).await
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{Readiness, TcpOptions, bind_tcp, bind_unix, metrics_router, ready_router};

    async fn ask(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite, path: &str) -> String {
        let mut stream = std::pin::pin!(stream);
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn serves_readiness_and_metrics_on_both_kinds_of_socket() {
        let readiness = Readiness::new();
        let gate = readiness.gate("config");
        let registry = prometheus::Registry::new();
        let counter = prometheus::IntCounter::new("test_total", "a test").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc();
        let router = ready_router("/ready", readiness).merge(metrics_router("/metrics", registry));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let tcp = bind_tcp("127.0.0.1:0".parse().unwrap(), TcpOptions::default()).unwrap();
        let address = tcp.local_addr().unwrap();
        let unix = bind_unix(&path).unwrap();
        let stop = CancellationToken::new();
        let a = tokio::spawn(serve(tcp.into(), router.clone(), stop.clone()));
        let b = tokio::spawn(serve(unix.into(), router, stop.clone()));
        let tcp = || tokio::net::TcpStream::connect(address);
        let answer = ask(tcp().await.unwrap(), "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("config"), "{answer}");
        gate.open();
        let unix = tokio::net::UnixStream::connect(&path).await.unwrap();
        assert!(ask(unix, "/ready").await.starts_with("HTTP/1.1 200"));
        assert!(ask(tcp().await.unwrap(), "/metrics").await.contains("test_total 1"));
        stop.cancel();
        a.await.unwrap().unwrap();
        b.await.unwrap().unwrap();
    }
}
