//! Bodies on their way through: what clients send, and what upstreams answer.

mod request;
mod response;

use http::HeaderMap;

pub(crate) use request::RequestBody;
pub(super) use request::{Replay, Source};
pub(super) use response::{Limits, ResponseBody};

/// A body that came to an early end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The sender broke it off.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// Nothing came for too long.
    #[error("the stream was idle for too long")]
    Idle,
    /// The whole exchange took too long.
    #[error("the response took too long")]
    Timeout,
}

/// The gRPC status among headers or trailers.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
