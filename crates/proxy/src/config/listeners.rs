//! Listeners.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{Slot, WARMING_TIMEOUT, routes};
use crate::{
    shared::Shared,
    snapshot::{Chain, Context, Listener, Terminal},
};

/// All listeners.
#[derive(Debug)]
pub(super) struct Listeners {
    shared: Arc<Shared>,
    slots: BTreeMap<String, Slot<Listener>>,
    changed: bool,
}

impl Listeners {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, slots: BTreeMap::new(), changed: false }
    }

    /// Takes a listener.
    pub(super) fn put(&mut self, config: xds::Listener) -> Result<(), String> {
        if config.bind_to_port && !matches!(config.address, xds::Address::Socket { .. }) {
            return Err(format!("address: cannot listen on {}", config.address));
        }
        let proxied = |f: &xds::ListenerFilter| f.kind == xds::ListenerFilterKind::ProxyProtocol;
        if let Some(index) = config.listener_filters.iter().position(proxied) {
            return Err(format!(
                "listener_filters[{index}]: the PROXY protocol is not supported; connections \
                 without it would be taken for what they are not"
            ));
        }
        let server = &self.shared.registry.server;
        let current = self.slots.get(&config.name).and_then(Slot::newest);
        if current.is_some_and(|listener| *listener.engine.config == config) {
            return Ok(());
        }
        if current.is_some() {
            server.listeners_modified.inc();
        } else {
            server.listeners_added.inc();
        }
        let name = config.name.clone();
        let context = Context { secrets: &self.shared.secrets, registry: &self.shared.registry };
        let active = self.slots.get(&name).and_then(|slot| slot.active.as_deref());
        let listener =
            Listener::new(config, active, &context).map_err(|error| error.to_string())?;
        self.slots.entry(name).or_default().warm(listener);
        Ok(())
    }

    /// A listener is gone: new connections are not taken, open ones are asked to go.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(slot) = self.slots.remove(name) {
            self.shared.registry.server.listeners_removed.inc();
            if let Some(listener) = slot.active {
                listener.retire(None);
                self.changed = true;
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.slots.values().flat_map(|slot| {
            slot.active.iter().chain(slot.warming.as_ref().map(|(listener, _)| listener))
        })
    }

    /// Names of the route configurations that are needed.
    pub(super) fn route_names(&self) -> BTreeSet<String> {
        self.all().flat_map(|listener| listener.route_names().map(str::to_owned)).collect()
    }

    /// Clusters that are referred to by what is in use or will be.
    pub(super) fn referred(&self) -> HashSet<String> {
        let chains = self.all().flat_map(|listener| listener.chains());
        chains.flat_map(|chain| referred(chain)).collect()
    }

    /// Puts to use what is warm: its routes, secrets and clusters have arrived. Whether anything
    /// changed.
    pub(super) fn advance(
        &mut self,
        has_routes: impl Fn(&str) -> bool,
        is_warming: impl Fn(&str) -> bool,
    ) -> bool {
        let mut changed = std::mem::take(&mut self.changed);
        for slot in self.slots.values_mut() {
            let warm = slot.warming.take_if(|(listener, since)| {
                // Without the agent's secrets a listener would serve nobody: it waits for as long
                // as it takes. What else is missing (a gateway's credential too) only costs the
                // connections and requests that need it.
                let late = since.elapsed() >= WARMING_TIMEOUT;
                let secrets = listener.secrets().all(|secret| {
                    let optional = secret.source().server == xds::SecretServer::Ads;
                    secret.is_settled() || (optional && late)
                });
                let routes = listener.route_names().all(&has_routes);
                let clusters =
                    listener.chains().all(|chain| !chain.tcp_clusters().any(&is_warming));
                secrets && ((routes && clusters) || late)
            });
            if let Some((listener, _)) = warm {
                if let Some(old) = slot.active.replace(Arc::clone(&listener)) {
                    old.retire(Some(&listener));
                }
                changed = true;
            }
        }
        changed
    }

    /// Names of listeners, and whether they wait.
    pub(super) fn warming_names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.slots.iter().map(|(name, slot)| (name.as_str(), slot.warming.is_some()))
    }

    /// How many wait.
    pub(super) fn warming(&self) -> usize {
        self.slots.values().filter(|slot| slot.warming.is_some()).count()
    }

    /// Whether all that can be served is served: nothing waits that could still become warm in
    /// time, and something is in use if there is anything at all.
    pub(super) fn is_complete(&self) -> bool {
        let waits = |slot: &Slot<Listener>| {
            slot.warming.as_ref().is_some_and(|(_, since)| since.elapsed() < WARMING_TIMEOUT)
        };
        let served = self.slots.values().any(|slot| slot.active.is_some());
        (served || self.slots.is_empty()) && !self.slots.values().any(waits)
    }

    /// The listeners in use.
    pub(super) fn active(&self) -> HashMap<String, Arc<Listener>> {
        let slots = self.slots.iter();
        slots
            .filter_map(|(name, slot)| Some((name.clone(), Arc::clone(slot.active.as_ref()?))))
            .collect()
    }
}

fn referred(chain: &Chain) -> Vec<String> {
    let mut names: Vec<String> = chain.tcp_clusters().map(str::to_owned).collect();
    if let Terminal::Http(manager) = &chain.terminal
        && let Some(table) = manager.inline_routes()
    {
        names.extend(routes::clusters(table).map(str::to_owned));
    }
    names
}
