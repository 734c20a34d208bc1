//! Bodies on their way through: what clients send, perhaps kept for another attempt, and what
//! upstreams answer.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::exchange::Exchange;
use crate::{flags::Flags, upstream::Lease};

/// The most of a request's body that is kept for another attempt, in bytes; Envoy's default
/// `per_connection_buffer_limit_bytes`.
const REPLAY_LIMIT: usize = 1024 * 1024;

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

/// What is sent to an upstream.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Nothing.
    Empty,
    /// What the client sends, in one pass.
    Stream(Box<Source>),
    /// What the client sends, kept for another attempt.
    Replay(Reader),
    /// A copy for a mirror.
    Copy(mpsc::UnboundedReceiver<Frame<Bytes>>),
}

/// What a client sends, counted and copied to mirrors.
#[derive(Debug)]
pub(crate) struct Source {
    incoming: Incoming,
    received: Rc<Cell<u64>>,
    mirrors: Vec<mpsc::UnboundedSender<Frame<Bytes>>>,
}

impl Source {
    pub(super) fn new(
        incoming: Incoming,
        received: Rc<Cell<u64>>,
        mirrors: Vec<mpsc::UnboundedSender<Frame<Bytes>>>,
    ) -> Self {
        Self { incoming, received, mirrors }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            if let Some(data) = frame.data_ref() {
                self.received.set(self.received.get() + data.len() as u64);
            }
            self.mirrors.retain(|mirror| mirror.send(copy(frame)).is_ok());
        }
        polled.map_err(BodyError::from)
    }
}

/// A copy that shares the bytes.
fn copy(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, Some(trailers)) => Frame::trailers(trailers.clone()),
        (None, None) => Frame::data(Bytes::new()),
    }
}

/// A body that several attempts read one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Replay(Rc<RefCell<Kept>>);

#[derive(Debug)]
struct Kept {
    source: Source,
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    /// Frames are not kept (any more): they were too many, or no other attempt will come.
    dropped: bool,
    ended: bool,
}

impl Replay {
    pub(super) fn new(source: Source) -> Self {
        let kept = Kept { source, frames: VecDeque::new(), bytes: 0, dropped: false, ended: false };
        Self(Rc::new(RefCell::new(kept)))
    }

    /// The body from its beginning.
    pub(super) fn reader(&self) -> RequestBody {
        RequestBody::Replay(Reader { kept: self.clone(), next: 0 })
    }

    /// Whether it can still be read from its beginning.
    pub(super) fn is_kept(&self) -> bool {
        !self.0.borrow().dropped
    }

    /// No other attempt will come.
    pub(super) fn release(&self) {
        let mut kept = self.0.borrow_mut();
        kept.dropped = true;
        if kept.ended {
            kept.frames.clear();
        }
    }
}

/// One attempt's view of a [`Replay`].
#[derive(Debug)]
pub(crate) struct Reader {
    kept: Replay,
    next: usize,
}

impl Reader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut kept = self.kept.0.borrow_mut();
        if let Some(frame) = kept.frames.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(copy(frame))));
        }
        if kept.ended {
            return Poll::Ready(None);
        }
        let polled = kept.source.poll(cx);
        match &polled {
            Poll::Ready(None) => kept.ended = true,
            Poll::Ready(Some(Ok(frame))) => {
                kept.bytes += frame.data_ref().map_or(0, Bytes::len);
                if kept.bytes > REPLAY_LIMIT {
                    kept.dropped = true;
                }
                if kept.dropped {
                    // What an earlier attempt kept was read by this one already.
                    kept.frames.clear();
                    self.next = 0;
                } else {
                    let kept_frame = copy(frame);
                    kept.frames.push_back(kept_frame);
                    self.next += 1;
                }
            }
            _ => {}
        }
        polled
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream(source) => source.poll(cx),
            Self::Replay(reader) => reader.poll(cx),
            Self::Copy(frames) => frames.poll_recv(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(source) => source.incoming.is_end_stream(),
            Self::Replay(_) | Self::Copy(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(source) => source.incoming.size_hint(),
            Self::Replay(reader) if reader.next == 0 => {
                let kept = reader.kept.0.borrow();
                let mut hint = kept.source.incoming.size_hint();
                let before: u64 = kept
                    .frames
                    .iter()
                    .filter_map(|frame| frame.data_ref().map(|data| data.remaining() as u64))
                    .sum();
                if let Some(exact) = hint.exact() {
                    hint.set_exact(exact + before);
                }
                hint
            }
            Self::Replay(_) | Self::Copy(_) => SizeHint::default(),
        }
    }
}

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
pub(super) struct Limits {
    /// When the whole exchange must be over.
    pub(super) deadline: Option<Instant>,
    /// How long nothing may come.
    pub(super) idle: Option<Duration>,
    timer: Option<(Pin<Box<Sleep>>, BodyError)>,
}

impl Limits {
    pub(super) fn new(deadline: Option<Instant>, idle: Option<Duration>) -> Self {
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
    pub(super) fn full(bytes: Bytes, exchange: Box<Exchange>) -> Self {
        let content = if bytes.is_empty() { Content::Ended } else { Content::Full(Some(bytes)) };
        Self { content, exchange: Some(exchange), limits: Limits::default() }
    }

    /// Nothing, for an exchange that is finished elsewhere.
    pub(super) fn empty() -> Self {
        Self { content: Content::Ended, exchange: None, limits: Limits::default() }
    }

    /// What an upstream sends.
    pub(super) fn stream(
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

/// The gRPC status among headers or trailers.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
