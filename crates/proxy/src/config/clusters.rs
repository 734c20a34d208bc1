//! Clusters and their hosts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{GONE_TIMEOUT, Slot, WARMING_TIMEOUT, dns::Resolvers};
use crate::{cluster::Cluster, shared::Shared};

/// All clusters, and the load assignments that came for them.
#[derive(Debug)]
pub(super) struct Clusters {
    shared: Arc<Shared>,
    slots: BTreeMap<String, Slot<Cluster>>,
    assignments: HashMap<String, xds::LoadAssignment>,
    resolved: HashMap<String, xds::LoadAssignment>,
    swept: HashMap<String, Instant>,
    resolvers: Resolvers,
    changed: bool,
}

impl Clusters {
    pub(super) fn new(shared: Arc<Shared>, resolvers: Resolvers) -> Self {
        Self {
            shared,
            slots: BTreeMap::new(),
            assignments: HashMap::new(),
            resolved: HashMap::new(),
            swept: HashMap::new(),
            resolvers,
            changed: false,
        }
    }

    /// Takes a cluster.
    pub(super) fn put(&mut self, config: xds::Cluster) -> Result<(), String> {
        let server = &self.shared.registry.server;
        let name = config.name.clone();
        let slot = self.slots.entry(name.clone()).or_default();
        if slot.newest().is_some_and(|cluster| *cluster.shared.config == config) {
            slot.gone = None;
            return Ok(());
        }
        if slot.newest().is_some() {
            server.clusters_modified.inc();
        } else {
            server.clusters_added.inc();
        }
        let compiled = Cluster::new(
            config,
            &self.shared.secrets,
            &self.shared.registry,
            self.shared.socket_mark,
        );
        let mut cluster = match compiled {
            Ok(cluster) => cluster,
            Err(error) => {
                if slot.newest().is_none() {
                    self.slots.remove(&name);
                }
                return Err(error.to_string());
            }
        };
        self.resolvers.watch(&cluster.shared.config);
        // Hosts that it already had keep what was learned of them.
        let previous = slot.newest().map(|old| Arc::clone(&old.engine.hosts)).unwrap_or_default();
        let hosts = match &cluster.shared.config.discovery {
            xds::Discovery::Static(hosts) => Some(hosts.clone()),
            xds::Discovery::Eds { .. } => {
                cluster.engine.eds_name().and_then(|service| self.assignments.get(service)).cloned()
            }
            xds::Discovery::StrictDns(_) | xds::Discovery::LogicalDns(_) => {
                self.resolved.get(&name).cloned()
            }
            xds::Discovery::OriginalDst => None,
        };
        if let Some(hosts) = hosts {
            cluster.engine.hosts = previous;
            cluster = cluster.with_hosts(&hosts);
        }
        slot.warm(cluster);
        Ok(())
    }

