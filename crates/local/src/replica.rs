//! One replica of a Deployment: a thread in namespaces of its own that runs capture, sidecar,
//! application and probes, and tells the runtime how they do.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::bridge::Bridge;
use crate::gateway::HostGateway;
use crate::launch::Options;
use crate::plan::{ProxyKind, Role, Wanted};
use crate::status::Phase;
use crate::supervise::State;
use crate::token::Issuer;

mod application;
mod environment;
mod health;
mod probe;
mod run;
mod sidecar;

pub(crate) use run::start;

/// What all replicas share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) issuer: Issuer,
    pub(crate) bridge: Bridge,
    pub(crate) gateways: Vec<HostGateway>,
    /// Whether sidecars run as the proxy's user, and are told from applications by it.
    pub(crate) users_mapped: bool,
    pub(crate) envoy: Option<PathBuf>,
    /// The trust domain of all identities.
    pub(crate) trust_domain: String,
    /// Cancelled when the whole mesh ends; gateways end then, so that no new calls come in.
    pub(crate) shutdown: CancellationToken,
    /// Cancelled once the gateways have ended; all others end then.
    pub(crate) gateways_ended: CancellationToken,
    /// Told whenever a replica's state changes.
    pub(crate) changed: Arc<Notify>,
}

/// A replica, running or not.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) number: u16,
    pub(crate) ordinal: u32,
    /// Its name on the command line.
    pub(crate) name: String,
    /// Its Pod's name: unlike `name`, never shared with a replica that it replaces.
    pub(crate) pod: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) wanted: Arc<Wanted>,
    /// What really proxies for it.
    pub(crate) proxy: ProxyKind,
    /// Cancelled when it shall end.
    pub(crate) stop: CancellationToken,
    /// Cancelled when it has ended.
    pub(crate) done: CancellationToken,
    changed: Arc<Notify>,
    live: Mutex<Live>,
}

/// A replica's state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// The sidecar's or gateway's process.
    pub(crate) sidecar: Option<State>,
    pub(crate) sidecar_ready: bool,
    /// The containers' processes, by name.
    pub(crate) containers: BTreeMap<String, State>,
    /// Which containers pass their readiness probe.
    pub(crate) containers_ready: BTreeMap<String, bool>,
    /// What keeps it from starting at all.
    pub(crate) blocked: Option<String>,
    pub(crate) stopping: bool,
    pub(crate) restarts: u32,
    /// The last thing that went wrong.
    pub(crate) message: Option<String>,
}

/// What a new replica is made of.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) number: u16,
    pub(crate) ordinal: u32,
    pub(crate) name: String,
    pub(crate) pod: String,
    pub(crate) proxy: ProxyKind,
}

impl Replica {
    /// A replica that has not been started.
    pub(crate) fn new(world: &World, wanted: Arc<Wanted>, identity: Identity) -> Self {
        let Identity { number, ordinal, name, pod, proxy } = identity;
        let stop = match wanted.role {
            Role::Gateway => world.shutdown.child_token(),
            Role::Plain | Role::Injected => world.gateways_ended.child_token(),
        };
        let containers = wanted.template.spec.containers.iter();
        let live = Live {
            sidecar: (wanted.role != Role::Plain).then_some(State::Pending),
            containers: containers
                .filter(|_| wanted.role != Role::Gateway)
                .map(|container| (container.name.clone(), State::Pending))
                .collect(),
            ..Live::default()
        };
        Self {
            number,
            ordinal,
            name,
            pod,
            address: crate::address::of_replica(number),
            wanted,
            proxy,
            stop,
            done: CancellationToken::new(),
            changed: Arc::clone(&world.changed),
            live: Mutex::new(live),
        }
    }

    /// Its state now.
    pub(crate) fn live(&self) -> Live {
        self.lock().clone()
    }

    /// Whether it takes traffic.
    pub(crate) fn is_ready(&self) -> bool {
        self.lock().phase() == Phase::Running
    }

    /// Changes its state and tells the runtime.
    fn update(&self, change: impl FnOnce(&mut Live)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// All its processes, by container name.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (&str, &State)> {
        let sidecar = self.sidecar.iter().map(|state| ("istio-proxy", state));
        sidecar.chain(self.containers.iter().map(|(name, state)| (name.as_str(), state)))
    }

    /// Its state in one word.
    pub(crate) fn phase(&self) -> Phase {
        if self.stopping {
            return Phase::Terminating;
        }
        let any = |test: fn(&State) -> bool| self.processes().any(|(_, state)| test(state));
        if self.blocked.is_some() || any(|state| matches!(state, State::Failed { .. })) {
            Phase::Failed
        } else if any(|state| matches!(state, State::Waiting { looping: true, .. })) {
            Phase::CrashLoopBackOff
        } else if self.processes().next().is_none() || any(|state| matches!(state, State::Pending))
        {
            Phase::Starting
        } else if self.all_ready() {
            Phase::Running
        } else {
            Phase::NotReady
        }
    }

    fn all_ready(&self) -> bool {
        let running = |state: &State| matches!(state, State::Running { .. });
        self.processes().all(|(_, state)| running(state))
            && (self.sidecar.is_none() || self.sidecar_ready)
            && self
                .containers
                .keys()
                .all(|name| self.containers_ready.get(name).copied().unwrap_or(false))
    }

    /// Takes over what a supervisor says of a process.
    fn note(&mut self, container: &str, state: &State) {
        match state {
            State::Waiting { message, .. } => {
                self.restarts = self.restarts.saturating_add(1);
                self.message = Some(format!("{container}: {message}"));
            }
            State::Failed { message } => self.message = Some(format!("{container}: {message}")),
            State::Pending | State::Running { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_the_processes() {
        let mut live = Live::default();
        assert_eq!(live.phase(), Phase::Starting);
        live.sidecar = Some(State::Running { pid: 5 });
        live.containers.insert("app".into(), State::Pending);
        assert_eq!(live.phase(), Phase::Starting);
        live.containers.insert("app".into(), State::Running { pid: 6 });
        assert_eq!(live.phase(), Phase::NotReady);
        live.sidecar_ready = true;
        live.containers_ready.insert("app".into(), true);
        assert_eq!(live.phase(), Phase::Running);
        let waiting = |looping| State::Waiting { message: "exited with code 1".into(), looping };
        live.containers.insert("app".into(), waiting(false));
        assert_eq!(live.phase(), Phase::NotReady);
        live.containers.insert("app".into(), waiting(true));
        assert_eq!(live.phase(), Phase::CrashLoopBackOff);
        live.containers.insert("app".into(), State::Failed { message: "not found".into() });
        assert_eq!(live.phase(), Phase::Failed);
        live.stopping = true;
        assert_eq!(live.phase(), Phase::Terminating);
    }
}
