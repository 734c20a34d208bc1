//! What is answered to a client. Its end is the end of the exchange.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::BodyError;
use crate::{flags::Flags, http::exchange::Exchange, upstream::Lease};

/// What is answered to a client. When it ends, or is dropped, the exchange is finished.
pub(crate) struct ResponseBody {
    content: Content,
    /// Kept until the end; finished when dropped.
    exchange: Option<Box<Exchange>>,
    limits: Limits,
}

enum Content {
    Full(Option<Bytes>),
    Stream { incoming: Incoming, lease: Option<Lease> },
    Ended,
}

/// Bounds in time of an answer's body.
#[derive(Default)]
pub(in crate::http) struct Limits {
    /// When the whole exchange must be over.
    deadline: Option<Instant>,
    /// How long nothing may come.
    idle: Option<Duration>,
    timer: Option<(Pin<Box<Sleep>>, BodyError)>,
}

impl Limits {
    pub(in crate::http) fn new(deadline: Option<Instant>, idle: Option<Duration>) -> Self {
        Self { deadline, idle, timer: None }
    }

    /// Whether the time is over; only asked while nothing comes.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        if self.timer.is_none() {
            let idle_end = self.idle.map(|idle| Instant::now() + idle);
            self.timer = match (self.deadline, idle_end) {
                (None, None) => return Poll::Pending,
                (Some(deadline), idle) if idle.is_none_or(|idle| deadline <= idle) => {
                    Some((Box::pin(sleep_until(deadline)), BodyError::Timeout))
                }
                (_, _) => {
                    let idle = self.idle.unwrap_or_default();
                    Some((Box::pin(sleep(idle)), BodyError::Idle))
                }
            };
        }
        let Some((timer, _)) = &mut self.timer else { return Poll::Pending };
        match timer.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => match self.timer.take() {
                Some((_, error)) => Poll::Ready(error),
                None => Poll::Pending,
            },
        }
    }

    fn progress(&mut self) {
        self.timer = None;
    }
}

impl ResponseBody {
    /// A whole body.
    pub(in crate::http) fn full(bytes: Bytes, exchange: Box<Exchange>) -> Self {
        let content = if bytes.is_empty() { Content::Ended } else { Content::Full(Some(bytes)) };
        Self { content, exchange: Some(exchange), limits: Limits::default() }
    }

    /// Nothing, for an exchange that is finished elsewhere.
    pub(in crate::http) fn empty() -> Self {
        Self { content: Content::Ended, exchange: None, limits: Limits::default() }
    }

    /// What an upstream sends.
    pub(in crate::http) fn stream(
        incoming: Incoming,
        lease: Lease,
        exchange: Box<Exchange>,
        limits: Limits,
    ) -> Self {
        if incoming.is_end_stream() {
            lease.finish();
            return Self { content: Content::Ended, exchange: Some(exchange), limits };
        }
        let content = Content::Stream { incoming, lease: Some(lease) };
        Self { content, exchange: Some(exchange), limits }
    }

    fn on_frame(&mut self, frame: &Frame<Bytes>) {
        let Some(exchange) = &mut self.exchange else { return };
        if let Some(data) = frame.data_ref() {
            exchange.facts.bytes_sent += data.len() as u64;
        } else if let Some(trailers) = frame.trailers_ref() {
            exchange.on_trailers(trailers);
        }
    }

    fn on_end(&mut self) {
        if let Content::Stream { lease, .. } = &mut self.content
            && let Some(lease) = lease.take()
        {
            lease.finish();
        }
        self.content = Content::Ended;
        if let Some(mut exchange) = self.exchange.take() {
            exchange.complete();
        }
    }

    fn on_error(&mut self, error: &BodyError) {
        self.content = Content::Ended;
        let Some(mut exchange) = self.exchange.take() else { return };
        let (flag, details) = match error {
            BodyError::Idle => (Flags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout"),
            BodyError::Timeout => (Flags::UPSTREAM_REQUEST_TIMEOUT, "response_timeout"),
            BodyError::Broken(_) => (
                Flags::UPSTREAM_CONNECTION_TERMINATION,
                "upstream_reset_after_response_started{connection_termination}",
            ),
        };
        exchange.facts.flags.insert(flag);
        exchange.facts.details = details.into();
        exchange.complete();
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.content {
            Content::Ended => Poll::Ready(None),
            Content::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Stream { incoming, .. } => {
                Pin::new(incoming).poll_frame(cx).map_err(BodyError::from)
            }
        };
        match polled {
            Poll::Pending => match this.limits.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(error) => {
                    this.on_error(&error);
                    Poll::Ready(Some(Err(error)))
                }
            },
            Poll::Ready(None) => {
                this.on_end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.on_error(&error);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.limits.progress();
                this.on_frame(&frame);
                // A codec may not ask again once all announced bytes have come.
                if let Content::Stream { incoming, .. } = &this.content
                    && incoming.is_end_stream()
                {
                    this.on_end();
                } else if matches!(this.content, Content::Full(None)) {
                    this.on_end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Ended => true,
            Content::Full(bytes) => bytes.is_none(),
            Content::Stream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream { incoming, .. } => incoming.size_hint(),
            _ => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Some(mut exchange) = self.exchange.take() else { return };
        if !matches!(self.content, Content::Ended) {
            exchange.facts.flags.insert(Flags::DOWNSTREAM_TERMINATION);
            exchange.facts.details = "downstream_remote_disconnect".into();
        }
        exchange.complete();
    }
}
