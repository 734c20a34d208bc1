//! Speaks HTTP/1.1 or HTTP/2 with a client, and asks it to go when the time has come.

use std::{
    cell::Cell, convert::Infallible, future::Future, io, pin::pin, rc::Rc, sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use hyper::{server::conn::http1, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;

use super::{Manager, request};
use crate::{
    connection::Connection,
    listener::{Downstream, inspect::HttpVersion},
};

/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Envoy's default `idle_timeout` of connections.
const DEFAULT_IDLE: Duration = Duration::from_secs(3_600);
/// What a request line may take besides the headers, in bytes.
const REQUEST_LINE: usize = 16 * 1024;
/// HTTP/2: streams that a client may have open when nothing else is said.
const DEFAULT_STREAMS: u32 = 1024;
/// HTTP/2: streams that were reset by the client and not yet looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 32;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 256 * 1024;

/// Runs hyper's tasks on this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        // Its output is of no interest to hyper.
        drop(tokio::task::spawn_local(async move {
            future.await;
        }));
    }
}

/// A connection that speaks HTTP.
pub(super) struct HttpConnection {
    pub(super) connection: Rc<Connection>,
    pub(super) manager: Arc<Manager>,
    http2: bool,
    requests: Cell<u32>,
    open: Cell<u32>,
}

impl HttpConnection {
    /// Takes note of a request.
    pub(super) fn on_request(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
        self.open.set(self.open.get() + 1);
    }

    /// Takes note of a request's end.
    pub(super) fn on_request_end(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }

    /// Whether the next answer should be the last of this HTTP/1 connection.
    pub(super) fn should_close(&self) -> bool {
        let limit = self.manager.engine.config.max_requests_per_connection.filter(|max| *max > 0);
        let used_up = limit.is_some_and(|max| self.requests.get() >= max);
        !self.http2 && (used_up || self.connection.is_draining())
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2
    }
}

/// Serves a connection to its end. `version` is what the HTTP inspector has found.
pub(crate) async fn serve(
    connection: Rc<Connection>,
    manager: Arc<Manager>,
    mut io: Downstream,
    version: Option<HttpVersion>,
) {
    let stats = Arc::clone(&manager.stats);
    stats.cx_total.inc();
    stats.cx_active.inc();
    let decided = match decide(&connection, &manager, version) {
        Some(decided) => Ok(decided),
        None => in_time(&manager, has_preface(&mut io)).await,
    };
    if let Ok(http2) = decided {
        let http = Rc::new(HttpConnection {
            connection,
            manager,
            http2,
            requests: Cell::new(0),
            open: Cell::new(0),
        });
        let served = if http2 {
            stats.cx_http2.inc();
            serve_http2(http, io).await
        } else {
            stats.cx_http1.inc();
            serve_http1(http, io).await
        };
        if let Err(error) = served {
            if error.is_parse() || error.is_user() {
                stats.cx_protocol_error.inc();
            }
            tracing::debug!(%error, "a downstream connection ended");
        }
    }
    stats.cx_active.dec();
}

/// Whether it is HTTP/2; none when only the first bytes can tell.
fn decide(
    connection: &Connection,
    manager: &Manager,
    version: Option<HttpVersion>,
) -> Option<bool> {
    match manager.engine.config.codec_type {
        xds::CodecType::Http1 => return Some(false),
        xds::CodecType::Http2 => return Some(true),
        xds::CodecType::Auto => {}
    }
    let alpn = connection.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    match (alpn, version) {
        (Some(b"h2"), _) | (None, Some(HttpVersion::H2c)) => Some(true),
        (Some(b"http/1.1" | b"http/1.0"), _) => Some(false),
        (None, Some(HttpVersion::Http10 | HttpVersion::Http11)) => Some(false),
        _ => None,
    }
}

