//! A running mesh in a directory of its own, and what is left of it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use local::event::Event;
use local::launch::{GatewayAddress, Launch, LaunchError, Mesh};
use local::state::StateDir;
use local::status::{Phase, Status, WorkloadStatus};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    directory: TempDir,
    pub(crate) launch: Launch,
    mesh: Option<Mesh>,
    events: Receiver<Event>,
}

/// A free port of the host. Somebody else may take it before the mesh does; unlikely enough.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn launch_in(directory: &Path) -> Launch {
    let host = SocketAddr::from(([127, 0, 0, 1], free_port()));
    Launch {
        directory: directory.join("config"),
        state: StateDir::choose(Some(&directory.join("s"))),
        gateways: vec![GatewayAddress { host, port: 8080 }],
        workload_cert_ttl: "24h".to_owned(),
        envoy: None,
    }
}

impl Running {
    /// Starts a mesh of these files.
    pub(crate) fn start(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("config")).unwrap();
        for (name, text) in files {
            fs::write(directory.path().join("config").join(name), text).unwrap();
        }
        let launch = launch_in(directory.path());
        let (mesh, events) = start(&launch).unwrap();
        let (sender, receiver) = channel();
        std::thread::spawn(move || events.for_each(|event| drop(sender.send(event))));
        Self { directory, launch, mesh: Some(mesh), events: receiver }
    }

    /// Writes a configuration file, or removes it.
    pub(crate) fn put(&self, name: &str, text: Option<&str>) {
        let path = self.launch.directory.join(name);
        match text {
            Some(text) => fs::write(path, text).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }

    /// Waits for an event.
    pub(crate) fn wait_event(&self, what: &str, test: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if test(&event) => return event,
                Ok(Event::Failed { message, .. }) => panic!("{what}: failed: {message}"),
                Ok(_) => {}
                Err(error) => panic!("{what}: {error}\n{}", self.log()),
            }
        }
    }

    /// The status, once it is as wanted.
    pub(crate) fn wait_status(&self, what: &str, test: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < deadline {
            last = self.status();
            if let Some(status) = last.as_ref().filter(|status| test(status)) {
                return status.clone();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{what}: {last:#?}\n{}", self.log());
    }

    pub(crate) fn status(&self) -> Option<Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(local::status::fetch(&self.launch.state)).ok().flatten()
    }

    /// Waits until a workload runs.
    pub(crate) fn wait_running(&self, name: &str) -> WorkloadStatus {
        let runs = |status: &Status| {
            status.find(name).is_some_and(|workload| workload.phase == Phase::Running)
        };
        let status = self.wait_status(name, runs);
        status.find(name).unwrap().clone()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.launch.state.own_log("runtime")).unwrap_or_default()
    }

    pub(crate) fn application_log(&self, name: &str) -> String {
        fs::read_to_string(self.launch.state.application_log(name)).unwrap_or_default()
    }

    /// What the gateway answers on the host's socket.
    pub(crate) fn ask_gateway(&self) -> String {
        let mut stream = TcpStream::connect(self.launch.gateways[0].host).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    pub(crate) fn mesh(&mut self) -> &mut Mesh {
        self.mesh.as_mut().unwrap()
    }

    /// Lets go of the mesh without a word: its control pipe closes.
    pub(crate) fn forget(&mut self) {
        self.mesh = None;
    }

    /// Ends the mesh as Ctrl-C does, and looks at what is left.
    pub(crate) fn stop(mut self) {
        let mut mesh = self.mesh.take().unwrap();
        let processes = tree(mesh.boot_pid());
        assert!(processes.len() >= 3, "{processes:?}");
        mesh.drain();
        assert!(mesh.finish(), "{}", self.log());
        assert_gone(&processes);
        self.assert_clean();
    }

    /// Nothing is in the state directory but logs and the authority, and nothing beside it.
    pub(crate) fn assert_clean(&self) {
        let mut left: Vec<String> = names(self.launch.state.path());
        left.sort();
        assert_eq!(left, ["ca", "logs"]);
        let mut beside = names(self.directory.path());
        beside.sort();
        assert_eq!(beside, ["config", "s"]);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut mesh) = self.mesh.take() {
            mesh.kill();
            mesh.finish();
        }
    }
}

pub(crate) fn start(launch: &Launch) -> Result<(Mesh, local::launch::Events), LaunchError> {
    launch.start(&launch.check()?)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// A process of the host and all that descend from it, by id and start time.
pub(crate) fn tree(root: u32) -> Vec<(u32, String)> {
    let mut all: Vec<(u32, u32, String)> = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some((parent, started)) = stat(&entry.path()) else { continue };
        all.push((pid, parent, started));
    }
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(all.iter().filter(|(_, of, _)| *of == parent).map(|(pid, ..)| *pid));
        at += 1;
    }
    all.retain(|(pid, ..)| found.contains(pid));
    all.into_iter().map(|(pid, _, started)| (pid, started)).collect()
}

fn stat(process: &Path) -> Option<(u32, String)> {
    let text = fs::read_to_string(process.join("stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some((fields.get(1)?.parse().ok()?, (*fields.get(19)?).to_owned()))
}

/// None of these processes is there any more.
pub(crate) fn assert_gone(processes: &[(u32, String)]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left: Vec<_> = processes
            .iter()
            .filter(|(pid, started)| {
                stat(&PathBuf::from(format!("/proc/{pid}"))).is_some_and(|(_, now)| now == *started)
            })
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still there: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
