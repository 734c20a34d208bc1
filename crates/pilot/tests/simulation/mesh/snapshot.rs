//! A proxy's resources, compiled as a proxy compiles them.

use std::{collections::HashMap, sync::Arc};

use engine::{Cluster, Listener, RouteTable, Snapshot};
use pilot::{Proxy, PushContext};

/// Compiles all of a proxy's resources, as a proxy does.
pub(crate) fn snapshot(push: &PushContext, proxy: &Proxy) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for cluster in push.clusters(proxy) {
        let name = cluster.name.clone();
        let cluster = Cluster::new(cluster).unwrap_or_else(|error| panic!("{name}: {error}"));
        let cluster = match cluster.eds_name() {
            Some(eds) => {
                let assignment = push.load_assignment(proxy, eds);
                cluster.with_hosts(&assignment.unwrap_or_else(|| panic!("no endpoints of {eds}")))
            }
            None => resolved(cluster),
        };
        let twin = snapshot.clusters.insert(name.clone(), Arc::new(cluster));
        assert!(twin.is_none(), "two clusters {name}");
    }
    let mut listeners = HashMap::new();
    for listener in push.listeners(proxy) {
        let name = listener.name.clone();
        let listener = Listener::new(listener).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(listeners.insert(name.clone(), Arc::new(listener)).is_none(), "two {name}");
    }
    snapshot.set_listeners(listeners);
    for name in push.route_names(proxy) {
        let routes = push.route_configuration(proxy, &name);
        let routes = routes.unwrap_or_else(|| panic!("no route configuration {name}"));
        let table = RouteTable::new(&routes).unwrap_or_else(|error| panic!("{name}: {error}"));
        snapshot.routes.insert(name, Arc::new(table));
    }
    snapshot
}

/// Plays DNS: every name has the address 198.51.100.1.
fn resolved(cluster: Cluster) -> Cluster {
    let (xds::Discovery::StrictDns(names) | xds::Discovery::LogicalDns(names)) =
        &cluster.config.discovery
    else {
        return cluster;
    };
    let mut hosts = names.clone();
    for endpoint in hosts.localities.iter_mut().flat_map(|locality| &mut locality.endpoints) {
        if let xds::Address::Hostname { port, .. } = endpoint.address {
            endpoint.address = xds::Address::socket([198, 51, 100, 1], port);
        }
    }
    cluster.with_hosts(&hosts)
}