/// Ends the wait for a client's first bytes as it would end later.
async fn in_time(
    manager: &Manager,
    waiting: impl Future<Output = io::Result<bool>>,
) -> io::Result<bool> {
    let config = &manager.engine.config;
    let limit = config.request_headers_timeout.filter(|timeout| !timeout.is_zero());
    match limit.unwrap_or_else(|| config.idle_timeout.unwrap_or(DEFAULT_IDLE)) {
        Duration::ZERO => waiting.await,
        limit => tokio::time::timeout(limit, waiting)
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())),
    }
}

async fn has_preface(io: &mut Downstream) -> io::Result<bool> {
    let mut seen = BytesMut::with_capacity(1024);
    let http2 = loop {
        let common = seen.len().min(PREFACE.len());
        if seen[..common] != PREFACE[..common] {
            break false;
        }
        if common == PREFACE.len() {
            break true;
        }
        if io.read_buf(&mut seen).await? == 0 {
            break false;
        }
    };
    io.unread(seen);
    Ok(http2)
}

async fn serve_http1(http: Rc<HttpConnection>, io: Downstream) -> hyper::Result<()> {
    let config = &http.manager.engine.config;
    let headers_timeout = config.request_headers_timeout.filter(|timeout| !timeout.is_zero());
    let idle = config.idle_timeout.unwrap_or(DEFAULT_IDLE);
    let idle = (!idle.is_zero()).then_some(idle);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(headers_timeout.or(idle))
        .max_buf_size(http.manager.max_header_bytes + REQUEST_LINE);
    let service = {
        let http = Rc::clone(&http);
        service_fn(move |request| {
            let http = Rc::clone(&http);
            async move { Ok::<_, Infallible>(request::handle(http, request).await) }
        })
    };
    let mut served = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let mut end = pin!(end_of_life(&http));
    tokio::select! {
        biased;
        done = served.as_mut() => return done,
        () = end.as_mut() => {}
    }
    served.as_mut().graceful_shutdown();
    served.await
}

async fn serve_http2(http: Rc<HttpConnection>, io: Downstream) -> hyper::Result<()> {
    let config = &http.manager.engine.config;
    let header_bytes = u32::try_from(http.manager.max_header_bytes).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_concurrent_streams.unwrap_or(DEFAULT_STREAMS))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_header_list_size(header_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    let service = {
        let http = Rc::clone(&http);
        service_fn(move |request| {
            let http = Rc::clone(&http);
            async move { Ok::<_, Infallible>(request::handle(http, request).await) }
        })
    };
    let mut served = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut end = pin!(end_of_life(&http));
    tokio::select! {
        biased;
        done = served.as_mut() => return done,
        () = end.as_mut() => {}
    }
    served.as_mut().graceful_shutdown();
    served.await
}

/// Waits until the connection should end though its client does not: a drain, a replaced chain, or
/// its greatest age. An idle HTTP/1 connection is left until the drain time is over, since closing
/// it may cross a request on the wire; its next answer says `Connection: close`.
async fn end_of_life(http: &HttpConnection) {
    let connection = &http.connection;
    let drained = async {
        tokio::select! {
            () = connection.chain.retired.wait() => {}
            () = connection.drain_flag().wait() => {}
        }
        if !http.http2 {
            tokio::time::sleep(connection.worker.shared.drain_time).await;
        }
    };
    match http.manager.engine.config.max_connection_duration {
        Some(age) if !age.is_zero() => {
            tokio::select! {
                () = drained => {}
                () = tokio::time::sleep(age) => {}
            }
        }
        _ if http.http2 => {
            tokio::select! {
                () = drained => {}
                () = idle(http) => {}
            }
        }
        _ => drained.await,
    }
}

/// Waits until an HTTP/2 connection had no stream for the idle time.
async fn idle(http: &HttpConnection) {
    let timeout = http.manager.engine.config.idle_timeout.unwrap_or(DEFAULT_IDLE);
    if timeout.is_zero() {
        return std::future::pending().await;
    }
    let mut seen = u32::MAX;
    loop {
        tokio::time::sleep(timeout).await;
        let requests = http.requests.get();
        if http.open.get() == 0 && seen == requests {
            return;
        }
        seen = requests;
    }
}
