//! Carries bytes both ways until both sides have said all, with half-closed connections in between.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

const BUFFER: usize = 16 * 1024;

/// Bytes that were carried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress {
    /// To the upstream.
    Up(u64),
    /// To the client.
    Down(u64),
    /// None: it was time to report.
    Tick,
}

/// Times of a connection; none: never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timers {
    /// How long nothing may be carried.
    pub(crate) idle: Option<Duration>,
    /// How often to report, whether something was carried or not.
    pub(crate) tick: Option<Duration>,
}

/// Carries bytes both ways.
///
/// # Errors
/// When a side breaks, or nothing was carried for the idle time ([`io::ErrorKind::TimedOut`]).
pub(crate) async fn copy_both<A, B>(
    client: &mut A,
    upstream: &mut B,
    timers: Timers,
    mut progress: impl FnMut(Progress),
) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Direction::new();
    let mut down = Direction::new();
    let timer = |period: Duration| (Box::pin(sleep(period)), period);
    let (mut idle, mut tick) = (timers.idle.map(timer), timers.tick.map(timer));
    poll_fn(|cx| {
        let sent_up = up.poll(cx, client, upstream)?;
        let sent_down = down.poll(cx, upstream, client)?;
        if sent_up > 0 {
            progress(Progress::Up(sent_up));
        }
        if sent_down > 0 {
            progress(Progress::Down(sent_down));
        }
        if up.is_done() && down.is_done() {
            return Poll::Ready(Ok(()));
        }
        while let Some((timer, period)) = &mut tick
            && timer.as_mut().poll(cx).is_ready()
        {
            timer.as_mut().reset(Instant::now() + *period);
            progress(Progress::Tick);
        }
        poll_idle(cx, idle.as_mut(), sent_up + sent_down > 0)
    })
    .await
}

fn poll_idle(
    cx: &mut Context<'_>,
    timer: Option<&mut (Pin<Box<Sleep>>, Duration)>,
    busy: bool,
) -> Poll<io::Result<()>> {
    let Some((timer, idle)) = timer else { return Poll::Pending };
    if busy {
        timer.as_mut().reset(Instant::now() + *idle);
    }
    ready!(timer.as_mut().poll(cx));
    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "idle timeout")))
}

struct Direction {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    state: State,
    unflushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has said all; the rest is to be written and the sink closed.
    Closing,
    Done,
}

impl Direction {
    fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            state: State::Open,
            unflushed: false,
        }
    }

    fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Carries what can be carried now; how many bytes were written.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, source: &mut R, sink: &mut W) -> io::Result<u64>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut total = 0;
        loop {
            while self.start < self.end {
                let rest = &self.buffer[self.start..self.end];
                match Pin::new(&mut *sink).poll_write(cx, rest) {
                    Poll::Pending => return Ok(total),
                    Poll::Ready(written) => {
                        let count = written?;
                        if count == 0 {
                            return Err(io::ErrorKind::WriteZero.into());
                        }
                        self.start += count;
                        self.unflushed = true;
                        total += count as u64;
                    }
                }
            }
            match self.state {
                State::Done => return Ok(total),
                State::Closing => {
                    if Pin::new(&mut *sink).poll_shutdown(cx)?.is_ready() {
                        self.state = State::Done;
                    }
                    return Ok(total);
                }
                State::Open => {}
            }
            let mut space = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *source).poll_read(cx, &mut space) {
                Poll::Pending => {
                    if self.unflushed && Pin::new(&mut *sink).poll_flush(cx)?.is_ready() {
                        self.unflushed = false;
                    }
                    return Ok(total);
                }
                Poll::Ready(read) => {
                    read?;
                    self.start = 0;
                    self.end = space.filled().len();
                    if self.end == 0 {
                        self.state = State::Closing;
                    }
                }
            }
        }
    }
}
