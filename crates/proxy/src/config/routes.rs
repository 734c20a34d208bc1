//! Route configurations.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use engine::RouteTable;

use tokio::time::Instant;

use super::{GONE_TIMEOUT, Slot, WARMING_TIMEOUT};

/// All route configurations that listeners need.
#[derive(Debug, Default)]
pub(super) struct Routes {
    slots: BTreeMap<String, Slot<RouteTable>>,
    known: HashMap<String, xds::RouteConfiguration>,
}

impl Routes {
    /// Takes a route configuration.
    pub(super) fn put(&mut self, config: xds::RouteConfiguration) -> Result<(), String> {
        if self.known.get(&config.name) == Some(&config) {
            if let Some(slot) = self.slots.get_mut(&config.name) {
                slot.gone = None;
            }
            return Ok(());
        }
        let table = RouteTable::new(&config).map_err(|error| error.to_string())?;
        self.slots.entry(config.name.clone()).or_default().warm(table);
        self.known.insert(config.name.clone(), config);
        Ok(())
    }

    /// Forgets what no listener has needed for a while: connections of a listener that is gone may
    /// still ask for it.
    pub(super) fn retain(&mut self, wanted: &BTreeSet<String>) {
        self.slots.retain(|name, slot| {
            if wanted.contains(name) {
                slot.gone = None;
                return true;
            }
            slot.gone.get_or_insert_with(Instant::now).elapsed() < GONE_TIMEOUT
        });
        self.known.retain(|name, _| self.slots.contains_key(name));
    }

    /// Puts to use what is warm: all clusters that it names and that exist can be used. Whether
    /// anything changed.
    pub(super) fn advance(&mut self, is_warming: impl Fn(&str) -> bool) -> bool {
        let mut changed = false;
        for slot in self.slots.values_mut() {
            let warm = slot.warming.take_if(|(table, since)| {
                since.elapsed() >= WARMING_TIMEOUT || !clusters(table).any(&is_warming)
            });
            if let Some((table, _)) = warm {
                slot.active = Some(table);
                changed = true;
            }
        }
        changed
    }

    /// Whether a route configuration is in use.
    pub(super) fn is_active(&self, name: &str) -> bool {
        self.slots.get(name).is_some_and(|slot| slot.active.is_some())
    }

    /// The route configurations in use.
    pub(super) fn active(&self) -> HashMap<String, Arc<RouteTable>> {
        let slots = self.slots.iter();
        slots
            .filter_map(|(name, slot)| Some((name.clone(), Arc::clone(slot.active.as_ref()?))))
            .collect()
    }

    /// Clusters that are referred to, by what is in use or will be.
    pub(super) fn referred(&self) -> HashSet<String> {
        let tables = self.slots.values().flat_map(|slot| {
            slot.active.iter().chain(slot.warming.as_ref().map(|(table, _)| table))
        });
        tables.flat_map(|table| clusters(table)).map(str::to_owned).collect()
    }
}

/// The clusters that a table names.
pub(super) fn clusters(table: &RouteTable) -> impl Iterator<Item = &str> {
    let routes = table.virtual_hosts().iter().flat_map(engine::VirtualHost::routes);
    routes.filter_map(engine::Route::action).flat_map(|action| {
        let mut names: Vec<&str> = match &action.cluster {
            xds::ClusterSpecifier::Cluster(name) => vec![name],
            xds::ClusterSpecifier::Weighted(list) => {
                list.iter().map(|one| one.name.as_str()).collect()
            }
        };
        names.extend(action.request_mirror_policies.iter().map(|mirror| mirror.cluster.as_str()));
        names
    })
}
