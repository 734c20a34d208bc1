//! All resources of one proxy, encoded as the control plane sends them, and decoded again into
//! what the proxy decides by: a tool sees what the wire lets through, and no more.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::anyhow;
use engine::{Cluster, Listener, RouteTable, Snapshot};
use pilot::{Proxy, PushContext};
use xds::{LoadAssignment, Resource, ResourceType, patch};

/// The resources of one proxy on the wire.
pub(crate) struct Resources {
    pub(crate) clusters: Vec<pb::Any>,
    pub(crate) load_assignments: Vec<pb::Any>,
    pub(crate) listeners: Vec<pb::Any>,
    pub(crate) routes: Vec<pb::Any>,
}

/// What a proxy of ours decides by.
#[derive(Default)]
pub(crate) struct Configured {
    pub(crate) snapshot: Snapshot,
    /// The route configurations as they came, by name.
    pub(crate) routes: HashMap<String, xds::RouteConfiguration>,
}

impl Resources {
    /// Everything that a proxy would ask for.
    pub(crate) fn of(push: &PushContext, proxy: &Proxy) -> Self {
        let clusters = push.clusters(proxy);
        let load_assignments = clusters
            .iter()
            .filter_map(|cluster| match &cluster.discovery {
                xds::Discovery::Eds { service_name } if service_name.is_empty() => {
                    Some(&cluster.name)
                }
                xds::Discovery::Eds { service_name } => Some(service_name),
                _ => None,
            })
            .filter_map(|name| push.load_assignment(proxy, name))
            .map(|assignment| xds::encode(&Resource::LoadAssignment(assignment)))
            .collect();
        let names = push.route_names(proxy);
        let routes = names.iter().filter_map(|name| push.route_configuration(proxy, name));
        let listeners = push.listeners(proxy).into_iter();
        let patches = push.patches(proxy);
        let patched = |kind, resources: Vec<Resource>| {
            let encoded = resources.iter().map(|r| (r.name().to_owned(), xds::encode(r)));
            let patched = patch::apply(kind, encoded.collect(), &patches);
            patched.resources.into_iter().map(|(_, any)| any).collect()
        };
        Self {
            clusters: patched(
                ResourceType::Cluster,
                clusters.into_iter().map(|c| Resource::Cluster(Box::new(c))).collect(),
            ),
            load_assignments,
            listeners: patched(
                ResourceType::Listener,
                listeners.map(|l| Resource::Listener(Box::new(l))).collect(),
            ),
            routes: patched(
                ResourceType::RouteConfiguration,
                routes.map(Resource::RouteConfiguration).collect(),
            ),
        }
    }

    /// The same, without what only a stock Envoy takes: for a decision by our proxy's engine.
    pub(crate) fn decidable(push: &PushContext, proxy: &Proxy) -> Self {
        Self::of(push, &ours(proxy))
    }

    /// The listeners alone, as for [`Resources::decidable`]: all that a sidecar needs for what
    /// comes in.
    pub(crate) fn listeners(push: &PushContext, proxy: &Proxy) -> Self {
        let proxy = ours(proxy);
        let listeners = push.listeners(&proxy).into_iter();
        let encoded = listeners.map(|listener| {
            (listener.name.clone(), xds::encode(&Resource::Listener(Box::new(listener))))
        });
        let patched =
            patch::apply(ResourceType::Listener, encoded.collect(), &push.patches(&proxy));
        Self {
            clusters: Vec::new(),
            load_assignments: Vec::new(),
            listeners: patched.resources.into_iter().map(|(_, any)| any).collect(),
            routes: Vec::new(),
        }
    }

    /// What a proxy of ours makes of them.
    ///
    /// # Errors
    /// When it would refuse a resource: its NACK.
    pub(crate) fn configured(&self) -> anyhow::Result<Configured> {
        let mut configured = Configured::default();
        self.add_clusters(&mut configured.snapshot)?;
        let mut listeners = HashMap::new();
        for any in &self.listeners {
            let Resource::Listener(listener) = decode(any)? else { continue };
            let name = listener.name.clone();
            let listener =
                Listener::new(*listener).map_err(|error| anyhow!("listener {name}: {error}"))?;
            listeners.insert(name, Arc::new(listener));
        }
        configured.snapshot.set_listeners(listeners);
        for any in &self.routes {
            let Resource::RouteConfiguration(routes) = decode(any)? else { continue };
            let name = routes.name.clone();
            let table = RouteTable::new(&routes)
                .map_err(|error| anyhow!("route configuration {name}: {error}"))?;
            configured.snapshot.routes.insert(name.clone(), Arc::new(table));
            configured.routes.insert(name, routes);
        }
        Ok(configured)
    }

    fn add_clusters(&self, snapshot: &mut Snapshot) -> anyhow::Result<()> {
        let mut assignments: HashMap<String, LoadAssignment> = HashMap::new();
        for any in &self.load_assignments {
            if let Resource::LoadAssignment(assignment) = decode(any)? {
                assignments.insert(assignment.cluster_name.clone(), assignment);
            }
        }
        for any in &self.clusters {
            let Resource::Cluster(cluster) = decode(any)? else { continue };
            let name = cluster.name.clone();
            let mut cluster =
                Cluster::new(*cluster).map_err(|error| anyhow!("cluster {name}: {error}"))?;
            if let Some(assignment) = cluster.eds_name().and_then(|eds| assignments.get(eds)) {
                cluster = cluster.with_hosts(assignment);
            }
            snapshot.clusters.insert(name, Arc::new(cluster));
        }
        Ok(())
    }
}

/// The proxy as if it were ours.
fn ours(proxy: &Proxy) -> Proxy {
    Proxy { user_agent: "mizzen".to_owned(), ..proxy.clone() }
}

fn decode(any: &pb::Any) -> anyhow::Result<Resource> {
    Ok(xds::decode(any).map_err(|error| anyhow!("the proxy would refuse {error}"))?.resource)
}
