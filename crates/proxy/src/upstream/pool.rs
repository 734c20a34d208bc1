//! Connections to one host that requests take turns on (HTTP/1) or share (HTTP/2). Belongs to one
//! worker.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::Pin,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::{
    ConnectError, Lease,
    connect::{Opened, Origin, Upstream, connect_origin},
    key::Wire,
    lease::Sender,
};
use crate::{
    http::{LocalExecutor, RequestBody},
    worker::Worker,
};

/// Envoy's default idle time of upstream connections.
const DEFAULT_IDLE: Duration = Duration::from_secs(3_600);
/// Streams on an HTTP/2 connection when nothing else is said; Envoy's default.
const DEFAULT_STREAMS: u32 = 1024;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The most header bytes of an upstream's answer; Envoy's default.
const MAX_RESPONSE_HEADERS: u32 = 60 * 1024;

/// A request that gets no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CheckoutError {
    /// A circuit breaker is open.
    #[error("overflow")]
    Overflow,
    /// No connection came up.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Connections to one host.
pub(crate) struct Pool {
    this: Weak<Pool>,
    worker: Weak<Worker>,
    origin: Origin,
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    waiting: RefCell<VecDeque<oneshot::Sender<Result<Lease, CheckoutError>>>>,
    connecting: Cell<usize>,
    open: Cell<usize>,
}

/// An HTTP/1 connection that nobody uses.
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    member: Rc<Member>,
    since: Instant,
}

/// An HTTP/2 connection.
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    member: Rc<Member>,
}

/// A connection of a pool.
pub(crate) struct Member {
    pub(super) pool: Weak<Pool>,
    pub(super) upstream: Upstream,
    opened: Instant,
    /// Requests so far.
    requests: Cell<u32>,
    /// Requests that are open.
    pub(super) streams: Cell<u32>,
    /// How many of them the other side takes (HTTP/2).
    peer_streams: Cell<usize>,
}