    /// The control plane says that a cluster is gone. It stays for those who still refer to it.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.warming = None;
            slot.gone = slot.gone.or(Some(Instant::now()));
        }
    }

    /// Takes the hosts of an EDS service.
    pub(super) fn put_assignment(&mut self, assignment: xds::LoadAssignment) {
        let name = assignment.cluster_name.clone();
        if self.assignments.get(&name) == Some(&assignment) {
            return;
        }
        let wants = |cluster: &Cluster| cluster.engine.eds_name() == Some(name.as_str());
        set_hosts(&mut self.slots, &assignment, wants, &mut self.changed);
        self.assignments.insert(name, assignment);
    }

    /// Takes the hosts that a cluster's names resolve to.
    pub(super) fn put_resolved(&mut self, name: String, assignment: xds::LoadAssignment) {
        let wants = |cluster: &Cluster| *cluster.shared.name == *name;
        set_hosts(&mut self.slots, &assignment, wants, &mut self.changed);
        self.resolved.insert(name, assignment);
    }

    /// Names of the EDS services whose hosts are wanted.
    pub(super) fn eds_names(&self) -> BTreeSet<String> {
        let all = self.slots.values().flat_map(|slot| {
            slot.active.iter().chain(slot.warming.as_ref().map(|(value, _)| value))
        });
        all.filter_map(|cluster| cluster.engine.eds_name()).map(str::to_owned).collect()
    }

    /// Puts to use what is warm, and lets go of what nobody refers to; whether anything changed.
    pub(super) fn advance(&mut self, referred: &HashSet<String>) -> bool {
        let mut changed = std::mem::take(&mut self.changed);
        let (assignments, resolved) = (&self.assignments, &self.resolved);
        for slot in self.slots.values_mut() {
            let warm = slot
                .warming
                .take_if(|(cluster, since)| {
                    is_warm(cluster, assignments, resolved) || since.elapsed() >= WARMING_TIMEOUT
                })
                .map(|(cluster, _)| cluster);
            if let Some(cluster) = warm {
                cluster.count_members();
                cluster.shared.stats.update_success.inc();
                slot.active = Some(cluster);
                changed = true;
            }
        }
        let gone: Vec<String> = self
            .slots
            .iter()
            .filter(|(name, slot)| {
                slot.gone.is_some_and(|since| {
                    !referred.contains(*name) || since.elapsed() >= GONE_TIMEOUT
                })
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.slots.remove(&name);
            self.resolved.remove(&name);
            self.resolvers.forget(&name);
            self.shared.registry.remove_cluster(&name);
            self.shared.registry.server.clusters_removed.inc();
            changed = true;
        }
        if changed {
            let wanted = self.eds_names();
            self.assignments.retain(|name, _| wanted.contains(name));
        }
        changed
    }

    /// Whether a cluster is known but cannot be used yet.
    pub(super) fn is_warming(&self, name: &str) -> bool {
        self.slots.get(name).is_some_and(|slot| slot.active.is_none())
    }

    /// How many wait.
    pub(super) fn warming(&self) -> usize {
        self.slots.values().filter(|slot| slot.warming.is_some()).count()
    }

    /// Whether some are kept only for those who still refer to them.
    pub(super) fn has_gone(&self) -> bool {
        self.slots.values().any(|slot| slot.gone.is_some())
    }

    /// Names of clusters that wait.
    pub(super) fn warming_names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.slots.iter().map(|(name, slot)| (name.as_str(), slot.warming.is_some()))
    }

    /// The clusters in use.
    pub(super) fn active(&self) -> HashMap<String, Arc<Cluster>> {
        let slots = self.slots.iter();
        slots
            .filter_map(|(name, slot)| Some((name.clone(), Arc::clone(slot.active.as_ref()?))))
            .collect()
    }

    /// Lets hosts back in whose ejection has ended; to be called often.
    pub(super) fn sweep(&mut self) {
        let now = Instant::now();
        for (name, slot) in &self.slots {
            let Some(cluster) = &slot.active else { continue };
            let Some(detector) = &cluster.engine.outlier_detection else { continue };
            let last = self.swept.entry(name.clone()).or_insert(now);
            if now.duration_since(*last) >= detector.interval {
                *last = now;
                cluster.sweep();
            }
        }
    }
}

fn set_hosts(
    slots: &mut BTreeMap<String, Slot<Cluster>>,
    assignment: &xds::LoadAssignment,
    wants: impl Fn(&Cluster) -> bool,
    changed: &mut bool,
) {
    for slot in slots.values_mut() {
        if let Some(cluster) = &mut slot.active
            && wants(cluster)
        {
            *cluster = Arc::new(cluster.with_hosts(assignment));
            cluster.shared.stats.update_success.inc();
            *changed = true;
        }
        if let Some((cluster, _)) = &mut slot.warming
            && wants(cluster)
        {
            *cluster = Arc::new(cluster.with_hosts(assignment));
        }
    }
}

/// Whether all that a cluster needs has arrived.
fn is_warm(
    cluster: &Cluster,
    assignments: &HashMap<String, xds::LoadAssignment>,
    resolved: &HashMap<String, xds::LoadAssignment>,
) -> bool {
    let hosts = match &cluster.shared.config.discovery {
        xds::Discovery::Eds { .. } => {
            cluster.engine.eds_name().is_some_and(|name| assignments.contains_key(name))
        }
        xds::Discovery::StrictDns(_) | xds::Discovery::LogicalDns(_) => {
            resolved.contains_key(&*cluster.shared.name)
        }
        xds::Discovery::Static(_) | xds::Discovery::OriginalDst => true,
    };
    hosts && cluster.secrets().all(|secret| secret.is_settled())
}
