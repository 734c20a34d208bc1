//! Listening sockets: one for each worker and address, kept while some listener has the address.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::Arc,
};

use crate::{InheritedListener, net::socket, shared::Shared, snapshot::Listener, worker::Command};

/// Listening sockets by address.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    bound: HashMap<SocketAddr, Bound>,
    inherited: HashMap<u16, OwnedFd>,
    refused: HashSet<SocketAddr>,
    next_id: u64,
}

#[derive(Debug)]
struct Bound {
    listener: String,
    id: u64,
}

impl Sockets {
    pub(super) fn new(inherited: Vec<InheritedListener>) -> Self {
        let inherited = inherited.into_iter().map(|one| (one.port, one.fd)).collect();
        Self { inherited, ..Self::default() }
    }

    /// Makes sockets for listeners that have none, and closes those without a listener.
    pub(super) fn reconcile(
        &mut self,
        shared: &Shared,
        listeners: &HashMap<String, Arc<Listener>>,
    ) {
        let wanted: HashMap<SocketAddr, &str> = listeners
            .iter()
            .filter(|(_, listener)| listener.engine.config.bind_to_port)
            .filter_map(|(name, listener)| match listener.engine.config.address {
                xds::Address::Socket { ip, port } => {
                    Some((SocketAddr::new(ip, port), name.as_str()))
                }
                _ => None,
            })
            .collect();
        self.bound.retain(|address, bound| {
            let keep = wanted.get(address).is_some_and(|name| *name == bound.listener);
            if !keep {
                for worker in shared.workers() {
                    worker.send(Command::Unlisten { id: bound.id });
                }
            }
            keep
        });
        for (address, name) in wanted {
            if !self.bound.contains_key(&address) {
                self.bind(shared, address, name);
            }
        }
    }

    fn bind(&mut self, shared: &Shared, address: SocketAddr, name: &str) {
        let inherited = self.inherited.get(&address.port());
        let sockets: Result<Vec<_>, _> = shared
            .workers()
            .iter()
            .map(|_| match inherited {
                Some(fd) => socket::adopt(fd),
                None => socket::listen(address),
            })
            .collect();
        let sockets = match sockets {
            Ok(sockets) => sockets,
            Err(error) => {
                if self.refused.insert(address) {
                    shared.registry.server.listener_create_failure.inc();
                    tracing::error!(
                        listener = name, %address, %error,
                        "cannot listen; it is tried again every second"
                    );
                }
                return;
            }
        };
        self.refused.remove(&address);
        self.next_id += 1;
        let id = self.next_id;
        for (worker, socket) in shared.workers().iter().zip(sockets) {
            worker.send(Command::Listen { id, name: name.into(), socket });
        }
        tracing::debug!(listener = name, %address, "listens");
        self.bound.insert(address, Bound { listener: name.to_owned(), id });
    }

    /// Whether some address is still waited for.
    pub(super) fn is_incomplete(&self) -> bool {
        !self.refused.is_empty()
    }
}
