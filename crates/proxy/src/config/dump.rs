//! The resources as they came, for the admin interface.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use xds::ResourceType;

/// A resource as it came.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) any: Option<pb::Any>,
    pub(crate) version: String,
    pub(crate) updated: SystemTime,
    /// Not in use yet.
    pub(crate) warming: bool,
    /// The last version that was refused: why, and when.
    pub(crate) error: Option<(String, SystemTime)>,
    /// Fields that were set and have no effect.
    pub(crate) ignored: Vec<String>,
}

/// All resources by type and name.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    entries: Mutex<BTreeMap<(ResourceType, String), Entry>>,
}

impl Dump {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ResourceType, String), Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn accept(
        &self,
        kind: ResourceType,
        name: &str,
        any: pb::Any,
        ignored: Vec<String>,
    ) {
        let entry = Entry {
            any: Some(any),
            version: String::new(),
            updated: SystemTime::now(),
            warming: false,
            error: None,
            ignored,
        };
        self.lock().insert((kind, name.to_owned()), entry);
    }

    pub(super) fn refuse(&self, kind: ResourceType, name: &str, problem: &str) {
        let mut entries = self.lock();
        let entry = entries.entry((kind, name.to_owned())).or_insert_with(|| Entry {
            any: None,
            version: String::new(),
            updated: SystemTime::now(),
            warming: false,
            error: None,
            ignored: Vec::new(),
        });
        entry.error = Some((problem.to_owned(), SystemTime::now()));
    }

    pub(super) fn remove(&self, kind: ResourceType, name: &str) {
        self.lock().remove(&(kind, name.to_owned()));
    }

    pub(super) fn set_version(&self, kind: ResourceType, name: &str, version: &str) {
        if let Some(entry) = self.lock().get_mut(&(kind, name.to_owned())) {
            version.clone_into(&mut entry.version);
        }
    }

    pub(super) fn set_warming(&self, kind: ResourceType, name: &str, warming: bool) {
        if let Some(entry) = self.lock().get_mut(&(kind, name.to_owned())) {
            entry.warming = warming;
        }
    }

    /// All of a type, by name.
    pub(crate) fn of(&self, kind: ResourceType) -> Vec<(String, Entry)> {
        let entries = self.lock();
        let found = entries.iter().filter(|((of, _), _)| *of == kind);
        found.map(|((_, name), entry)| (name.clone(), entry.clone())).collect()
    }
}
