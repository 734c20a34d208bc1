//! What tools stand on that answer from files alone: a directory's objects as a mesh at rest, the
//! parties in it, and each one's configuration as it would come over the wire.

mod dump;
mod party;
mod resources;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use config::{Catalog, Diagnostic, Object};
use local::offline::{Offline, Workload};
use pilot::{PushContext, World};

pub(crate) use dump::{cluster_statuses, config_dump};
pub(crate) use party::Party;
pub(crate) use resources::{Configured, Resources};

/// What the files say, sound or not.
pub(crate) struct Files {
    pub(crate) catalog: Catalog,
}

/// A mesh at rest, made of files without errors.
pub(crate) struct Mesh {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) push: PushContext,
}

impl Files {
    /// Reads directories and files.
    pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut texts = BTreeMap::new();
        for path in paths {
            let found = local::offline::read(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            texts.extend(found);
        }
        let mut catalog = Catalog::new();
        catalog.update(texts.into_iter().map(|(name, text)| (name, Some(text))));
        Ok(Self { catalog })
    }

    /// The objects that stand.
    pub(crate) fn objects(&self) -> Vec<Arc<Object>> {
        self.catalog.objects().cloned().collect()
    }

    /// Files that are refused. What such a file would say must not be guessed.
    fn refusals(&self) -> Vec<String> {
        let refused: Vec<&str> = self.catalog.refused().collect();
        let of_refused = |one: &&Diagnostic| one.is_error() && refused.contains(&&*one.file);
        self.catalog.diagnostics().iter().filter(of_refused).map(ToString::to_string).collect()
    }
}

impl Mesh {
    /// Reads a mesh.
    ///
    /// # Errors
    /// When a path cannot be read, or a file is refused.
    pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let files = Files::read(paths)?;
        let refusals = files.refusals();
        if !refusals.is_empty() {
            bail!("the configuration has errors:\n{}", refusals.join("\n"));
        }
        Ok(Self::of(&files.objects()))
    }

    /// The mesh of some objects.
    pub(crate) fn of(objects: &[Arc<Object>]) -> Self {
        let Offline { objects, workloads } = Offline::of(objects);
        let push = PushContext::new(Arc::new(World::new(objects.clone())));
        Self { objects, workloads, push }
    }

    /// The workload with this address.
    pub(crate) fn at(&self, address: IpAddr) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.address == address)
    }

    /// The workload that a user means: a pod's or a Deployment's name, perhaps after a namespace.
    /// Of a Deployment's pods the first is taken.
    pub(crate) fn workload(&self, name: &str) -> anyhow::Result<&Workload> {
        let (namespace, short) = match name.split_once('/') {
            Some((namespace, short)) => (Some(namespace), short),
            None => (None, name),
        };
        let within = |workload: &&Workload| namespace.is_none_or(|ns| workload.namespace == ns);
        let candidates = || self.workloads.iter().filter(within);
        let mut found: Vec<&Workload> = candidates().filter(|w| w.pod == short).collect();
        if found.is_empty() {
            found = candidates().filter(|w| w.deployment.as_deref() == Some(short)).collect();
        }
        let Some(first) = found.first() else {
            let known: Vec<String> = self.workloads.iter().map(full_name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            bail!("there is no workload {name:?}; the workloads are: {known}");
        };
        if found.iter().any(|other| other.namespace != first.namespace) {
            let names: Vec<String> = found.iter().map(|workload| full_name(workload)).collect();
            bail!("{name:?} is not clear; one of {}", names.join(", "));
        }
        Ok(first)
    }

    /// The party that a command line names: a workload, or a proxy that a file describes.
    pub(crate) fn party(&self, from: Option<&str>, proxy: Option<&Path>) -> anyhow::Result<Party> {
        match (proxy, from) {
            (Some(file), _) => Party::from_file(file),
            (None, Some(name)) => Ok(Party::from_workload(self.workload(name)?)),
            (None, None) => bail!("say who: --from WORKLOAD, or --proxy FILE"),
        }
    }
}

/// `namespace/pod`.
pub(crate) fn full_name(workload: &Workload) -> String {
    format!("{}/{}", workload.namespace, workload.pod)
}
