//! Calls to the other services: one pooled HTTP/1.1 client a process, one deadline a call.
//!
//! A call is never tried again here: retries are the mesh's work, and hiding its failures would
//! hide what this example is there to show.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client as HyperClient, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

/// The largest answer that is read, in bytes.
const MAX_BODY: usize = 1 << 20;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Why a call gave no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallError {
    /// The status to report: the upstream's own where it answered, else 503 or 504.
    pub(crate) status: StatusCode,
    /// What happened, for a person.
    pub(crate) reason: String,
}

/// A pooled client for the other services.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    inner: HyperClient<HttpConnector, Empty<Bytes>>,
    timeout: Duration,
}

impl Client {
    /// A client whose calls end after `timeout` at the latest.
    pub(crate) fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { inner, timeout }
    }

    /// Gets `http://authority/path` with `headers` and reads the answer as JSON.
    ///
    /// # Errors
    /// Any status but 200, an answer that is not JSON, a failed connection, or no answer in time.
    pub(crate) async fn get_json(
        &self,
        authority: &str,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Value, CallError> {
        match tokio::time::timeout(self.timeout, self.exchange(authority, path, headers)).await {
            Ok(result) => result,
            Err(_) => Err(CallError {
                status: StatusCode::GATEWAY_TIMEOUT,
                reason: format!("{authority} did not answer within {:?}", self.timeout),
            }),
        }
    }

    async fn exchange(
        &self,
        authority: &str,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Value, CallError> {
        let unavailable = |what: &str, error: &dyn std::error::Error| CallError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            reason: format!("{what} {authority}: {}", chain(error)),
        };
        let mut request = Request::get(format!("http://{authority}{path}"))
            .body(Empty::new())
            .map_err(|e| unavailable("bad address", &e))?;
        *request.headers_mut() = headers;
        let response =
            self.inner.request(request).await.map_err(|e| unavailable("cannot reach", &e))?;
        let (head, body) = response.into_parts();
        let bytes = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|e| unavailable("broken answer from", &*e))?
            .to_bytes();
        if head.status != StatusCode::OK {
            return Err(CallError { status: head.status, reason: excerpt(&bytes) });
        }
        serde_json::from_slice(&bytes).map_err(|e| unavailable("not JSON from", &e))
    }
}

/// The first part of an error's body, as text.
fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).trim().to_owned()
}

/// An error with its causes, which hyper's own `Display` leaves out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
