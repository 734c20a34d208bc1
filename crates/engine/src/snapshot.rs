//! All that a proxy decides by, at one moment.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{Cluster, Listener, RouteTable};

/// An immutable configuration; the proxy swaps one for the next atomically.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Route configurations by name.
    pub routes: HashMap<String, Arc<RouteTable>>,
    /// Clusters by name.
    pub clusters: HashMap<String, Arc<Cluster>>,
    listeners: HashMap<String, Arc<Listener>>,
    by_destination: HashMap<(Option<IpAddr>, u16), Arc<Listener>>,
}

impl Snapshot {
    /// Replaces all listeners.
    pub fn set_listeners(&mut self, listeners: HashMap<String, Arc<Listener>>) {
        self.by_destination = listeners
            .values()
            .filter(|listener| !listener.config.use_original_dst)
            .filter_map(|listener| match listener.config.address {
                xds::Address::Socket { ip, port } => {
                    let ip = (!ip.is_unspecified()).then_some(ip);
                    Some(((ip, port), Arc::clone(listener)))
                }
                _ => None,
            })
            .collect();
        self.listeners = listeners;
    }

    /// Listeners by name.
    pub fn listeners(&self) -> &HashMap<String, Arc<Listener>> {
        &self.listeners
    }

    /// The listener that answers for an original destination: the exact address and port, else any
    /// address with the port. None: the connection stays with the listener that accepted it.
    pub fn listener_for(&self, destination: SocketAddr) -> Option<&Arc<Listener>> {
        let port = destination.port();
        self.by_destination
            .get(&(Some(destination.ip().to_canonical()), port))
            .or_else(|| self.by_destination.get(&(None, port)))
    }
}
