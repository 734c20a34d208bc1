//! An object as users write it: its name, where it stands, and what it says.

use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

use crate::{
    k8s::{ConfigMap, Deployment, EndpointSlice, Namespace, Pod, Secret, Service, ServiceAccount},
    networking::{
        DestinationRule, EnvoyFilter, Gateway, ProxyConfig, ServiceEntry, Sidecar, VirtualService,
        WorkloadEntry, WorkloadGroup,
    },
    security::{AuthorizationPolicy, PeerAuthentication},
    telemetry::Telemetry,
    yaml::Node,
};

/// One parsed and validated object.
///
/// Two objects are equal when they say the same: where they stand in a file does not count.
#[derive(Clone, Debug)]
pub struct Object {
    /// Name, namespace, labels and annotations.
    pub meta: ObjectMeta,
    /// Where it was written.
    pub origin: Origin,
    /// What it says.
    pub spec: Spec,
    /// The YAML it was read from, for the positions of later findings.
    pub(crate) node: Arc<Node>,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.meta == other.meta && self.spec == other.spec
    }
}

impl Eq for Object {}

impl Object {
    /// What tells it from all others.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            kind: self.spec.kind(),
            namespace: self.meta.namespace.clone(),
            name: self.meta.name.clone(),
        }
    }

    /// Line and column of a field by its path, such as `spec.http[0].headers["x-user"]`; of the
    /// nearest thing around it when there is no such field.
    #[must_use]
    pub fn place(&self, field: &str) -> (u32, u32) {
        let position = self.node.position_of_text(field);
        (position.line, position.column)
    }

    /// Istio's order for conflicts: the oldest first, then by name, then by namespace. Objects
    /// without a creation time (all that come from files) count as equally old, and older than
    /// any with one.
    #[must_use]
    pub fn by_age(&self, other: &Self) -> Ordering {
        self.meta
            .creation_timestamp
            .cmp(&other.meta.creation_timestamp)
            .then_with(|| self.meta.name.cmp(&other.meta.name))
            .then_with(|| self.meta.namespace.cmp(&other.meta.namespace))
    }
}

/// Where an object was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The file, as the caller named it.
    pub file: Arc<str>,
    /// The line on which the object begins, from 1.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The part of Kubernetes' object metadata that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ObjectMeta {
    /// The object's name.
    pub name: String,
    /// Its namespace; `default` when none is written, empty for a Namespace.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When the API server first stored it; absent in files.
    pub creation_timestamp: Option<jiff::Timestamp>,
}

/// Kind, namespace and name. Displays as `VirtualService bookinfo/reviews`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace, empty for what has none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match (self.namespace.is_empty(), self.name.is_empty()) {
            (_, true) => Ok(()),
            (true, false) => write!(f, " {}", self.name),
            (false, false) => write!(f, " {}/{}", self.namespace, self.name),
        }
    }
}

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        /// The kinds that Mizzen acts on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(
                #[doc = concat!("`", stringify!($kind), "`")]
                $kind,
            )*
        }

        impl Kind {
            /// The name as in YAML's `kind`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)* }
            }
        }

        /// What an object says, by kind.
        #[expect(clippy::large_enum_variant, reason = "objects live behind an Arc each")]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Spec {
            $(
                #[doc = concat!("`", stringify!($kind), "`")]
                $kind($kind),
            )*
        }

        impl Spec {
            /// The kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }
        }
    };
}

kinds! {
    Namespace, ServiceAccount, Service, Pod, ConfigMap, Secret, EndpointSlice, Deployment,
    VirtualService, DestinationRule, Gateway, PeerAuthentication, AuthorizationPolicy,
    EnvoyFilter, ProxyConfig, Telemetry, ServiceEntry, WorkloadEntry, WorkloadGroup, Sidecar,
}
