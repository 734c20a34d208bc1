//! All resources together: what arrives is decoded and put aside, what is warm is published.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use xds::{Resource, ResourceType};

use super::{
    clusters::Clusters, dns::Resolvers, listeners::Listeners, routes::Routes, sockets::Sockets,
};
use crate::{
    shared::Shared,
    snapshot::Snapshot,
    tls::{SecretSlot, SecretValue},
};

/// All resources.
#[derive(Debug)]
pub(super) struct Store {
    shared: Arc<Shared>,
    clusters: Clusters,
    routes: Routes,
    listeners: Listeners,
    sockets: Sockets,
    received: BTreeSet<ResourceType>,
    closed: bool,
}

/// Why resources were refused, by name.
pub(super) type Refused = BTreeMap<String, String>;

impl Store {
    pub(super) fn new(shared: Arc<Shared>, resolvers: Resolvers, sockets: Sockets) -> Self {
        Self {
            clusters: Clusters::new(Arc::clone(&shared), resolvers),
            routes: Routes::default(),
            listeners: Listeners::new(Arc::clone(&shared)),
            sockets,
            received: BTreeSet::new(),
            closed: false,
            shared,
        }
    }

    /// Takes a response: each resource is used or refused by itself.
    pub(super) fn apply(
        &mut self,
        kind: ResourceType,
        updated: &[(String, pb::Any)],
        removed: &[String],
        server: Option<&xds::SecretServer>,
    ) -> Refused {
        let mut refused = Refused::new();
        for (name, any) in updated {
            let taken = match xds::decode(any) {
                Ok(decoded) => self.take(decoded.resource, server).map(|()| decoded.ignored),
                Err(error) => Err(error.to_string()),
            };
            match taken {
                Ok(ignored) => {
                    if !ignored.is_empty() {
                        tracing::debug!(?kind, %name, fields = ?ignored, "fields have no effect");
                    }
                    // A secret is shown by what it says, never as it came.
                    if kind != ResourceType::Secret {
                        self.shared.dump.accept(kind, name, any.clone(), ignored);
                    }
                }
                Err(problem) => {
                    tracing::warn!(?kind, %name, %problem, "refused a resource");
                    self.shared.dump.refuse(kind, name, &problem);
                    refused.insert(name.clone(), problem);
                }
            }
        }
        for name in removed {
            self.remove(kind, name, server);
        }
        self.received.insert(kind);
        self.count(kind, refused.is_empty());
        refused
    }

    fn take(
        &mut self,
        resource: Resource,
        server: Option<&xds::SecretServer>,
    ) -> Result<(), String> {
        match resource {
            Resource::Cluster(cluster) => self.clusters.put(*cluster),
            Resource::LoadAssignment(assignment) => {
                self.clusters.put_assignment(assignment);
                Ok(())
            }
            Resource::Listener(listener) => self.listeners.put(*listener),
            Resource::RouteConfiguration(routes) => self.routes.put(routes),
            Resource::Secret(secret) => self.take_secret(&secret, server),
            Resource::NameTable(_) => Ok(()),
        }
    }

    fn take_secret(
        &self,
        secret: &xds::Secret,
        server: Option<&xds::SecretServer>,
    ) -> Result<(), String> {
        let value = Arc::new(SecretValue::new(secret)?);
        for slot in self.secret_slots(&secret.name, server) {
            slot.set(Arc::clone(&value));
        }
        if let SecretValue::Identity(identity) = &*value
            && secret.name == "default"
            && let Some(uri) = identity.leaf().uri_sans.first()
        {
            // Set once: a renewed certificate has the same name.
            let _same = self.shared.principal.set(uri.clone());
        }
        Ok(())
    }

    /// The slots of a secret of one server.
    fn secret_slots(
        &self,
        name: &str,
        server: Option<&xds::SecretServer>,
    ) -> impl Iterator<Item = Arc<SecretSlot>> {
        use xds::SecretServer::{Ads, Cluster};
        let all = self.shared.secrets.all().into_iter();
        all.filter(move |slot| {
            let source = slot.source();
            let same = matches!(
                (&source.server, server),
                (Ads, Some(Ads)) | (Cluster(_), Some(Cluster(_)))
            );
            same && source.name == name
        })
    }

