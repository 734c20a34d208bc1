//! The table of names for the agent's DNS proxy (`istio.networking.nds.v1.NameTable`).

use std::{collections::BTreeMap, net::IpAddr};

/// Host names and their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NameTable {
    /// Fully qualified name (without the final dot, in lower case) to what it stands for.
    pub table: BTreeMap<String, NameInfo>,
}

/// What a name stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NameInfo {
    /// The addresses.
    pub ips: Vec<IpAddr>,
    /// `Kubernetes` or `External`.
    pub registry: String,
    /// The service's name, for short forms (Kubernetes only).
    pub short_name: String,
    /// The service's namespace, for short forms (Kubernetes only).
    pub namespace: String,
}