impl Pool {
    pub(super) fn new(worker: Weak<Worker>, origin: Origin) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            worker,
            origin,
            idle: RefCell::default(),
            shared: RefCell::default(),
            waiting: RefCell::default(),
            connecting: Cell::new(0),
            open: Cell::new(0),
        })
    }

    /// A connection for one request: an idle one, or else one that comes free or comes up.
    pub(super) async fn checkout(&self) -> Result<Lease, CheckoutError> {
        if let Some(lease) = self.ready() {
            return Ok(lease);
        }
        let cluster = &self.origin.cluster.shared;
        let stats = &cluster.stats;
        stats.rq_pending_total.inc();
        if stats.rq_pending_active.get() >= cluster.limits.pending {
            stats.rq_pending_overflow.inc();
            return Err(CheckoutError::Overflow);
        }
        stats.rq_pending_active.inc();
        let _pending = Pending(&stats.rq_pending_active);
        let (sender, lease) = oneshot::channel();
        self.waiting.borrow_mut().push_back(sender);
        self.connect_if_needed();
        lease.await.unwrap_or(Err(CheckoutError::Connect(ConnectError::Timeout)))
    }

    /// A connection that can take a request at once.
    fn ready(&self) -> Option<Lease> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.sender.is_closed());
        let limit = self.max_streams() as usize;
        let usable = shared.iter().find(|connection| {
            let limit = limit.min(connection.member.peer_streams.get());
            (connection.member.streams.get() as usize) < limit
                && connection.sender.is_ready()
                && !self.is_worn(&connection.member)
        });
        if let Some(connection) = usable {
            let sender = Sender::Http2(connection.sender.clone());
            return Some(Lease::new(sender, Rc::clone(&connection.member)));
        }
        drop(shared);
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { sender, member, .. }) = idle.pop() {
            if sender.is_ready() && !sender.is_closed() {
                return Some(Lease::new(Sender::Http1(sender), member));
            }
        }
        None
    }

    /// Starts a connection for those who wait, as far as the circuit breaker allows. A host without
    /// any connection gets one in any case, as in Envoy.
    fn connect_if_needed(&self) {
        let waiting = self.waiting.borrow().len();
        let http2 = self.origin.key.wire == Wire::Http2;
        let wanted = if http2 { waiting.min(1) } else { waiting };
        if self.connecting.get() >= wanted {
            return;
        }
        let cluster = &self.origin.cluster.shared;
        let alone = self.connecting.get() == 0 && self.open.get() == 0;
        if cluster.stats.cx_active.get() >= cluster.limits.connections && !alone {
            cluster.stats.cx_overflow.inc();
            return;
        }
        let Some(this) = self.this.upgrade() else { return };
        self.connecting.set(self.connecting.get() + 1);
        tokio::task::spawn_local(async move {
            let connected = this.open().await;
            this.connecting.set(this.connecting.get() - 1);
            match connected {
                Ok(()) => this.serve_waiting(),
                Err(error) => this.fail_waiting(&error),
            }
        });
    }

    async fn open(self: &Rc<Self>) -> Result<(), ConnectError> {
        let opened = connect_origin(&self.origin).await?;
        let http2 = match self.origin.key.wire {
            Wire::Http1 => false,
            Wire::Http2 => true,
            Wire::Auto => opened.http2,
        };
        if http2 { self.start_http2(opened).await } else { self.start_http1(opened).await }
    }

    fn member(self: &Rc<Self>, upstream: Upstream) -> Rc<Member> {
        self.open.set(self.open.get() + 1);
        Rc::new(Member {
            pool: Rc::downgrade(self),
            upstream,
            opened: Instant::now(),
            requests: Cell::new(0),
            streams: Cell::new(0),
            peer_streams: Cell::new(usize::MAX),
        })
    }

    async fn start_http1(self: &Rc<Self>, opened: Opened) -> Result<(), ConnectError> {
        let Opened { io, upstream, guard, .. } = opened;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_RESPONSE_HEADERS as usize * 2)
            .handshake(TokioIo::new(io))
            .await
            .map_err(ConnectError::Http)?;
        let member = self.member(upstream);
        let pool = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an upstream connection ended");
            }
            drop(guard);
            closed(&pool);
        });
        sender.ready().await.map_err(ConnectError::Http)?;
        self.idle.borrow_mut().push(Idle { sender, member, since: Instant::now() });
        Ok(())
    }

    async fn start_http2(self: &Rc<Self>, opened: Opened) -> Result<(), ConnectError> {
        let Opened { io, upstream, guard, .. } = opened;
        let mut builder = http2::Builder::new(LocalExecutor);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_RESPONSE_HEADERS);
        if let Some(keepalive) = self.origin.cluster.shared.config.http.keepalive {
            builder.keep_alive_interval(keepalive.interval).keep_alive_timeout(keepalive.timeout);
        }
        let (sender, mut connection) =
            builder.handshake(TokioIo::new(io)).await.map_err(ConnectError::Http)?;
        let member = self.member(upstream);
        let pool = Rc::downgrade(self);
        let seen = Rc::clone(&member);
        let driving = poll_fn(move |cx| {
            let driven = Pin::new(&mut connection).poll(cx);
            seen.peer_streams.set(connection.current_max_send_streams());
            driven
        });
        tokio::task::spawn_local(async move {
            if let Err(error) = driving.await {
                tracing::debug!(%error, "an upstream connection ended");
            }
            drop(guard);
            closed(&pool);
        });
        self.shared.borrow_mut().push(Rc::new(Shared { sender, member }));
        Ok(())
    }

    /// Gives connections to those who wait, in their order.
    pub(super) fn serve_waiting(&self) {
        loop {
            self.waiting.borrow_mut().retain(|waiter| !waiter.is_closed());
            if self.waiting.borrow().is_empty() {
                return;
            }
            let Some(lease) = self.ready() else { break };
            let Some(waiter) = self.waiting.borrow_mut().pop_front() else { return };
            if let Err(Ok(lease)) = waiter.send(Ok(lease)) {
                lease.give_back();
            }
        }
        self.connect_if_needed();
    }

    /// A connection did not come up: one request is told for each attempt, and all when no other
    /// connection could still serve them.
    fn fail_waiting(&self, error: &ConnectError) {
        let hopeless = self.open.get() == 0 && self.connecting.get() == 0;
        let one_for_all = self.origin.key.wire == Wire::Http2;
        loop {
            let Some(waiter) = self.waiting.borrow_mut().pop_front() else { return };
            if waiter.is_closed() {
                continue;
            }
            let answer = Err(CheckoutError::Connect(error.clone()));
            if waiter.send(answer).is_ok() && !hopeless && !one_for_all {
                break;
            }
        }
        self.connect_if_needed();
    }

    /// Takes an HTTP/1 connection back for the next request.
    pub(super) fn put(&self, sender: http1::SendRequest<RequestBody>, member: Rc<Member>) {
        if self.is_worn(&member) || sender.is_closed() {
            return;
        }
        self.idle.borrow_mut().push(Idle { sender, member, since: Instant::now() });
        if !self.waiting.borrow().is_empty() {
            self.serve_waiting();
        }
    }

    /// A request is over.
    pub(super) fn on_stream_end(&self) {
        if !self.waiting.borrow().is_empty() {
            self.serve_waiting();
        }
    }

    /// Whether a connection has served its time or its number of requests.
    fn is_worn(&self, member: &Member) -> bool {
        let http = &self.origin.cluster.shared.config.http;
        let used_up = http
            .max_requests_per_connection
            .is_some_and(|max| max > 0 && member.requests.get() >= max);
        let age = http.max_connection_duration.filter(|age| !age.is_zero());
        used_up || age.is_some_and(|age| member.opened.elapsed() >= age)
    }

    fn max_streams(&self) -> u32 {
        self.origin.cluster.shared.config.http.max_concurrent_streams.unwrap_or(DEFAULT_STREAMS)
    }

    /// Closes what has been idle for too long.
    pub(super) fn close_old(&self) {
        let idle = self.origin.cluster.shared.config.http.idle_timeout.unwrap_or(DEFAULT_IDLE);
        self.shared.borrow_mut().retain(|connection| {
            let open = connection.member.streams.get() > 0;
            !connection.sender.is_closed() && (open || !self.is_worn(&connection.member))
        });
        self.idle.borrow_mut().retain(|connection| {
            let old = !idle.is_zero() && connection.since.elapsed() >= idle;
            !old && !connection.sender.is_closed()
        });
    }

    /// Closes what nobody uses.
    pub(super) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().retain(|connection| connection.member.streams.get() > 0);
    }

    /// Whether there are connections, or requests that wait for one.
    pub(super) fn is_busy(&self) -> bool {
        self.open.get() > 0 || self.connecting.get() > 0 || !self.waiting.borrow().is_empty()
    }
}

/// A connection of the pool has ended.
fn closed(pool: &Weak<Pool>) {
    let Some(pool) = pool.upgrade() else { return };
    pool.open.set(pool.open.get().saturating_sub(1));
    if pool.worker.strong_count() > 0 && !pool.waiting.borrow().is_empty() {
        pool.serve_waiting();
    }
}

impl Member {
    /// Counts a request.
    pub(super) fn begin(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
        self.streams.set(self.streams.get() + 1);
    }

    /// The request is over.
    pub(super) fn end(&self) {
        self.streams.set(self.streams.get().saturating_sub(1));
    }
}

struct Pending<'a>(&'a crate::stats::Value);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
