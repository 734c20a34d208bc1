//! What an agent is started with, as plain values.

use std::{
    net::SocketAddr,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
    path::PathBuf,
    time::Duration,
};

use proxy::InheritedListener;

use crate::{discovery::Discovery, environment::Environment};

/// What the proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Beside a workload.
    Sidecar,
    /// A gateway.
    Router,
}

/// Which proxy to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyChoice {
    /// Ours, in this process.
    Mizzen,
    /// A stock Envoy, as a child.
    Envoy {
        /// The executable.
        path: PathBuf,
    },
}

/// Ports of the agent and proxy, Istio's unless a test needs others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The proxy's admin interface, on loopback.
    pub admin: u16,
    /// The agent: merged metrics, `/quitquitquit`, `/drain`.
    pub agent: u16,
    /// Readiness, for probes.
    pub status: u16,
    /// The proxy's own metrics.
    pub prometheus: u16,
    /// The DNS proxy, on loopback.
    pub dns: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { admin: 15000, agent: 15020, status: 15021, prometheus: 15090, dns: 15053 }
    }
}

/// Where names outside the mesh are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Resolvers, asked one after the other.
    pub upstream: Vec<SocketAddr>,
    /// A file in the form of resolv.conf whose `nameserver` lines are used besides.
    pub upstream_resolv_conf: Option<PathBuf>,
}

/// Everything.
#[derive(Debug)]
pub struct AgentOptions {
    /// What the proxy is.
    pub role: Role,
    /// Which proxy runs.
    pub proxy: ProxyChoice,
    /// The control plane.
    pub discovery: Discovery,
    /// The workload.
    pub workload: Environment,
    /// The cluster's domain (`cluster.local`).
    pub domain: String,
    /// Folder of the sockets between agent and proxy.
    pub run_dir: PathBuf,
    /// Names outside the mesh.
    pub dns: Dns,
    /// Ports.
    pub ports: Ports,
    /// The proxy's worker threads.
    pub concurrency: usize,
    /// Level of the proxy's log, as Envoy names them.
    pub proxy_log_level: String,
    /// How long open connections have on termination.
    pub termination_drain: Duration,
    /// How long connections have after a drain, before Envoy closes them.
    pub drain_time: Duration,
    /// Listening sockets that were handed in.
    pub inherited: Vec<InheritedListener>,
}

/// Takes a listening socket that the parent process left open under this number.
///
/// Call it first thing, before anything else is opened, and once for each number.
///
/// # Errors
/// When the number is no open socket of this process.
pub fn inherit(port: u16, fd: RawFd) -> std::io::Result<InheritedListener> {
    let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).map_err(|_| {
        std::io::Error::new(
            std::io::ErrorKind::NotFound,
            format!("file descriptor {fd} for port {port} was not handed in"),
        )
    })?;
    if !target.to_string_lossy().starts_with("socket:") {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            format!("file descriptor {fd} for port {port} is {}, not a socket", target.display()),
        ));
    }
    #[expect(
        unsafe_code,
        reason = "an inherited descriptor has no owner in this process until it is taken here"
    )]
    // SAFETY: the descriptor is open (just seen) and, by this function's contract, taken once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(InheritedListener { port, fd })
}
