//! Putting the mesh's status together: what the runtime knows, what each proxy says of its
//! certificate, and what the control plane says of its proxies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use super::{GatewayStatus, Status, WorkloadStatus, XdsState};
use crate::control::Control;
use crate::plan::Role;
use crate::replica::{Replica, World};
use crate::supervise::State;
use daemon::http_client;

/// How long a proxy or the control plane may take to answer.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// What the status is made of. Shared between the runtime, which fills it, and the state socket.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) world: Arc<World>,
    pub(crate) control: Arc<Control>,
    replicas: Mutex<Vec<Arc<Replica>>>,
    diagnostics: Mutex<Vec<String>>,
}

impl Board {
    /// An empty board.
    pub(crate) fn new(world: Arc<World>, control: Arc<Control>) -> Self {
        Self { world, control, replicas: Mutex::default(), diagnostics: Mutex::default() }
    }

    /// Says which replicas there are.
    pub(crate) fn set_replicas(&self, replicas: &[Arc<Replica>]) {
        replicas.clone_into(&mut self.replicas.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Says what is wrong with the files.
    pub(crate) fn set_diagnostics(&self, diagnostics: Vec<String>) {
        *self.diagnostics.lock().unwrap_or_else(PoisonError::into_inner) = diagnostics;
    }

    /// The whole status, now.
    pub(crate) async fn status(&self) -> Status {
        let replicas = self.replicas.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (proxies, expirations) = tokio::join!(
            self.proxies(),
            join_all(replicas.iter().map(|replica| self.certificate_expires(replica)))
        );
        let mut workloads: Vec<WorkloadStatus> = replicas
            .iter()
            .zip(expirations)
            .map(|(replica, expires)| {
                workload(replica, expires, proxies.as_ref(), &self.world.trust_domain)
            })
            .collect();
        workloads
            .sort_by(|a, b| (&a.namespace, &a.name, &a.pod).cmp(&(&b.namespace, &b.name, &b.pod)));
        let serving = replicas
            .iter()
            .any(|replica| replica.wanted.role == Role::Gateway && replica.is_ready());
        let gateways = self.world.gateways.iter();
        Status {
            pid: self.world.options.pid,
            directory: self.world.options.directory.display().to_string(),
            control: self.control.status(),
            workloads,
            gateways: gateways
                .map(|gateway| GatewayStatus { url: gateway.url(), serving })
                .collect(),
            diagnostics: self.diagnostics.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The configuration state of every proxy by its Pod, as the control plane sees it. `None` when
    /// it does not answer.
    async fn proxies(&self) -> Option<BTreeMap<String, XdsState>> {
        let socket = self.world.options.state.debug_socket();
        let (code, body) = http_client::get(&socket, "/debug/syncz", TIMEOUT).await.ok()?;
        if code != 200 {
            return None;
        }
        let answer: Value = serde_json::from_slice(&body).ok()?;
        Some(sync_states(&answer))
    }

    async fn certificate_expires(&self, replica: &Replica) -> Option<String> {
        if replica.wanted.role == Role::Plain {
            return None;
        }
        let socket = self.world.options.state.replica(replica.number).join("admin.sock");
        let (_, body) = http_client::get(&socket, "/certs", TIMEOUT).await.ok()?;
        expiration(&serde_json::from_slice(&body).ok()?)
    }
}

/// The end of the workload's own certificate in an answer of Envoy's `/certs`.
fn expiration(certs: &Value) -> Option<String> {
    let certificates = certs["certificates"].as_array()?;
    let own =
        certificates.iter().flat_map(|entry| entry["cert_chain"].as_array().into_iter().flatten());
    let mut expirations: Vec<&str> =
        own.filter_map(|certificate| certificate["expiration_time"].as_str()).collect();
    // The leaf ends before the authorities in its chain; RFC 3339 in UTC sorts by time.
    expirations.sort_unstable();
    expirations.first().map(|&time| time.to_owned())
}

/// Istio's syncz: an array of `{proxy: "<pod>.<namespace>", <type>_sent, <type>_acked}`.
fn sync_states(answer: &Value) -> BTreeMap<String, XdsState> {
    let entries = answer.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| {
            let proxy = entry["proxy"].as_str().or_else(|| entry["proxy_id"].as_str())?;
            Some((proxy.to_owned(), sync_state(entry)))
        })
        .collect()
}

fn sync_state(entry: &Value) -> XdsState {
    let types = ["cluster", "listener", "route", "endpoint"];
    let text =
        |kind: &str, what: &str| entry[format!("{kind}_{what}")].as_str().unwrap_or_default();
    let acknowledged = types.iter().all(|kind| text(kind, "sent") == text(kind, "acked"));
    match acknowledged {
        true if types.iter().all(|kind| text(kind, "sent").is_empty()) => XdsState::Unknown,
        true => XdsState::Synced,
        false => XdsState::Stale,
    }
}

fn workload(
    replica: &Replica,
    certificate_expires: Option<String>,
    proxies: Option<&BTreeMap<String, XdsState>>,
    trust_domain: &str,
) -> WorkloadStatus {
    let live = replica.live();
    let wanted = &replica.wanted;
    let in_mesh = wanted.role != Role::Plain;
    let node = format!("{}.{}", replica.pod, wanted.namespace);
    let xds = match proxies {
        None => XdsState::Unknown,
        Some(proxies) => proxies.get(&node).copied().unwrap_or(XdsState::NotConnected),
    };
    let spiffe = || {
        let account = wanted.template.spec.service_account();
        format!("spiffe://{trust_domain}/ns/{}/sa/{account}", wanted.namespace)
    };
    let phase = live.phase();
    WorkloadStatus {
        name: replica.name.clone(),
        namespace: wanted.namespace.clone(),
        pod: replica.pod.clone(),
        deployment: wanted.name.clone(),
        address: replica.address,
        proxy: in_mesh.then_some(replica.proxy),
        gateway: wanted.role == Role::Gateway,
        spiffe_id: in_mesh.then(spiffe),
        certificate_expires,
        xds: in_mesh.then_some(xds),
        phase,
        ready: replica.is_ready(),
        restarts: live.restarts,
        processes: live
            .processes()
            .filter_map(|(name, state)| match state {
                State::Running { pid } => Some((name.to_owned(), *pid)),
                _ => None,
            })
            .collect(),
        message: live.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sync_states_compare_nonces() {
        let states = sync_states(&json!([
            { "proxy": "a.ns", "cluster_sent": "n1", "cluster_acked": "n1" },
            { "proxy": "b.ns", "cluster_sent": "n2", "cluster_acked": "n1" },
            { "proxy": "c.ns" },
        ]));
        assert_eq!(states["a.ns"], XdsState::Synced);
        assert_eq!(states["b.ns"], XdsState::Stale);
        assert_eq!(states["c.ns"], XdsState::Unknown);
    }

    #[test]
    fn the_leaf_ends_first() {
        let certs = json!({ "certificates": [
            { "ca_cert": [{ "expiration_time": "2030-01-01T00:00:00Z" }],
              "cert_chain": [{ "expiration_time": "2026-11-25T06:00:00Z" },
                             { "expiration_time": "2036-11-25T06:00:00Z" }] },
        ]});
        assert_eq!(expiration(&certs).unwrap(), "2026-11-25T06:00:00Z");
        assert_eq!(expiration(&json!({})), None);
    }
}
