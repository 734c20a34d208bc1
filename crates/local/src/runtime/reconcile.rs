//! From what is wanted to what runs: starting, replacing and stopping replicas.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use super::Runtime;
use crate::plan::{ProxyKind, Role, Wanted};
use crate::replica::{self, Identity, Replica};

impl Runtime {
    /// Forgets replicas that have ended, and what they had.
    pub(super) fn collect_ended(&mut self) {
        let (ended, running): (Vec<_>, Vec<_>) =
            self.replicas.drain(..).partition(|replica| replica.done.is_cancelled());
        self.replicas = running;
        for replica in ended {
            self.allocator.release(replica.number);
            self.hosts.remove(&replica.number);
            self.reported.remove(&replica.number);
            if self.links.get(&replica.name) == Some(&replica.number) {
                self.links.remove(&replica.name);
                let _ = std::fs::remove_file(self.world.options.state.workload(&replica.name));
            }
            let _ = std::fs::remove_dir_all(self.world.options.state.replica(replica.number));
        }
    }

    /// Starts what is missing and stops what is not wanted.
    pub(super) fn reconcile(&mut self) {
        let plan = self.plan.clone();
        for replica in &self.replicas {
            let key = (replica.wanted.namespace.clone(), replica.wanted.name.clone());
            if !plan.deployments.contains_key(&key) {
                replica.stop.cancel();
            }
        }
        for wanted in plan.deployments.values() {
            // Without a control plane there is no certificate to start a proxy with.
            if wanted.role == Role::Plain || self.control_was_ready {
                self.reconcile_one(wanted);
            }
        }
        self.link_workloads();
    }

    /// One Deployment: for each ordinal one replica of the wanted kind. One of an older kind goes
    /// once its successor takes traffic, or at once if it takes none itself.
    fn reconcile_one(&mut self, wanted: &Arc<Wanted>) {
        let own: Vec<Arc<Replica>> = self
            .replicas
            .iter()
            .filter(|replica| {
                replica.wanted.namespace == wanted.namespace
                    && replica.wanted.name == wanted.name
                    && !replica.stop.is_cancelled()
            })
            .cloned()
            .collect();
        for replica in own.iter().filter(|replica| replica.ordinal >= wanted.replicas) {
            replica.stop.cancel();
        }
        for ordinal in 0..wanted.replicas {
            let of_ordinal = own.iter().filter(|replica| replica.ordinal == ordinal);
            let (current, old): (Vec<_>, Vec<_>) =
                of_ordinal.partition(|replica| replica.wanted.same_pods(wanted));
            let succeeded = current.iter().any(|replica| replica.is_ready());
            for old in old.into_iter().filter(|old| succeeded || !old.is_ready()) {
                old.stop.cancel();
            }
            if current.is_empty() {
                self.start_replica(wanted, ordinal);
            }
        }
    }

    fn start_replica(&mut self, wanted: &Arc<Wanted>, ordinal: u32) {
        let name = self.unused_name(wanted, ordinal);
        let Some(number) = self.allocator.take() else {
            self.note_once(format!("{name}: no address is left in 10.244.0.0/16"));
            return;
        };
        let proxy = self.proxy_for(wanted, &name);
        let base = name.rsplit('/').next().unwrap_or(&name);
        let generation = self.generations.entry(name.clone()).or_default();
        let pod = match *generation {
            0 => base.to_owned(),
            generation => format!("{base}-r{generation}"),
        };
        *generation += 1;
        let identity = Identity { number, ordinal, name: name.clone(), pod, proxy };
        let replica = Arc::new(Replica::new(&self.world, Arc::clone(wanted), identity));
        if let Err(error) = replica::start(&self.world, &replica) {
            self.allocator.release(number);
            self.note_once(format!("{name}: cannot be started: {error}"));
            return;
        }
        self.replicas.push(replica);
    }

    /// The workload's name, unless another Deployment's replica has it: `a-0` of a Deployment `a-0`
    /// and of one `a` with several replicas.
    fn unused_name(&self, wanted: &Wanted, ordinal: u32) -> String {
        let name = wanted.workload(ordinal);
        let taken = self.replicas.iter().any(|replica| {
            replica.name == name
                && (&replica.wanted.namespace, &replica.wanted.name)
                    != (&wanted.namespace, &wanted.name)
        });
        if taken { format!("{name}-of-{}", wanted.name) } else { name }
    }

    fn proxy_for(&mut self, wanted: &Wanted, name: &str) -> ProxyKind {
        if wanted.role == Role::Plain || wanted.proxy == ProxyKind::Mizzen {
            return ProxyKind::Mizzen;
        }
        if self.world.envoy.is_some() {
            return ProxyKind::Envoy;
        }
        self.note_once(format!(
            "{name}: its annotation asks for a stock Envoy, and none was found (--envoy-path, \
             $MIZZEN_ENVOY, the peers' cache, PATH); it has mizzen's own proxy"
        ));
        ProxyKind::Mizzen
    }

    /// Lets `w/<workload>` lead to the replica that has the name now: the newest that takes
    /// traffic, else the newest.
    fn link_workloads(&mut self) {
        let mut best: std::collections::BTreeMap<&str, (bool, u32, u16)> = Default::default();
        for (age, replica) in (0..).zip(&self.replicas) {
            let entry = best.entry(&replica.name).or_insert((false, 0, replica.number));
            *entry = (*entry).max((replica.is_ready(), age, replica.number));
        }
        for (name, (_, _, number)) in best {
            if self.links.get(name) == Some(&number) {
                continue;
            }
            let link = self.world.options.state.workload(name);
            let _ = std::fs::remove_file(&link);
            if let Err(error) = symlink(format!("../r/{number}"), &link) {
                tracing::error!("{}: {error}", link.display());
            }
            self.links.insert(name.to_owned(), number);
        }
    }
}
