//! What the running mesh says of itself: the JSON of `GET /status` on `mizzen.sock`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::plan::ProxyKind;
use crate::state::StateDir;
use daemon::http_client;

pub(crate) mod collect;
pub(crate) mod server;

/// A workload's state, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Its namespace, sidecar or application is being started.
    Starting,
    /// It runs, but is not ready for traffic.
    NotReady,
    /// It runs and takes traffic.
    Running,
    /// A process of it ended and will be started again.
    CrashLoopBackOff,
    /// It cannot start until its configuration changes.
    Failed,
    /// It is being stopped.
    Terminating,
}

impl Phase {
    /// Whether waiting longer may still make it ready.
    #[must_use]
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Starting | Self::NotReady)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Starting => "Starting",
            Self::NotReady => "NotReady",
            Self::Running => "Running",
            Self::CrashLoopBackOff => "CrashLoopBackOff",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
        })
    }
}

/// How much of its configuration a proxy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum XdsState {
    /// It acknowledged everything that was sent.
    Synced,
    /// Something was sent and not yet acknowledged.
    Stale,
    /// It is not connected to the control plane.
    NotConnected,
    /// The control plane does not say.
    Unknown,
}

impl std::fmt::Display for XdsState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Synced => "SYNCED",
            Self::Stale => "STALE",
            Self::NotConnected => "NOT CONNECTED",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// One replica of a Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Its name on the command line: the Deployment's, with a number when it has several replicas.
    pub name: String,
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// The name of its Pod, which is also in the proxy's node id.
    pub pod: String,
    /// Its Deployment.
    pub deployment: String,
    /// Its address in the mesh.
    pub address: Ipv4Addr,
    /// What proxies for it; `None` without a sidecar.
    pub proxy: Option<ProxyKind>,
    /// Whether it is a gateway.
    pub gateway: bool,
    /// The identity in its certificate.
    pub spiffe_id: Option<String>,
    /// When its certificate ends, RFC 3339.
    pub certificate_expires: Option<String>,
    /// Its configuration.
    pub xds: Option<XdsState>,
    /// Its phase.
    pub phase: Phase,
    /// Whether it takes traffic.
    pub ready: bool,
    /// How often one of its processes was started again.
    pub restarts: u32,
    /// The last thing that went wrong.
    pub message: Option<String>,
    /// The process ids, inside the mesh's PID namespace, by container name.
    pub processes: BTreeMap<String, i32>,
}

/// The control plane's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlStatus {
    /// Whether it answers.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// The last thing that went wrong.
    pub message: Option<String>,
    /// Its process id inside the mesh's PID namespace.
    pub process: Option<i32>,
}

/// A host socket that the ingress gateway serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Where to reach it from the host.
    pub url: String,
    /// Whether a gateway serves it now.
    pub serving: bool,
}

/// The whole mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The process id of `mizzen up` on the host.
    pub pid: u32,
    /// The directory whose files the mesh follows.
    pub directory: String,
    /// The control plane.
    pub control: ControlStatus,
    /// Every replica, sorted by namespace and name.
    pub workloads: Vec<WorkloadStatus>,
    /// The host's sockets.
    pub gateways: Vec<GatewayStatus>,
    /// What was wrong with the files when they were last read, one diagnostic an entry.
    pub diagnostics: Vec<String>,
}

impl Status {
    /// The workload that a user means: its name, or `<namespace>/<name>`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&WorkloadStatus> {
        self.workloads.iter().find(|workload| workload.name == name).or_else(|| {
            let (namespace, short) = name.split_once('/')?;
            let mut found = self.workloads.iter();
            found.find(|workload| workload.namespace == namespace && workload.name == short)
        })
    }
}

/// Asks the mesh that runs with this state directory; `None` when none runs.
///
/// # Errors
/// When a mesh runs but does not answer as it should.
pub async fn fetch(state: &StateDir) -> anyhow::Result<Option<Status>> {
    let stream = match tokio::net::UnixStream::connect(state.socket()).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(anyhow::Error::new(error)
                .context(format!("cannot reach the mesh at {}", state.socket().display())));
        }
    };
    let (code, body) = http_client::get_on(stream, "/status").await?;
    anyhow::ensure!(code == 200, "the mesh answered {code}: {}", String::from_utf8_lossy(&body));
    Ok(Some(serde_json::from_slice(&body)?))
}
