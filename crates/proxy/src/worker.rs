//! A worker: one thread with a single-threaded runtime that owns its connections from accept to
//! close. Other threads only send it commands.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::HeaderValue;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ProxyError,
    access_log::LogBuffers,
    cluster::Cluster,
    fast_hash::FastMap,
    listener,
    net::socket,
    shared::Shared,
    snapshot::Snapshot,
    stats::{IstioStats, Series},
    upstream::ClusterLocal,
};

/// The configuration as a worker holds it: cloning the outer pointer touches no counter that other
/// workers share.
pub(crate) type LocalSnapshot = Rc<Arc<Snapshot>>;

/// How often log lines are handed over and pools of gone clusters are looked for.
const TICK: Duration = Duration::from_millis(200);

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take connections for the listener of this name.
    Listen { id: u64, name: Arc<str>, socket: std::net::TcpListener },
    /// Stop taking connections.
    Unlisten { id: u64 },
    /// Lend a copy of all series.
    Collect(oneshot::Sender<Vec<(Arc<str>, Series)>>),
}

/// The way to a worker.
#[derive(Clone, Debug)]
pub(crate) struct WorkerHandle {
    commands: mpsc::UnboundedSender<Command>,
}

impl WorkerHandle {
    /// Sends a command; lost when the worker has ended.
    pub(crate) fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!("a command came after a worker's end");
        }
    }

    /// A copy of the worker's series.
    pub(crate) async fn collect(&self) -> Vec<(Arc<str>, Series)> {
        let (answer, series) = oneshot::channel();
        self.send(Command::Collect(answer));
        series.await.unwrap_or_default()
    }
}

/// What a worker's connections share. Never leaves its thread.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    snapshot: RefCell<LocalSnapshot>,
    rng: RefCell<SmallRng>,
    pub(crate) istio: RefCell<IstioStats>,
    pub(crate) logs: RefCell<LogBuffers>,
    /// Who we are, for peers; a copy of this worker's own, since cloning it counts.
    pub(crate) peer_id: HeaderValue,
    pub(crate) peer_metadata: HeaderValue,
    clusters: RefCell<FastMap<u64, Rc<ClusterLocal>>>,
    next_connection: Cell<u64>,
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            snapshot: RefCell::new(Rc::new(shared.snapshot())),
            rng: RefCell::new(SmallRng::from_os_rng()),
            istio: RefCell::new(IstioStats::new(shared.local.peer.clone())),
            logs: RefCell::new(LogBuffers::new(shared.log_writer.clone())),
            peer_id: copy(&shared.local.id),
            peer_metadata: copy(&shared.local.metadata),
            clusters: RefCell::default(),
            next_connection: Cell::new(1),
            shared,
        }
    }

    /// The configuration of the moment; the shared counter is touched only when it has changed.
    pub(crate) fn snapshot(&self) -> LocalSnapshot {
        let current = self.shared.snapshot.load();
        let mut cached = self.snapshot.borrow_mut();
        if !Arc::ptr_eq(&current, &cached) {
            *cached = Rc::new(Arc::clone(&current));
        }
        Rc::clone(&cached)
    }

    /// A random number.
    pub(crate) fn random(&self) -> u64 {
        self.rng.borrow_mut().random()
    }

    /// A number for a new connection, unique in this worker.
    pub(crate) fn connection_id(&self) -> u64 {
        let id = self.next_connection.get();
        self.next_connection.set(id + 1);
        id
    }

    /// This worker's pools and balancer of a cluster.
    pub(crate) fn cluster(self: &Rc<Self>, cluster: &Arc<Cluster>) -> Rc<ClusterLocal> {
        let mut clusters = self.clusters.borrow_mut();
        let local = clusters.entry(cluster.shared.id).or_insert_with(|| {
            Rc::new(ClusterLocal::new(Arc::clone(&cluster.shared), self.random()))
        });
        Rc::clone(local)
    }

    /// Closes what is idle of clusters that are gone or of endpoints that no cluster names.
    fn sweep(&self) {
        let snapshot = self.snapshot();
        let live: HashMap<u64, &Arc<Cluster>> =
            snapshot.clusters.values().map(|cluster| (cluster.shared.id, cluster)).collect();
        self.clusters.borrow_mut().retain(|id, local| match live.get(id) {
            Some(cluster) => {
                local.sweep(cluster);
                true
            }
            None => {
                local.close_idle();
                false
            }
        });
    }
}

/// A header value that shares nothing with the original.
fn copy(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// Starts the worker threads.
pub(crate) fn start(shared: &Arc<Shared>, count: usize) -> Result<Vec<WorkerHandle>, ProxyError> {
    (0..count.max(1)).map(|index| start_one(Arc::clone(shared), index)).collect()
}

fn start_one(shared: Arc<Shared>, index: usize) -> Result<WorkerHandle, ProxyError> {
    let failed = |source| ProxyError::Worker { index, source };
    let (commands, inbox) = mpsc::unbounded_channel();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let tasks = LocalSet::new();
            let worker = Rc::new(Worker::new(shared));
            tasks.block_on(&runtime, run(Rc::clone(&worker), inbox));
            worker.logs.borrow_mut().flush();
            drop(tasks);
        })
        .map_err(failed)?;
    Ok(WorkerHandle { commands })
}

async fn run(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let shutdown = worker.shared.handle.shutdown_token().clone();
    let mut listening: HashMap<u64, CancellationToken> = HashMap::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            command = inbox.recv() => match command {
                Some(command) => obey(&worker, command, &mut listening),
                None => break,
            },
            _ = tick.tick() => {
                worker.logs.borrow_mut().flush();
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(10) {
                    worker.sweep();
                }
            }
        }
    }
}

fn obey(worker: &Rc<Worker>, command: Command, listening: &mut HashMap<u64, CancellationToken>) {
    match command {
        Command::Listen { id, name, socket } => match socket::register(socket) {
            Ok(socket) => {
                let stop = CancellationToken::new();
                listening.insert(id, stop.clone());
                tokio::task::spawn_local(listener::accept(Rc::clone(worker), name, socket, stop));
            }
            Err(error) => {
                tracing::error!(listener = %name, %error, "cannot use a listening socket")
            }
        },
        Command::Unlisten { id } => {
            if let Some(stop) = listening.remove(&id) {
                stop.cancel();
            }
        }
        Command::Collect(answer) => {
            let series = worker.istio.borrow().collect();
            if answer.send(series).is_err() {
                tracing::debug!("nobody waits for the metrics any more");
            }
        }
    }
}
