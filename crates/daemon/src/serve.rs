//! Serving an axum router on a TCP or Unix socket until told to stop.
//!
//! These pages share a process with the data plane, so what strangers can hold of it is bounded:
//! a client that is silent is closed, and a flood of connections costs the oldest of them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long a client may take to send a request's head, and stay idle between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Connections that one listener has at a time. One more ends the oldest: a flood must not keep a
/// readiness probe out, nor use up the process's file descriptors.
const CONNECTIONS: usize = 512;
/// How long to wait after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket of either kind.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket; its file stays when the listener closes.
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Box::new(stream), Some(peer)))
            }
            Self::Unix(listener) => Ok((Box::new(listener.accept().await?.0), None)),
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

/// Serves HTTP/1 until `stop` is cancelled and open requests have ended. TCP handlers can extract
/// `ConnectInfo<SocketAddr>`.
pub async fn serve(listener: Listener, router: Router, stop: CancellationToken) {
    let mut connections = Connections { stop, tasks: JoinSet::new(), oldest: VecDeque::new() };
    loop {
        let accepted = tokio::select! {
            () = connections.stop.cancelled() => break,
            // What has ended is only taken off the list.
            Some(_) = connections.tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, Some(peer))) => {
                connections.add(stream, router.clone().layer(Extension(ConnectInfo(peer))));
            }
            Ok((stream, None)) => connections.add(stream, router.clone()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.tasks.join_next().await.is_some() {}
}

/// The open connections of one listener.
struct Connections {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// All that are open and perhaps some that have ended.
    oldest: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, stream: Box<dyn Stream>, router: Router) {
        if self.tasks.len() >= CONNECTIONS {
            self.oldest.retain(|task| !task.is_finished());
            if let Some(oldest) = self.oldest.pop_front() {
                tracing::debug!(limit = CONNECTIONS, "too many connections: closing the oldest");
                oldest.abort();
            }
        }
        if self.oldest.len() >= 2 * CONNECTIONS {
            self.oldest.retain(|task| !task.is_finished());
        }
        let task = self.tasks.spawn(answer(stream, router, self.stop.clone()));
        self.oldest.push_back(task);
    }
}

/// What HTTP can be spoken over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Answers one connection's requests.
async fn answer(stream: impl Stream, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection ended");
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
        a.await.unwrap();
        b.await.unwrap();
    }

    #[tokio::test]
    async fn a_flood_of_silent_connections_keeps_nobody_out() {
        let tcp = bind_tcp("127.0.0.1:0".parse().unwrap(), TcpOptions::default()).unwrap();
        let address = tcp.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = ready_router("/ready", Readiness::new());
        let server = tokio::spawn(serve(tcp.into(), router, stop.clone()));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS + 10 {
            silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        let probe = tokio::net::TcpStream::connect(address).await.unwrap();
        assert!(ask(probe, "/ready").await.starts_with("HTTP/1.1 200"));
        // The oldest was closed for it, the newest is open.
        let mut oldest = silent.remove(0);
        assert_eq!(oldest.read(&mut [0; 8]).await.unwrap_or_default(), 0);
        let newest = silent.pop().unwrap();
        assert!(ask(newest, "/ready").await.starts_with("HTTP/1.1 200"));
        // Idle connections do not hold up the end.
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_closed() {
        let stop = CancellationToken::new();
        let router = ready_router("/ready", Readiness::new());
        for sent in ["", "GET /ready HT", "GET /ready HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let (mut client, server) = tokio::io::duplex(4096);
            let serving = tokio::spawn(answer(server, router.clone(), stop.clone()));
            client.write_all(sent.as_bytes()).await.unwrap();
            let limit = HEAD_LIMIT * 2;
            assert!(tokio::time::timeout(limit, serving).await.is_ok(), "after {sent:?}");
        }
    }
}
