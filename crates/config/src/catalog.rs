//! The objects of a set of files, each file at its last good version.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Diagnostic, Object, ObjectKey};

/// The objects of a set of files.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    index: BTreeMap<ObjectKey, Arc<Object>>,
    diagnostics: Vec<Diagnostic>,
}

/// What an update did.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Whether the objects differ from before (in what they say, not where it stands).
    pub changed: bool,
    /// The diagnostics that were not there before.
    pub diagnostics: Vec<Diagnostic>,
    /// All files whose present text is refused.
    pub refused: Vec<String>,
}

impl Catalog {
    /// Takes files' new texts, `None` for a file that is gone.
    pub fn update(
        &mut self,
        _changes: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Update {
        Update::default()
    }

    /// The objects, in the order of their keys.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.index.values()
    }

    /// The object with this key.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.index.get(key)
    }

    /// All present diagnostics: errors of refused files, warnings, findings across objects.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}
