//! One HTTP/1.1 request over a stream that is already connected: admin, debug and state sockets,
//! readiness probes, scrapes.

use std::io;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

/// No answer that is read here is larger; the configuration of the largest proxies fits.
const BODY_MAX: usize = 256 << 20;

/// The status code and the body of `GET path` on a Unix socket, or an error after `timeout`.
///
/// # Errors
/// When nobody listens on the socket, the answer is not HTTP or too large, or time runs out.
pub async fn get(socket: &Path, path: &str, timeout: Duration) -> io::Result<(u16, Bytes)> {
    let request = async { get_on(UnixStream::connect(socket).await?, path).await };
    tokio::time::timeout(timeout, request).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// The status code and the body of `GET path` on a connected stream.
///
/// # Errors
/// As [`send`].
pub async fn get_on(stream: impl Stream, path: &str) -> io::Result<(u16, Bytes)> {
    get_with(stream, path, &[("host", "localhost"), ("user-agent", "mizzen")]).await
}

/// The same, with the request's headers. They must be valid: others are an error.
///
/// # Errors
/// As [`send`].
pub async fn get_with(
    stream: impl Stream,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<(u16, Bytes)> {
    let mut request = hyper::Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::new()).map_err(io::Error::other)?;
    send(stream, request, BODY_MAX).await.map(|(status, body)| (status.as_u16(), body))
}

/// The answer to any request without a body, with a body of at most `largest` bytes.
///
/// # Errors
/// When the answer is not HTTP or too large, or the connection breaks.
pub async fn send(
    stream: impl Stream,
    request: hyper::Request<Empty<Bytes>>,
    largest: usize,
) -> io::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), largest).collect().await;
        Ok((status, body.map_err(io::Error::other)?.to_bytes()))
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(io::Error::other)?;
            answer.await
        }
    }
}

/// What a request can be sent on.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Stream for T {}
