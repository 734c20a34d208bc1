//! The process inside the namespaces that makes the user's files true: it starts the control plane,
//! starts, replaces and stops replicas, keeps the registry, and ends everything in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::address::Allocator;
use crate::bridge::Bridge;
use crate::control::Control;
use crate::envoy;
use crate::event::{Event, Stage};
use crate::files::{Files, Report};
use crate::gateway::HostGateway;
use crate::inherited::adopt;
use crate::launch::Options;
use crate::plan::{Plan, Role};
use crate::registry::Registry;
use crate::replica::{Replica, World};
use crate::state::write_atomically;
use crate::status::collect::Board;
use crate::status::{Phase, server};
use crate::token::Issuer;
use crate::userns;
use crate::watch::Watch;

mod publish;
mod reconcile;

/// After this long the table is shown even if something is still not ready.
const SETTLE: Duration = Duration::from_secs(60);
/// How long the last replica's readiness may take to reach every proxy: the control plane's watch
/// and debounce, and a push.
const SPREAD: Duration = Duration::from_millis(600);
/// All replicas together have this long to end; what is left then dies with the namespace.
const DRAIN: Duration = Duration::from_secs(40);

/// Runs the mesh until told to stop. Gives the code to exit with.
#[must_use]
pub fn run(options: Options) -> u8 {
    match start(options) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error:#}");
            let message = format!("{error:#}");
            Event::Failed { stage: Stage::Runtime, message, errno: None }.send();
            1
        }
    }
}

