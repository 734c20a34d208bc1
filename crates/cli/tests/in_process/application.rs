//! An application on loopback that tells what it was asked, and misbehaves on demand.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// A running application; dropping it ends it.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Application {
    /// Answers `…/status/N` with that status, `…/delay/MS` after that time, and all else with its
    /// name, the request line and the headers, a line each.
    pub(crate) async fn start(name: &'static str) -> Self {
        Self::start_with(name, 200).await
    }

    /// Answers everything with 500.
    pub(crate) async fn broken(name: &'static str) -> Self {
        Self::start_with(name, 500).await
    }

    async fn start_with(name: &'static str, status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::<AtomicUsize>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (counter, seen) = (Arc::clone(&requests), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::Relaxed);
                let counter = Arc::clone(&counter);
                let service = service_fn(move |request| {
                    counter.fetch_add(1, Ordering::Relaxed);
                    answer(name, status, request)
                });
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ended = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, requests, connections, task }
    }

    /// How many requests have come so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many connections have come so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn answer(
    name: &'static str,
    status: u16,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let after = |marker: &str| path.split_once(marker).and_then(|(_, rest)| rest.parse().ok());
    if let Some(millis) = after("/delay/") {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    let status = after("/status/").and_then(|code| u16::try_from(code).ok()).unwrap_or(status);
    let mut text = format!("{name}\n{} {}\n", request.method(), request.uri());
    for (header, value) in request.headers() {
        text.push_str(&format!("{header}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let response = Response::builder()
        .status(status)
        .header("x-application", name)
        .header("x-private", "inside")
        .body(Full::from(text));
    Ok(response.expect("a response"))
}
