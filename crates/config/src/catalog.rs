//! The objects of a set of files, each file at its last good version.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    Diagnostic, MeshConfig, Object, ObjectKey, analyze,
    parse::{duplicate, parse_file},
};

/// The objects of a set of files.
///
/// A file is refused as a whole when any of its objects has an error, or when it has an object
/// that another file had before. Its last good version stays then, and other files go on. A
/// refused file is tried again at each update, since what it clashed with may be gone.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    files: BTreeMap<String, FileState>,
    index: BTreeMap<ObjectKey, Arc<Object>>,
    diagnostics: Vec<Diagnostic>,
}

/// What an update did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Whether the objects differ from before (in what they say, not in where it stands).
    pub changed: bool,
    /// The diagnostics that were not there before.
    pub diagnostics: Vec<Diagnostic>,
    /// All files whose present text is refused, also those of earlier updates.
    pub refused: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    /// What the file gives to the catalog.
    good: Version,
    /// A text without errors of its own that is not accepted (yet).
    pending: Option<Version>,
    /// Why the present text is refused; empty when it is not.
    errors: Vec<Diagnostic>,
}

#[derive(Clone, Debug, Default)]
struct Version {
    objects: Vec<Arc<Object>>,
    warnings: Vec<Diagnostic>,
}

impl Catalog {
    /// An empty catalog.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes files' new texts, `None` for a file that is gone. Files that are not named keep what
    /// they have. All changes count at once, so an object may move from one file to another.
    pub fn update(
        &mut self,
        changes: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Update {
        for (file, text) in changes {
            match text {
                Some(text) => self.offer(file, &text),
                None => {
                    self.files.remove(&file);
                }
            }
        }
        let down = self.settle_all();
        let changed = self.reindex();
        self.explain(down);
        let before: HashSet<Diagnostic> =
            std::mem::take(&mut self.diagnostics).into_iter().collect();
        self.diagnostics = self.collect_diagnostics();
        let is_new = |diagnostic: &&Diagnostic| !before.contains(*diagnostic);
        Update {
            changed,
            diagnostics: self.diagnostics.iter().filter(is_new).cloned().collect(),
            refused: self.refused().map(str::to_owned).collect(),
        }
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

    /// All present diagnostics by file and line: errors of refused files, warnings, and findings
    /// across objects.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The files whose present text is refused.
    pub fn refused(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter(|(_, state)| !state.errors.is_empty()).map(|(file, _)| &**file)
    }

    /// The files that are known, refused ones included.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The mesh's settings.
    #[must_use]
    pub fn mesh_config(&self) -> MeshConfig {
        MeshConfig::of(self.objects())
    }

    fn offer(&mut self, file: String, text: &str) {
        let parsed = parse_file(&file, text);
        let (errors, warnings) = parsed.diagnostics.into_iter().partition(Diagnostic::is_error);
        let state = self.files.entry(file).or_default();
        state.errors = errors;
        state.pending =
            state.errors.is_empty().then_some(Version { objects: parsed.objects, warnings });
    }

    /// Settles until nothing that was turned down could be accepted after all: what was accepted
    /// may have given up what it clashed with.
    fn settle_all(&mut self) -> Down {
        let pending =
            |catalog: &Self| catalog.files.values().filter(|state| state.pending.is_some()).count();
        loop {
            let before = pending(self);
            let down = self.settle();
            if down.is_empty() || pending(self) == before {
                return down;
            }
        }
    }

    /// Accepts the pending versions that clash with nobody. Of two that clash the one that had
    /// the object before stays, else the first by file name. A version that is turned down brings
    /// its file's last good one back, which may turn down another: hence the rounds, of which
    /// there are at most as many as pending files.
    fn settle(&mut self) -> Down {
        let mut down = Down::new();
        loop {
            let clashes = self.clashes(&down);
            if clashes.is_empty() {
                break;
            }
            down.extend(clashes);
        }
        // The one that a file was turned down for may itself have been turned down later.
        for file in down.keys().cloned().collect::<Vec<_>>() {
            let mut fewer = down.clone();
            fewer.remove(&file);
            if self.clashes(&fewer).is_empty() {
                down = fewer;
            }
        }
        for (file, state) in &mut self.files {
            if !down.contains_key(file)
                && let Some(version) = state.pending.take()
            {
                state.good = version;
                state.errors = Vec::new();
            }
        }
        down
    }

    /// Tells the files that were turned down why, as things stand now.
    fn explain(&mut self, down: Down) {
        for (file, first_errors) in down {
            let Some(state) = self.files.get_mut(&file) else { continue };
            let objects = state.pending.iter().flat_map(|version| &version.objects);
            let clash = |object: &Arc<Object>| {
                let holder = self.index.get(&object.key())?;
                (*holder.origin.file != *file).then(|| duplicate(object, holder))
            };
            let errors: Vec<Diagnostic> = objects.filter_map(clash).collect();
            state.errors = if errors.is_empty() { first_errors } else { errors };
        }
    }

    /// Pending versions not yet in `down` that cannot be accepted, with their errors: all that
    /// clash with what some file has in any case, else the first that clashes with a newcomer.
    fn clashes(&self, down: &Down) -> Down {
        let mut held: BTreeMap<ObjectKey, &Arc<Object>> = BTreeMap::new();
        for object in self.files.values().flat_map(|state| &state.good.objects) {
            held.insert(object.key(), object);
        }
        // What a file had and gives up in its new version is free.
        let mut newcomers: Vec<(&String, Vec<&Arc<Object>>)> = Vec::new();
        for (file, state) in self.files.iter().filter(|(file, _)| !down.contains_key(*file)) {
            let Some(version) = &state.pending else { continue };
            let had: BTreeSet<ObjectKey> = state.good.objects.iter().map(|o| o.key()).collect();
            let has: BTreeSet<ObjectKey> = version.objects.iter().map(|o| o.key()).collect();
            for gone in had.difference(&has) {
                held.remove(gone);
            }
            let new = version.objects.iter().filter(|object| !had.contains(&object.key()));
            newcomers.push((file, new.collect()));
        }
        let certain = clashes_with(&held, &newcomers);
        if !certain.is_empty() {
            return certain;
        }
        for (file, objects) in newcomers {
            let found = clashes_with(&held, &[(file, objects.clone())]);
            if !found.is_empty() {
                return found;
            }
            held.extend(objects.into_iter().map(|object| (object.key(), object)));
        }
        Down::new()
    }

    fn reindex(&mut self) -> bool {
        let objects = self.files.values().flat_map(|state| &state.good.objects);
        let index: BTreeMap<ObjectKey, Arc<Object>> =
            objects.map(|object| (object.key(), Arc::clone(object))).collect();
        let changed = index != self.index;
        self.index = index;
        changed
    }

    fn collect_diagnostics(&self) -> Vec<Diagnostic> {
        let mut all = Vec::new();
        for state in self.files.values() {
            all.extend(state.errors.iter().cloned());
            all.extend(state.good.warnings.iter().cloned());
        }
        all.extend(analyze(self.objects()));
        all.sort();
        all.dedup();
        all
    }
}

/// Files whose new version is turned down, and why.
type Down = BTreeMap<String, Vec<Diagnostic>>;

fn clashes_with(
    held: &BTreeMap<ObjectKey, &Arc<Object>>,
    newcomers: &[(&String, Vec<&Arc<Object>>)],
) -> Down {
    let mut found = Down::new();
    for (file, objects) in newcomers {
        for object in objects {
            if let Some(holder) = held.get(&object.key()) {
                found.entry((*file).clone()).or_default().push(duplicate(object, holder));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