fn start(options: Options) -> anyhow::Result<()> {
    raise_file_limit();
    // Before anything else is opened or started: nothing that is started may inherit these.
    let _lock = adopt(options.lock).context("the state directory's lock was not handed down")?;
    let mut gateways = Vec::new();
    for socket in &options.sockets {
        let adopted = adopt(socket.fd).context("a host socket was not handed down")?;
        gateways.push(HostGateway { address: socket.address, port: socket.port, socket: adopted });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    let state = options.state.clone();
    let result = runtime.block_on(async {
        let mut runtime = Runtime::new(options, gateways).await?;
        let result = runtime.main_loop().await;
        runtime.finish().await;
        result.map(|()| runtime.orphaned.load(Ordering::Relaxed))
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    state.clean();
    if result? {
        state.remove_lock();
    }
    Ok(())
}

/// The runtime's own state; everything that others see is on the board.
struct Runtime {
    world: Arc<World>,
    control: Arc<Control>,
    board: Arc<Board>,
    files: Files,
    plan: Plan,
    allocator: Allocator,
    replicas: Vec<Arc<Replica>>,
    generations: BTreeMap<String, u32>,
    registry: Registry,
    hosts: BTreeMap<u16, String>,
    links: BTreeMap<String, u16>,
    reported: BTreeMap<u16, (Phase, Option<String>)>,
    noted: BTreeSet<String>,
    control_was_ready: bool,
    control_restarts: u32,
    settled: bool,
    /// When the mesh counts as settled, whatever is still missing.
    settle_by: Instant,
    relay: Option<(u16, CancellationToken)>,
    stop_control: CancellationToken,
    control_task: Option<tokio::task::JoinHandle<()>>,
    /// Whether the outer process is gone, so that nobody else cleans up.
    orphaned: Arc<AtomicBool>,
    watch: Option<Watch>,
}

impl Runtime {
    async fn new(options: Options, gateways: Vec<HostGateway>) -> anyhow::Result<Self> {
        let shutdown = CancellationToken::new();
        let orphaned = follow_control_pipe(shutdown.clone());
        let issuer = Issuer::new()?;
        write_atomically(&options.state.token_key(), issuer.public_pem().as_bytes(), 0o600)
            .context("cannot write the tokens' public key")?;
        let bridge = Bridge::create().await?;
        let changed = Arc::new(Notify::new());
        let control = Arc::new(Control::new(&options, Arc::clone(&changed)));
        let envoy = match envoy::find(options.envoy.as_deref()) {
            Ok(found) => found,
            Err(message) => {
                Event::Note { message: format!("{message}; using mizzen's own proxy") }.send();
                None
            }
        };
        let registry = Registry::new(options.state.registry());
        let watch = Watch::new(&options.directory);
        let mut files = Files::new(&options.directory);
        let report = files.read().context("cannot read the configuration directory")?;
        let users_mapped = userns::has_proxy_user();
        let world = Arc::new(World {
            options,
            issuer,
            bridge,
            gateways,
            users_mapped,
            envoy,
            trust_domain: files.trust_domain(),
            shutdown,
            gateways_ended: CancellationToken::new(),
            changed,
        });
        let board = Arc::new(Board::new(Arc::clone(&world), Arc::clone(&control)));
        let mut runtime = Self {
            world,
            control,
            board,
            files,
            plan: Plan::default(),
            allocator: Allocator::default(),
            replicas: Vec::new(),
            generations: BTreeMap::new(),
            registry,
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            reported: BTreeMap::new(),
            noted: BTreeSet::new(),
            control_was_ready: false,
            control_restarts: 0,
            settled: false,
            settle_by: Instant::now() + SETTLE,
            relay: None,
            stop_control: CancellationToken::new(),
            control_task: None,
            orphaned,
            watch: Some(watch),
        };
        runtime.take_files(report, false);
        Ok(runtime)
    }

    async fn main_loop(&mut self) -> anyhow::Result<()> {
        let board = Arc::clone(&self.board);
        tokio::spawn(async move {
            if let Err(error) = server::serve(board).await {
                tracing::error!("the state socket: {error}");
            }
        });
        let Some(watch) = self.watch.take() else { return Ok(()) };
        self.start_control()?;
        loop {
            self.step();
            let settling = !self.settled;
            tokio::select! {
                () = self.world.shutdown.cancelled() => return Ok(()),
                () = self.world.changed.notified() => {}
                () = watch.changed() => self.reload(),
                () = tokio::time::sleep_until(self.settle_by), if settling => {
                    self.settled = true;
                    Event::Settled.send();
                }
            }
        }
    }

    fn start_control(&mut self) -> anyhow::Result<()> {
        let log = File::create(self.world.options.state.own_log("control"))
            .context("cannot make the control plane's log")?;
        let (control, world) = (Arc::clone(&self.control), Arc::clone(&self.world));
        let stop = self.stop_control.clone();
        self.control_task = Some(tokio::spawn(async move { control.run(&world, log, stop).await }));
        Ok(())
    }

    /// Reads the directory again. What is refused stays at its last good version.
    fn reload(&mut self) {
        match self.files.read() {
            Ok(report) => self.take_files(report, true),
            Err(error) => {
                let directory = self.world.options.directory.display();
                let message = format!("cannot read {directory}: {error}; the mesh stays as it is");
                self.note_once(message);
            }
        }
    }

    fn take_files(&mut self, report: Report, tell: bool) {
        if tell && !report.diagnostics.is_empty() {
            let mut message = report.diagnostics.join("\n");
            if report.errors > 0 {
                message.push_str("\nrefused; the last good version stays");
            }
            Event::Note { message }.send();
        }
        self.board.set_diagnostics(self.files.diagnostics());
        if report.changed {
            self.plan = self.files.plan();
            for pod in self.plan.bare_pods.clone() {
                self.note_once(format!(
                    "Pod {pod}: not started; mizzen up runs the pods of Deployments only"
                ));
            }
            if self.files.trust_domain() != self.world.trust_domain {
                self.note_once(
                    "the trust domain changed; it takes effect when mizzen up is started again"
                        .to_owned(),
                );
            }
            self.write_default_gateway();
        }
    }

    /// Everything that follows from what has changed; quick, and right however often it is called.
    fn step(&mut self) {
        self.note_control();
        self.collect_ended();
        self.reconcile();
        self.publish();
        self.relay_gateway();
        self.report();
    }

    /// Ends gateways, then everything else in the mesh, then the control plane.
    async fn finish(&mut self) {
        Event::Draining.send();
        self.world.shutdown.cancel();
        self.ended(|replica| replica.wanted.role == Role::Gateway).await;
        self.world.gateways_ended.cancel();
        self.ended(|_| true).await;
        self.stop_control.cancel();
        if let Some(control) = self.control_task.take() {
            let _ = control.await;
        }
    }

    async fn ended(&self, which: impl Fn(&Replica) -> bool) {
        let all = async {
            for replica in self.replicas.iter().filter(|replica| which(replica)) {
                replica.done.cancelled().await;
            }
        };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::error!("some workloads did not end in time");
        }
    }
}

/// Lets every process of the mesh open as many files as the system allows: proxies have two for
/// each connection.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

/// The outer process's words: `drain`, or its end, which the answer says. A thread, since standard
/// input may be a pipe that tokio would have to make non-blocking for everybody.
fn follow_control_pipe(shutdown: CancellationToken) -> Arc<AtomicBool> {
    let orphaned = Arc::new(AtomicBool::new(false));
    let answer = Arc::clone(&orphaned);
    std::thread::spawn(move || {
        let mut lines = io::stdin().lock().lines();
        let drain = lines.by_ref().map_while(Result::ok).any(|word| word.trim() == "drain");
        if drain {
            shutdown.cancel();
        }
        // To the end: the outer process may also go while the mesh drains.
        for _ in lines.map_while(Result::ok) {}
        orphaned.store(true, Ordering::Relaxed);
        shutdown.cancel();
    });
    answer
}
