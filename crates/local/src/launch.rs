//! The outer process of `mizzen up`: checks what can be checked before anything is started, binds
//! the host's sockets, starts the processes inside, and cleans up after them.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::boot::GO;
use crate::envoy;
use crate::event::{Event, Stage};
use crate::files::Files;
use crate::gateway;
use crate::inherited::inheritable;
use crate::state::{Lock, StateDir, StateError};
use crate::userns;

/// Why a mesh did not start. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The files are wrong. Nothing was started.
    #[error("{errors} in {directory}; nothing was started")]
    Configuration {
        /// "1 error", "2 errors".
        errors: String,
        /// The directory.
        directory: String,
        /// Every diagnostic, as it is to be shown.
        diagnostics: Vec<String>,
    },
    /// The directory cannot be read.
    #[error("cannot read {directory}: {source}")]
    Directory {
        /// The directory.
        directory: String,
        /// What the system said.
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The Envoy that the user named is none.
    #[error("{0}")]
    Envoy(String),
    /// A host socket cannot be bound.
    #[error("{0}")]
    Socket(String),
    /// The system refuses namespaces.
    #[error("{0}")]
    Namespaces(String),
    /// A process could not be started or spoken to.
    #[error("cannot start the mesh: {0}")]
    Process(#[from] io::Error),
}

/// A host address at which the ingress gateway is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayAddress {
    /// The address on the host.
    pub host: SocketAddr,
    /// The port of the gateway's pod that it stands for.
    pub port: u16,
}

impl std::str::FromStr for GatewayAddress {
    type Err = String;

    /// `ADDRESS:PORT`, for the gateway's HTTP port, or `ADDRESS:PORT=GATEWAY_PORT`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = match text.split_once('=') {
            Some((host, port)) => {
                (host, port.parse().map_err(|_| format!("{port:?} is not a port number"))?)
            }
            None => (text, gateway::HTTP_PORT),
        };
        let host = host.parse().map_err(|_| {
            format!("{host:?} is not an IP address and port such as 127.0.0.1:8080")
        })?;
        Ok(Self { host, port })
    }
}

/// What the user asked for.
#[derive(Debug)]
pub struct Launch {
    /// The directory of YAML files.
    pub directory: PathBuf,
    /// The state directory.
    pub state: StateDir,
    /// Where the gateway is served on the host.
    pub gateways: Vec<GatewayAddress>,
    /// How long workload certificates live, as Istio writes durations (`24h`).
    pub workload_cert_ttl: String,
    /// The stock Envoy to use, if the user named one.
    pub envoy: Option<PathBuf>,
}

/// Handed from process to process on the command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    pub(crate) directory: PathBuf,
    pub(crate) state: StateDir,
    pub(crate) sockets: Vec<HostSocket>,
    pub(crate) lock: RawFd,
    pub(crate) workload_cert_ttl: String,
    pub(crate) envoy: Option<PathBuf>,
    pub(crate) pid: u32,
}

/// A socket that was bound on the host, by its number in the process that inherits it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct HostSocket {
    pub(crate) address: SocketAddr,
    pub(crate) port: u16,
    pub(crate) fd: RawFd,
}

/// A mesh that is starting or running.
#[derive(Debug)]
pub struct Mesh {
    boot: Child,
    control: ChildStdin,
    state: StateDir,
    _lock: Lock,
}

/// What the mesh tells, in order; ends with the mesh.
#[derive(Debug)]
pub struct Events(BufReader<ChildStdout>);

/// What is noteworthy in files that are good enough to start with.
#[derive(Debug)]
pub struct Checked {
    /// Warnings, as they are to be shown.
    pub warnings: Vec<String>,
    has_gateway: bool,
}

impl Launch {
    /// Reads the directory as the mesh would.
    ///
    /// # Errors
    /// When it cannot be read, a file has an error, or the Envoy to use is none.
    pub fn check(&self) -> Result<Checked, LaunchError> {
        envoy::find(self.envoy.as_deref()).map_err(LaunchError::Envoy)?;
        let directory = self.directory.display().to_string();
        let mut files = Files::new(&self.directory);
        let report = files
            .read()
            .map_err(|source| LaunchError::Directory { directory: directory.clone(), source })?;
        if report.errors > 0 {
            let errors = match report.errors {
                1 => "1 error".to_owned(),
                many => format!("{many} errors"),
            };
            let diagnostics = report.diagnostics;
            return Err(LaunchError::Configuration { errors, directory, diagnostics });
        }
        let has_gateway = files.plan().needs_host_sockets();
        Ok(Checked { warnings: report.diagnostics, has_gateway })
    }

    /// Starts the mesh and waits until it is inside its namespaces.
    ///
    /// # Errors
    /// When another mesh has the state directory, a port is taken, or the system refuses
    /// namespaces. Nothing is left running then.
    pub fn start(&self, checked: &Checked) -> Result<(Mesh, Events), LaunchError> {
        self.check_directories()?;
        self.state.create()?;
        let lock = self.state.lock()?;
        let started = self.start_locked(checked, lock);
        if started.is_err() {
            self.state.clean();
            self.state.remove_lock();
        }
        started
    }

    /// The state directory is hidden from applications, with everything in it.
    fn check_directories(&self) -> Result<(), LaunchError> {
        if self.directory.starts_with(self.state.path()) {
            let source =
                io::Error::other("it is inside the state directory; choose another --state-dir");
            return Err(LaunchError::Directory {
                directory: self.directory.display().to_string(),
                source,
            });
        }
        Ok(())
    }

