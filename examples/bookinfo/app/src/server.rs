//! Listening, routing, logging a line a request, and leaving without losing one.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{Options, Service};
use crate::{details, productpage, ratings, reviews};

/// How long open requests may take to finish after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// A service that holds its port and is ready to serve.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    router: Router,
}

impl Server {
    /// Takes the port of the service that `options` describes.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(options: Options) -> anyhow::Result<Self> {
        let address = SocketAddr::new(options.address, options.port);
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("{}: cannot listen on {address}", options.service.name()))?;
        let local_addr = listener.local_addr().context("no local address")?;
        let router = match options.service {
            Service::Productpage => productpage::router(options),
            Service::Details => details::router(),
            Service::Ratings => ratings::router(),
            Service::Reviews => reviews::router(options),
        };
        let router = router
            .layer(middleware::from_fn(log_request))
            .route("/health", get(|| async { "{\"status\":\"healthy\"}" }));
        Ok(Self { listener, local_addr, router })
    }

    /// The address that the service listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is done, then finishes the open requests: their answers carry
    /// `Connection: close`, idle connections close, new ones are not accepted.
    ///
    /// # Errors
    /// When requests are still open 10 seconds after `shutdown`.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let listener = self.listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
        });
        let serving = axum::serve(listener, self.router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let mut serving = std::pin::pin!(serving.into_future());
        tokio::select! {
            result = &mut serving => return result.context("serving failed"),
            () = shutdown => drop(stop),
        }
        match tokio::time::timeout(DRAIN, serving).await {
            Ok(result) => result.context("serving failed"),
            Err(_) => anyhow::bail!("requests were still open {DRAIN:?} after the signal to stop"),
        }
    }
}

/// Runs one service until SIGTERM or SIGINT.
///
/// # Errors
/// When the port cannot be had, or requests are still open 10 seconds after the signal.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (service, version) = (options.service.name(), options.version.name());
    let server = Server::bind(options).await?;
    tracing::info!(service, version, address = %server.local_addr(), "serving");
    server
        .serve(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!(service, "draining");
        })
        .await?;
    tracing::info!(service, "stopped");
    Ok(())
}

async fn log_request(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let milliseconds = started.elapsed().as_millis();
    tracing::info!(%method, path, status, milliseconds, "request");
    response
}
