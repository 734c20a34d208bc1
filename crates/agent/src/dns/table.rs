//! The mesh's names. A host of a Kubernetes Service is known by its full name and by the short
//! forms `name.ns`, `name.ns.svc`, and within its own namespace `name`; any host may be a
//! wildcard.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use pb::istio::networking::nds::v1::{NameTable, name_table::NameInfo};

/// Registry of Kubernetes Services in a table's entries.
const KUBERNETES: &str = "Kubernetes";

/// Addresses of one host; a host without any of a family still exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) v4: Vec<Ipv4Addr>,
    pub(crate) v6: Vec<Ipv6Addr>,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup<'a> {
    /// A host of the mesh.
    Known(&'a Addresses),
    /// Not of the mesh, and within its domain: nobody else knows it either.
    Missing,
    /// Not of the mesh: a resolver may know it.
    Elsewhere,
}

/// The names of the mesh as one workload sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    hosts: HashMap<String, Addresses>,
    /// The cluster's domain in lower case, such as `cluster.local`.
    domain: String,
}

impl Table {
    /// The table that a workload of this namespace sees.
    pub(crate) fn new(names: &NameTable, namespace: &str, domain: &str) -> Self {
        let mut hosts = HashMap::new();
        for (host, info) in &names.table {
            hosts.insert(normal(host), addresses(info));
        }
        // Short forms never hide a host that is really called that.
        for (host, info) in &names.table {
            for short in short_forms(host, info, namespace) {
                hosts.entry(normal(&short)).or_insert_with(|| addresses(info));
            }
        }
        Self { hosts, domain: normal(domain) }
    }

    /// How many names there are, short forms included.
    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Looks up a name, in any case, with or without its final dot.
    pub(crate) fn lookup(&self, name: &str) -> Lookup<'_> {
        let name = normal(name);
        if let Some(addresses) = self.hosts.get(&name).or_else(|| self.wildcard(&name)) {
            return Lookup::Known(addresses);
        }
        let inside = name
            .strip_suffix(&self.domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if inside && !self.domain.is_empty() { Lookup::Missing } else { Lookup::Elsewhere }
    }

    /// The most specific wildcard that covers the name.
    fn wildcard(&self, name: &str) -> Option<&Addresses> {
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(addresses) = self.hosts.get(&format!("*.{parent}")) {
                return Some(addresses);
            }
            rest = parent;
        }
        None
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn addresses(info: &NameInfo) -> Addresses {
    let mut out = Addresses::default();
    for address in info.ips.iter().filter_map(|address| address.parse().ok()) {
        match address {
            IpAddr::V4(address) => out.v4.push(address),
            IpAddr::V6(address) => out.v6.push(address),
        }
    }
    out
}

fn short_forms(host: &str, info: &NameInfo, namespace: &str) -> Vec<String> {
    let NameInfo { shortname, namespace: of, registry, .. } = info;
    let kubernetes = registry == KUBERNETES && !shortname.is_empty() && !of.is_empty();
    if !kubernetes || host.starts_with('*') {
        return Vec::new();
    }
    let mut forms = vec![format!("{shortname}.{of}"), format!("{shortname}.{of}.svc")];
    if of == namespace {
        forms.push(shortname.clone());
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(ips: &[&str], short: &str, namespace: &str) -> NameInfo {
        NameInfo {
            ips: ips.iter().map(ToString::to_string).collect(),
            registry: if short.is_empty() { "External".into() } else { KUBERNETES.into() },
            shortname: short.into(),
            namespace: namespace.into(),
        }
    }

    fn table() -> Table {
        let names = NameTable {
            table: [
                ("reviews.bookinfo.svc.cluster.local", info(&["10.96.1.1"], "reviews", "bookinfo")),
                ("pay.bank.svc.cluster.local", info(&["10.96.1.2", "fd00::2"], "pay", "bank")),
                ("*.example.com", info(&["240.0.0.1"], "", "bank")),
                ("*.deep.example.com", info(&["240.0.0.2"], "", "bank")),
                ("reviews", info(&["240.0.0.3"], "", "bank")),
            ]
            .map(|(host, info)| (host.to_owned(), info))
            .into(),
        };
        Table::new(&names, "bookinfo", "cluster.local")
    }

    fn first(table: &Table, name: &str) -> Option<Ipv4Addr> {
        match table.lookup(name) {
            Lookup::Known(addresses) => addresses.v4.first().copied(),
            _ => None,
        }
    }

    #[test]
    fn full_and_short_forms() {
        let table = table();
        let pay = Some(Ipv4Addr::new(10, 96, 1, 2));
        for name in [
            "pay.bank.svc.cluster.local.",
            "PAY.bank.svc.cluster.local",
            "pay.bank",
            "pay.bank.svc.",
        ] {
            assert_eq!(first(&table, name), pay, "{name}");
        }
        assert_eq!(table.lookup("pay"), Lookup::Elsewhere, "a short name is for its own namespace");
        assert_eq!(first(&table, "reviews.bookinfo"), Some(Ipv4Addr::new(10, 96, 1, 1)));
        assert_eq!(first(&table, "reviews"), Some(Ipv4Addr::new(240, 0, 0, 3)), "a real host wins");
    }

    #[test]
    fn wildcards_most_specific_first_and_never_themselves() {
        let table = table();
        assert_eq!(first(&table, "a.example.com"), Some(Ipv4Addr::new(240, 0, 0, 1)));
        assert_eq!(first(&table, "a.b.example.com"), Some(Ipv4Addr::new(240, 0, 0, 1)));
        assert_eq!(first(&table, "a.deep.example.com"), Some(Ipv4Addr::new(240, 0, 0, 2)));
        assert_eq!(table.lookup("example.com"), Lookup::Elsewhere);
    }

    #[test]
    fn the_domain_ends_at_a_label() {
        let table = table();
        assert_eq!(table.lookup("nobody.bookinfo.svc.cluster.local"), Lookup::Missing);
        assert_eq!(table.lookup("cluster.local."), Lookup::Missing);
        assert_eq!(table.lookup("notcluster.local"), Lookup::Elsewhere);
        assert_eq!(table.lookup("."), Lookup::Elsewhere);
    }
}
