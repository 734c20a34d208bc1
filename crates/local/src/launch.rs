//! The outer process of `mizzen up`: checks what can be checked before anything is started, binds
//! the host's sockets, starts the processes inside, and cleans up after them.

use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::envoy;
use crate::files::Files;
use crate::gateway;
use crate::inherited::inheritable;
use crate::state::{Lock, StateDir, StateError};

mod mesh;
mod socket;

pub use mesh::{Events, Mesh};
use socket::bind;

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
    fn gateway_addresses() {
        let address: GatewayAddress = "127.0.0.1:9000".parse().unwrap();
        assert_eq!((address.host.port(), address.port), (9000, 8080));
        let address: GatewayAddress = "[::1]:443=8443".parse().unwrap();
        assert_eq!((address.host.port(), address.port), (443, 8443));
        assert!("localhost:80".parse::<GatewayAddress>().is_err());
    }
}
