//! `exportTo`: which namespaces see a Service, VirtualService or DestinationRule.

use std::collections::BTreeSet;

/// Who sees an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everyone.
    Public,
    /// These namespaces.
    Namespaces(BTreeSet<String>),
    /// Nobody.
    None,
}

impl Visibility {
    /// From an object's `exportTo`, or the mesh's `default` when it has none. An empty default
    /// means everyone. `*` beats all else, then `~` (nobody); `.` is the object's own namespace.
    #[must_use]
    pub fn new(export_to: &[String], default: &[String], own_namespace: &str) -> Self {
        let entries = if export_to.is_empty() { default } else { export_to };
        if entries.is_empty() || entries.iter().any(|entry| entry == "*") {
            return Self::Public;
        }
        if entries.iter().any(|entry| entry == "~") {
            return Self::None;
        }
        let namespace = |entry: &String| {
            if entry == "." { own_namespace.to_owned() } else { entry.clone() }
        };
        Self::Namespaces(entries.iter().map(namespace).collect())
    }

    /// Whether a client in `namespace` sees the object.
    #[must_use]
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Public => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
            Self::None => false,
        }
    }
}
