//! Hosts of clusters that are given by name: resolved again and again by the system's resolver.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Envoy's default `dns_refresh_rate`. COMPAT: the system's resolver tells no times to live.
const REFRESH: Duration = Duration::from_secs(5);
/// The longest that one name may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The hosts that a cluster's names resolve to.
pub(super) type Resolved = (String, xds::LoadAssignment);

/// Resolvers by cluster.
#[derive(Debug)]
pub(super) struct Resolvers {
    running: HashMap<String, (xds::Discovery, DropGuard)>,
    results: mpsc::UnboundedSender<Resolved>,
}

impl Resolvers {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Resolved>) {
        let (results, inbox) = mpsc::unbounded_channel();
        (Self { running: HashMap::new(), results }, inbox)
    }

    /// Resolves a cluster's names from now on, if it has names.
    pub(super) fn watch(&mut self, cluster: &xds::Cluster) {
        let (names, single) = match &cluster.discovery {
            xds::Discovery::StrictDns(names) => (names, false),
            xds::Discovery::LogicalDns(names) => (names, true),
            _ => {
                self.running.remove(&cluster.name);
                return;
            }
        };
        let running = self.running.get(&cluster.name);
        if running.is_some_and(|(discovery, _)| *discovery == cluster.discovery) {
            return;
        }
        let stop = CancellationToken::new();
        let task =
            keep_resolving(cluster.name.clone(), names.clone(), single, self.results.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(task));
        let entry = (cluster.discovery.clone(), stop.drop_guard());
        self.running.insert(cluster.name.clone(), entry);
    }

    /// A cluster is gone.
    pub(super) fn forget(&mut self, cluster: &str) {
        self.running.remove(cluster);
    }
}

/// Addresses by name.
type Known = BTreeMap<String, Vec<IpAddr>>;

/// Tells the hosts at once when every name was asked for, known or not: a name that nobody knows
/// must not keep its cluster from being used; and then whenever they change.
async fn keep_resolving(
    cluster: String,
    names: xds::LoadAssignment,
    single: bool,
    results: mpsc::UnboundedSender<Resolved>,
) {
    let mut known = Known::new();
    let mut last = None;
    loop {
        refresh(&cluster, &names, &mut known).await;
        let hosts = assemble(&names, &known, single);
        if last.as_ref() != Some(&hosts) {
            if results.send((cluster.clone(), hosts.clone())).is_err() {
                return;
            }
            last = Some(hosts);
        }
        tokio::time::sleep(REFRESH).await;
    }
}

/// Asks for every name. What was known of one that cannot be resolved now stays in use.
async fn refresh(cluster: &str, names: &xds::LoadAssignment, known: &mut Known) {
    let endpoints = names.localities.iter().flat_map(|locality| &locality.endpoints);
    for endpoint in endpoints {
        let xds::Address::Hostname { host, port } = &endpoint.address else { continue };
        let asked = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((host.as_str(), *port)));
        match asked.await {
            Ok(Ok(found)) => {
                known.insert(host.clone(), preferred(found.map(|address| address.ip()).collect()));
            }
            Ok(Err(error)) => {
                tracing::debug!(%cluster, name = %host, %error, "cannot resolve a cluster's host");
            }
            Err(_elapsed) => {
                tracing::debug!(%cluster, name = %host, "no answer about a cluster's host in time");
            }
        }
    }
}

/// IPv4 where there is some (`V4_PREFERRED`), in a fixed order.
fn preferred(mut found: Vec<IpAddr>) -> Vec<IpAddr> {
    found.sort_unstable();
    found.dedup();
    if found.iter().any(IpAddr::is_ipv4) {
        found.retain(IpAddr::is_ipv4);
    }
    found
}

/// The endpoints with addresses in place of names; of each name all, or the first one.
fn assemble(names: &xds::LoadAssignment, known: &Known, single: bool) -> xds::LoadAssignment {
    let mut resolved = names.clone();
    for locality in &mut resolved.localities {
        let endpoints = std::mem::take(&mut locality.endpoints);
        for endpoint in endpoints {
            let xds::Address::Hostname { host, port } = &endpoint.address else {
                locality.endpoints.push(endpoint);
                continue;
            };
            let found = known.get(host).map_or(&[][..], Vec::as_slice);
            let limit = if single { 1 } else { found.len() };
            locality.endpoints.extend(found.iter().take(limit).map(|ip| xds::Endpoint {
                address: xds::Address::socket(*ip, *port),
                ..endpoint.clone()
            }));
        }
    }
    resolved
}

#[cfg(test)]
mod tests;