    fn start_locked(&self, checked: &Checked, lock: Lock) -> Result<(Mesh, Events), LaunchError> {
        let mut held: Vec<OwnedFd> = Vec::new();
        let mut sockets = Vec::new();
        for gateway in &self.gateways {
            let socket = bind(gateway.host, checked.has_gateway)?;
            let address = socket.local_addr()?.as_socket().unwrap_or(gateway.host);
            let (duplicate, fd) = inheritable(&socket.into())?;
            held.push(duplicate);
            sockets.push(HostSocket { address, port: gateway.port, fd });
        }
        self.state.prepare()?;
        let (duplicate, fd) = inheritable(&lock.descriptor()?)?;
        held.push(duplicate);
        let options = Options {
            directory: self.directory.clone(),
            state: self.state.clone(),
            sockets,
            lock: fd,
            workload_cert_ttl: self.workload_cert_ttl.clone(),
            envoy: self.envoy.clone(),
            pid: std::process::id(),
        };
        let mut boot = spawn_boot(&options, &self.state)?;
        drop(held);
        let (Some(control), Some(events)) = (boot.stdin.take(), boot.stdout.take()) else {
            return Err(io::Error::other("the pipes to it are missing").into());
        };
        let mut mesh = Mesh { boot, control, state: self.state.clone(), _lock: lock };
        let mut events = Events(BufReader::new(events));
        match mesh.map_users(&mut events) {
            Ok(()) => Ok((mesh, events)),
            Err(error) => {
                mesh.kill();
                let _ = mesh.boot.wait();
                Err(error)
            }
        }
    }
}

fn spawn_boot(options: &Options, state: &StateDir) -> Result<Child, LaunchError> {
    let log = std::fs::File::create(state.own_log("runtime"))?;
    Ok(Command::new(crate::supervise::SELF)
        .arg0("mizzen")
        .args([
            "internal",
            "boot",
            "--options",
            &serde_json::to_string(options).map_err(io::Error::other)?,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?)
}

/// Binds a host socket. It listens from the start when a gateway will serve it; without one,
/// connections shall be refused rather than wait for nobody.
fn bind(address: SocketAddr, listen: bool) -> Result<Socket, LaunchError> {
    let bind = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        if listen {
            socket.listen(gateway::BACKLOG)?;
        }
        Ok(socket)
    };
    bind().map_err(|error| {
        let (ip, port) = (address.ip(), address.port());
        LaunchError::Socket(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port {port} of {ip} is in use by another program, and the ingress gateway needs \
                 it; stop that program, or choose another port, for example: \
                 --gateway-address {}",
                SocketAddr::new(ip, port.checked_add(1).unwrap_or(8081)),
            ),
            io::ErrorKind::PermissionDenied => format!(
                "port {port} is for root only, and the ingress gateway cannot have it; choose one \
                 from 1024 on, for example: --gateway-address {}",
                SocketAddr::new(ip, 8080),
            ),
            _ => format!(
                "the ingress gateway cannot listen on {address}: {error}; see --gateway-address"
            ),
        })
    })
}

impl Mesh {
    fn map_users(&mut self, events: &mut Events) -> Result<(), LaunchError> {
        match events.next() {
            Some(Event::Unshared) => {}
            Some(Event::Failed { stage, message, errno }) => {
                return Err(LaunchError::Namespaces(userns::explain(stage, &message, errno)));
            }
            _ => {
                let log = self.state.own_log("runtime");
                let message = format!("it ended at once; see {}", log.display());
                return Err(io::Error::other(message).into());
            }
        }
        userns::map(self.boot.id()).map_err(|error| {
            let message = format!("users cannot be mapped into it ({error})");
            LaunchError::Namespaces(userns::explain(
                Stage::Namespaces,
                &message,
                error.raw_os_error(),
            ))
        })?;
        self.control.write_all(GO)?;
        Ok(())
    }

    /// The process that stands for the mesh on the host.
    #[must_use]
    pub fn boot_pid(&self) -> u32 {
        self.boot.id()
    }

    /// Asks the mesh to drain and end.
    pub fn drain(&mut self) {
        let _ = self.control.write_all(b"drain\n");
    }

    /// Ends every process of the mesh at once.
    pub fn kill(&mut self) {
        let _ = self.boot.kill();
    }

    /// Waits until no process of the mesh is left, then removes what it had in the state directory.
    /// Gives whether it ended well.
    pub fn finish(mut self) -> bool {
        let status = self.boot.wait();
        // The first process inside dies with `boot`, but not in the same instant.
        let gone = Duration::from_millis(20);
        for _ in 0..50 {
            if std::os::unix::net::UnixStream::connect(self.state.socket()).is_err() {
                break;
            }
            std::thread::sleep(gone);
        }
        self.state.clean();
        self.state.remove_lock();
        status.is_ok_and(|status| status.success())
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match serde_json::from_str(&line) {
                Ok(event) => return Some(event),
                Err(error) => tracing::debug!("not an event: {line:?}: {error}"),
            }
        }
    }
}

/// A directory as an absolute path, if it is one.
///
/// # Errors
/// When it does not exist or is no directory.
pub fn directory(given: &Path) -> Result<PathBuf, LaunchError> {
    let failed = |source| LaunchError::Directory { directory: given.display().to_string(), source };
    let path = given.canonicalize().map_err(failed)?;
    if !path.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let message = bind(address, true).unwrap_err().to_string();
        assert!(message.contains(&format!("port {} of 127.0.0.1", address.port())), "{message}");
        assert!(message.contains("--gateway-address"), "{message}");
    }

    #[test]
    fn gateway_addresses() {
        let address: GatewayAddress = "127.0.0.1:9000".parse().unwrap();
        assert_eq!((address.host.port(), address.port), (9000, 8080));
        let address: GatewayAddress = "[::1]:443=8443".parse().unwrap();
        assert_eq!((address.host.port(), address.port), (443, 8443));
        assert!("localhost:80".parse::<GatewayAddress>().is_err());
    }
}
