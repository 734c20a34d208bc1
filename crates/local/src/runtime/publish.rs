//! What the runtime tells: the control plane by the registry, replicas by their hosts files, tools by
//! links and the board, the gateway by the relay, and the user by events.

use std::fs;
use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Runtime, SPREAD};
use crate::event::Event;
use crate::files::DEFAULT_GATEWAY;
use crate::plan::{ProxyKind, Role};
use crate::registry::{self, PodEntry};
use crate::state::write_atomically;
use crate::status::Phase;

impl Runtime {
    pub(super) fn write_default_gateway(&mut self) {
        let path = self.world.options.state.registry().join(DEFAULT_GATEWAY);
        let written = match self.files.default_gateway() {
            Some(text) => write_atomically(&path, text.as_bytes(), 0o600),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        if let Err(error) = written {
            self.note_once(format!("the default ingress gateway: {}: {error}", path.display()));
        }
    }

    pub(super) fn note_control(&mut self) {
        let status = self.control.status();
        if status.ready && !self.control_was_ready {
            self.control_was_ready = true;
            Event::ControlReady.send();
        }
        if status.restarts > self.control_restarts {
            self.control_restarts = status.restarts;
            let why = status.message.unwrap_or_default();
            let log = self.world.options.state.own_log("control");
            let message =
                format!("control plane: {why}; starting it again (log: {})", log.display());
            Event::Note { message }.send();
        }
    }

    /// Says a thing to the user, unless it was said before.
    pub(super) fn note_once(&mut self, message: String) {
        if self.noted.insert(message.clone()) {
            Event::Note { message }.send();
        }
    }

    /// Brings the registry, the hosts files and the workload links up to date.
    pub(super) fn publish(&mut self) {
        let lives: Vec<_> = self.replicas.iter().map(|replica| replica.live()).collect();
        let entries: Vec<PodEntry<'_>> = self
            .replicas
            .iter()
            .zip(&lives)
            .map(|(replica, live)| PodEntry {
                pod: &replica.pod,
                address: replica.address,
                deployment: &replica.wanted,
                running: live.phase() != Phase::Starting,
                ready: live.phase() == Phase::Running,
                terminating: live.stopping,
            })
            .collect();
        let files = registry::render(&entries, &self.plan.services);
        if let Err(error) = self.registry.write(files) {
            tracing::error!("registry: {error}");
        }
        for replica in self.replicas.iter().filter(|replica| replica.wanted.role == Role::Plain) {
            let text = registry::hosts(&replica.wanted.namespace, &entries, &self.plan.services);
            if self.hosts.get(&replica.number) != Some(&text) {
                // In place: the replica has this very file bound over its /etc/hosts.
                let path = self.world.options.state.replica(replica.number).join("hosts");
                if let Err(error) = fs::write(&path, &text) {
                    tracing::error!("{}: {error}", path.display());
                }
                self.hosts.insert(replica.number, text);
            }
        }
        self.board.set_replicas(&self.replicas);
    }

    /// Copies the host's connections to the gateway when its proxy cannot take the sockets itself.
    pub(super) fn relay_gateway(&mut self) {
        let gateway = self.replicas.iter().find(|replica| {
            replica.wanted.role == Role::Gateway
                && replica.proxy == ProxyKind::Envoy
                && replica.is_ready()
        });
        let target = gateway.map(|replica| (replica.number, replica.address));
        if self.relay.as_ref().map(|(number, _)| *number) == target.map(|(number, _)| number) {
            return;
        }
        if let Some((_, stop)) = self.relay.take() {
            stop.cancel();
        }
        let Some((number, address)) = target else { return };
        let stop = self.world.shutdown.child_token();
        for index in 0..self.world.gateways.len() {
            let (world, stop) = (Arc::clone(&self.world), stop.clone());
            tokio::spawn(async move {
                if let Err(error) = world.gateways[index].relay(address, &stop).await {
                    tracing::error!("gateway relay: {error}");
                }
            });
        }
        self.relay = Some((number, stop));
    }

    /// Tells the outer process of new phases, and when everything has settled.
    pub(super) fn report(&mut self) {
        for replica in &self.replicas {
            let live = replica.live();
            let now = (live.phase(), live.message);
            if self.reported.get(&replica.number) != Some(&now) {
                let (phase, message) = now.clone();
                Event::Workload { name: replica.name.clone(), phase, message }.send();
                self.reported.insert(replica.number, now);
            }
        }
        let wanted: u32 = self.plan.deployments.values().map(|wanted| wanted.replicas).sum();
        let settled = self.control_was_ready
            && self.replicas.len() >= usize::try_from(wanted).unwrap_or(usize::MAX)
            && self.replicas.iter().all(|replica| replica.live().phase().is_settled());
        if settled {
            self.settle_by = self.settle_by.min(Instant::now() + SPREAD);
        }
    }
}
