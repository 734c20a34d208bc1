//! What clients send, counted, copied to mirrors, and kept where another attempt may need it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::BodyError;

/// The most of a request's body that is kept for another attempt, in bytes; Envoy's default
/// `per_connection_buffer_limit_bytes`.
const REPLAY_LIMIT: usize = 1024 * 1024;

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
    broken: Rc<Cell<bool>>,
    mirrors: Vec<mpsc::UnboundedSender<Frame<Bytes>>>,
}

impl Source {
    pub(in crate::http) fn new(
        incoming: Incoming,
        (received, broken): (Rc<Cell<u64>>, Rc<Cell<bool>>),
        mirrors: Vec<mpsc::UnboundedSender<Frame<Bytes>>>,
    ) -> Self {
        Self { incoming, received, broken, mirrors }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            if let Some(data) = frame.data_ref() {
                self.received.set(self.received.get() + data.len() as u64);
            }
            self.mirrors.retain(|mirror| mirror.send(copy(frame)).is_ok());
        }
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.broken.set(true);
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
    pub(in crate::http) fn new(source: Source) -> Self {
        let kept = Kept { source, frames: VecDeque::new(), bytes: 0, dropped: false, ended: false };
        Self(Rc::new(RefCell::new(kept)))
    }

    /// The body from its beginning.
    pub(in crate::http) fn reader(&self) -> RequestBody {
        RequestBody::Replay(Reader { kept: self.clone(), next: 0 })
    }

    /// Whether it can still be read from its beginning.
    pub(in crate::http) fn is_kept(&self) -> bool {
        !self.0.borrow().dropped
    }

    /// No other attempt will come.
    pub(in crate::http) fn release(&self) {
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
