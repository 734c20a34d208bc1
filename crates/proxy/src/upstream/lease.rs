//! A connection in the hands of one request.

use std::rc::Rc;

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};

use super::{connect::Upstream, pool::Member};
use crate::http::RequestBody;

/// The sending half of a connection.
#[derive(Debug)]
pub(super) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

/// A connection that one request uses. Dropped before [`Lease::finish`], an HTTP/1 connection is
/// closed, since what is left on it belongs to this request.
pub(crate) struct Lease {
    sender: Option<Sender>,
    member: Rc<Member>,
}

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) error: Option<hyper::Error>,
    /// The request, when nothing of it was sent.
    pub(crate) unsent: Option<Box<Request<RequestBody>>>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("upstream", &self.member.upstream).finish_non_exhaustive()
    }
}

impl Lease {
    pub(super) fn new(sender: Sender, member: Rc<Member>) -> Self {
        member.begin();
        Self { sender: Some(sender), member }
    }

    /// What is known of the connection.
    pub(crate) fn upstream(&self) -> &Upstream {
        &self.member.upstream
    }

    /// Whether HTTP/2 is spoken.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.sender, Some(Sender::Http2(_)))
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let sent = match &mut self.sender {
            Some(Sender::Http1(sender)) => sender.try_send_request(request).await,
            Some(Sender::Http2(sender)) => sender.try_send_request(request).await,
            None => return Err(SendError { error: None, unsent: Some(Box::new(request)) }),
        };
        sent.map_err(|mut error| SendError {
            unsent: error.take_message().map(Box::new),
            error: Some(error.into_error()),
        })
    }

    /// The answer has come to its end: the connection is free for the next request.
    pub(crate) fn finish(mut self) {
        let Some(Sender::Http1(mut sender)) = self.sender.take() else { return };
        let Some(pool) = self.member.pool.upgrade() else { return };
        let member = Rc::clone(&self.member);
        drop(self);
        if sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            pool.put(sender, member);
            return;
        }
        // The request's body may still be on its way, or the connection's task has not run yet.
        tokio::task::spawn_local(async move {
            if sender.ready().await.is_ok() {
                pool.put(sender, member);
            }
        });
    }

    /// It was not used.
    pub(super) fn give_back(self) {
        self.finish();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.end();
        // A stream that ended may be what another request waits for.
        if let Some(pool) = self.member.pool.upgrade() {
            pool.on_stream_end();
        }
    }
}
