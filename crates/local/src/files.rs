//! The user's directory: which files are read, what they say, what is wrong with them.
//!
//! The control plane reads the same directory by itself, by the same rule: `*.yaml`, `*.yml` and
//! `*.json` at any depth, without hidden files and directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use config::{Catalog, Kind, ObjectKey, Spec};

use crate::gateway;
use crate::plan::Plan;

/// More than this in one file is no configuration.
const FILE_MAX: u64 = 8 << 20;
/// Deeper than this is no directory of configuration but a loop.
const DEPTH_MAX: usize = 16;
/// The name of the file in the registry that holds the default ingress gateway.
pub(crate) const DEFAULT_GATEWAY: &str = "istio-ingressgateway.yaml";

/// The directory's objects, at their last good versions.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
    texts: BTreeMap<String, String>,
    catalog: Catalog,
    default_gateway: Option<String>,
    /// The default gateway's objects, apart: what the user writes himself never clashes with them.
    defaults: Catalog,
}

/// What reading the directory again brought to light.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Whether the objects differ from before.
    pub(crate) changed: bool,
    /// What was not said before, one diagnostic an entry.
    pub(crate) diagnostics: Vec<String>,
    /// How many of the present files are refused, or could not be read.
    pub(crate) errors: usize,
}

impl Files {
    /// Nothing read so far.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
            texts: BTreeMap::new(),
            catalog: Catalog::default(),
            default_gateway: None,
            defaults: Catalog::default(),
        }
    }

    /// Reads the directory and takes over what changed.
    ///
    /// # Errors
    /// When the directory itself cannot be read.
    pub(crate) fn read(&mut self) -> io::Result<Report> {
        let mut report = Report::default();
        let mut found = BTreeMap::new();
        for path in list(&self.directory)? {
            let name = shown(&path);
            match read_text(&path) {
                Ok(text) => {
                    found.insert(name, text);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    report.errors += 1;
                    report.diagnostics.push(format!("{name}: error: cannot be read: {error}"));
                    // What it said before stays.
                    if let Some(text) = self.texts.get(&name) {
                        found.insert(name, text.clone());
                    }
                }
            }
        }
        let mut changes: Vec<(String, Option<String>)> = Vec::new();
        for name in self.texts.keys().filter(|name| !found.contains_key(*name)) {
            changes.push((name.clone(), None));
        }
        for (name, text) in &found {
            if self.texts.get(name) != Some(text) {
                changes.push((name.clone(), Some(text.clone())));
            }
        }
        self.texts = found;
        if !changes.is_empty() {
            let update = self.catalog.update(changes);
            report.changed = update.changed;
            report.errors += update.refused.len();
            report.diagnostics.extend(update.diagnostics.iter().map(ToString::to_string));
        }
        if report.changed {
            self.settle_default_gateway();
        }
        Ok(report)
    }

    /// Adds, changes or removes the default ingress gateway as the user's objects need it.
    fn settle_default_gateway(&mut self) {
        let objects: Vec<_> = self.catalog.objects().cloned().collect();
        let text = gateway::default_objects(&objects);
        if text != self.default_gateway {
            self.defaults.update([(DEFAULT_GATEWAY.to_owned(), text.clone())]);
            self.default_gateway = text;
        }
    }

    /// The YAML of the default ingress gateway, when one is needed.
    pub(crate) fn default_gateway(&self) -> Option<&str> {
        self.default_gateway.as_deref()
    }

    /// All that is wrong or doubtful now.
    pub(crate) fn diagnostics(&self) -> Vec<String> {
        self.catalog.diagnostics().iter().map(ToString::to_string).collect()
    }

    /// The trust domain of the mesh configuration: the ConfigMap `istio` of the root namespace.
    pub(crate) fn trust_domain(&self) -> String {
        let key = ObjectKey::new(Kind::ConfigMap, "istio-system", "istio");
        let mesh = self.catalog.get(&key).and_then(|object| match &object.spec {
            Spec::ConfigMap(map) => map.mesh.clone(),
            _ => None,
        });
        mesh.unwrap_or_default().trust_domain
    }

    /// What shall run.
    pub(crate) fn plan(&self) -> Plan {
        let objects: Vec<_> = self.catalog.objects().chain(self.defaults.objects()).collect();
        Plan::of(objects.iter().copied())
    }
}

/// The configuration files under a directory, in order.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![(directory.to_path_buf(), 0)];
    while let Some((directory, depth)) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if path.is_dir() {
                if depth < DEPTH_MAX {
                    directories.push((path, depth + 1));
                }
            } else if is_configuration(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_configuration(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > FILE_MAX {
        return Err(io::Error::other(format!("it has {length} bytes; the limit is {FILE_MAX}")));
    }
    fs::read_to_string(path)
}

/// A path as a user in the present directory would write it.
pub(crate) fn shown(path: &Path) -> String {
    let relative = env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok());
    relative.unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_configuration_is_listed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("sub/.git")).unwrap();
        for file in ["a.yaml", "b.txt", ".c.yaml", "sub/d.yml", "sub/.git/e.yaml", "f.yaml~"] {
            fs::write(root.join(file), "").unwrap();
        }
        let names: Vec<_> = list(root)
            .unwrap()
            .iter()
            .map(|path| path.strip_prefix(root).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["a.yaml", "sub/d.yml"]);
    }
}
