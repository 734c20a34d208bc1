//! PeerAuthentication: which connections a workload takes, by Istio's order of scopes: workload,
//! then namespace, then mesh, then PERMISSIVE; the oldest of each scope decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use config::{PeerAuthentication, security::MutualTlsMode};

use crate::{World, world::Item};

/// What a workload takes on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MtlsMode {
    /// Plaintext only.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

impl MtlsMode {
    fn from_config(mode: MutualTlsMode) -> Option<Self> {
        match mode {
            MutualTlsMode::Unset => None,
            MutualTlsMode::Disable => Some(Self::Disable),
            MutualTlsMode::Permissive => Some(Self::Permissive),
            MutualTlsMode::Strict => Some(Self::Strict),
        }
    }
}

/// All PeerAuthentications by scope.
#[derive(Debug)]
pub(crate) struct PeerAuthentications {
    mesh: MtlsMode,
    /// Modes of whole namespaces, with the mesh's filled in for UNSET.
    namespaces: BTreeMap<String, MtlsMode>,
    /// Those with a selector, by namespace, oldest first.
    workloads: BTreeMap<String, Vec<Arc<Item<PeerAuthentication>>>>,
}

impl PeerAuthentications {
    pub(crate) fn new(world: &World) -> Self {
        let root = world.root_namespace();
        let mut workloads: BTreeMap<String, Vec<_>> = BTreeMap::new();
        let mut scopes: BTreeMap<&str, MutualTlsMode> = BTreeMap::new();
        for item in &world.peer_authentications {
            let namespace = item.meta.namespace.as_str();
            match &item.spec.selector {
                Some(selector) if !selector.match_labels.is_empty() => {
                    workloads.entry(namespace.to_owned()).or_default().push(Arc::clone(item));
                }
                _ => {
                    scopes.entry(namespace).or_insert(item.spec.mtls.mode);
                }
            }
        }
        let mesh = scopes.get(root).and_then(|mode| MtlsMode::from_config(*mode));
        let mesh = mesh.unwrap_or(MtlsMode::Permissive);
        let namespaces = scopes
            .into_iter()
            .map(|(ns, mode)| (ns.to_owned(), MtlsMode::from_config(mode).unwrap_or(mesh)))
            .collect();
        Self { mesh, namespaces, workloads }
    }

    /// The mode of a namespace's workloads that no selector picks out.
    pub(crate) fn namespace(&self, namespace: &str) -> MtlsMode {
        self.namespaces.get(namespace).copied().unwrap_or(self.mesh)
    }

    /// The modes of a workload.
    pub(crate) fn workload(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> WorkloadMtls {
        let parent = self.namespace(namespace);
        let selected = self.workloads.get(namespace).into_iter().flatten().find(|item| {
            item.spec.selector.as_ref().is_some_and(|selector| selector.matches(labels))
        });
        let Some(item) = selected else {
            return WorkloadMtls { default: parent, ports: BTreeMap::new() };
        };
        let default = MtlsMode::from_config(item.spec.mtls.mode).unwrap_or(parent);
        let ports = item
            .spec
            .port_level_mtls
            .iter()
            .map(|(port, mtls)| (*port, MtlsMode::from_config(mtls.mode).unwrap_or(default)));
        WorkloadMtls { default, ports: ports.collect() }
    }
}

/// The modes of one workload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WorkloadMtls {
    /// For ports that are not named.
    pub(crate) default: MtlsMode,
    /// By the workload's port.
    pub(crate) ports: BTreeMap<u16, MtlsMode>,
}

impl WorkloadMtls {
    /// The mode on one of the workload's ports.
    pub(crate) fn port(&self, port: u16) -> MtlsMode {
        self.ports.get(&port).copied().unwrap_or(self.default)
    }

    /// Ports with a mode of their own.
    pub(crate) fn named_ports(&self) -> BTreeSet<u16> {
        self.ports.keys().copied().collect()
    }
}