    fn remove(&mut self, kind: ResourceType, name: &str, server: Option<&xds::SecretServer>) {
        match kind {
            ResourceType::Secret => {
                self.secret_slots(name, server).for_each(|slot| slot.set_absent());
            }
            ResourceType::Cluster => self.clusters.remove(name),
            ResourceType::Listener => self.listeners.remove(name),
            // Hosts and routes go with what needs them. Secrets are used until they are replaced.
            _ => {}
        }
        self.shared.dump.remove(kind, name);
    }

    fn count(&self, kind: ResourceType, success: bool) {
        let server = &self.shared.registry.server;
        let (accepted, rejected) = match kind {
            ResourceType::Cluster => (&server.cds_update_success, &server.cds_update_rejected),
            ResourceType::LoadAssignment => {
                (&server.eds_update_success, &server.eds_update_rejected)
            }
            ResourceType::Listener => (&server.lds_update_success, &server.lds_update_rejected),
            ResourceType::RouteConfiguration => {
                (&server.rds_update_success, &server.rds_update_rejected)
            }
            ResourceType::Secret => (&server.sds_update_success, &server.sds_update_rejected),
            ResourceType::NameTable => return,
        };
        if success { accepted.inc() } else { rejected.inc() }
    }

    /// Takes the hosts that a cluster's names resolve to.
    pub(super) fn put_resolved(&mut self, cluster: String, hosts: xds::LoadAssignment) {
        self.clusters.put_resolved(cluster, hosts);
    }

    /// Lets ejected hosts back in whose time is over.
    pub(super) fn sweep(&mut self) {
        self.clusters.sweep();
    }

    /// Stops listening for good.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.sockets.reconcile(&self.shared, &HashMap::new());
    }

    /// What is wanted of a type by name.
    pub(super) fn names(&self, kind: ResourceType) -> BTreeSet<String> {
        match kind {
            ResourceType::LoadAssignment => self.clusters.eds_names(),
            ResourceType::RouteConfiguration => self.listeners.route_names(),
            _ => BTreeSet::new(),
        }
    }

    /// Puts to use what is warm. Clusters come first, since routes refer to them, and go last.
    pub(super) fn publish(&mut self) {
        let wanted = self.listeners.route_names();
        self.routes.retain(&wanted);
        let referred = if self.clusters.has_gone() {
            let mut referred = self.routes.referred();
            referred.extend(self.listeners.referred());
            referred
        } else {
            std::collections::HashSet::new()
        };
        let mut changed = self.clusters.advance(&referred);
        let (clusters, routes) = (&self.clusters, &mut self.routes);
        changed |= routes.advance(|name| clusters.is_warming(name));
        changed |=
            self.listeners.advance(|name| routes.is_active(name), |name| clusters.is_warming(name));
        if changed {
            self.swap();
        } else if self.sockets.is_incomplete() && !self.closed {
            self.sockets.reconcile(&self.shared, &self.listeners.active());
        }
        self.gauges();
        let complete = self.received.contains(&ResourceType::Cluster)
            && self.received.contains(&ResourceType::Listener)
            && self.listeners.is_complete();
        if complete && !self.shared.handle.is_ready() {
            self.shared.handle.set_ready();
        }
    }

    fn swap(&mut self) {
        let listeners = self.listeners.active();
        let mut engine = engine::Snapshot::default();
        engine.routes = self.routes.active();
        engine.set_listeners(
            listeners
                .iter()
                .map(|(name, listener)| (name.clone(), Arc::clone(&listener.engine)))
                .collect(),
        );
        let clusters = self.clusters.active();
        let snapshot = Snapshot { engine, clusters, listeners };
        self.shared.snapshot.store(Arc::new(snapshot));
        if !self.closed {
            self.sockets.reconcile(&self.shared, &self.shared.snapshot().listeners);
        }
        for (name, warming) in self.clusters.warming_names() {
            self.shared.dump.set_warming(ResourceType::Cluster, name, warming);
        }
        for (name, warming) in self.listeners.warming_names() {
            self.shared.dump.set_warming(ResourceType::Listener, name, warming);
        }
    }

    fn gauges(&self) {
        let server = &self.shared.registry.server;
        let snapshot = self.shared.snapshot.load();
        server.clusters_active.set(snapshot.clusters.len() as u64);
        server.clusters_warming.set(self.clusters.warming() as u64);
        server.listeners_active.set(snapshot.listeners.len() as u64);
        server.listeners_warming.set(self.listeners.warming() as u64);
    }
}
