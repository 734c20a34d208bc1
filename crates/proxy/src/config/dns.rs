//! Hosts of clusters that are given by name: resolved again and again by the system's resolver.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Envoy's default `dns_refresh_rate`. COMPAT: the system's resolver tells no times to live.
const REFRESH: Duration = Duration::from_secs(5);

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

async fn keep_resolving(
    cluster: String,
    names: xds::LoadAssignment,
    single: bool,
    results: mpsc::UnboundedSender<Resolved>,
) {
    let mut last = None;
    loop {
        match resolve(&names, single).await {
            Ok(hosts) if last.as_ref() != Some(&hosts) => {
                if results.send((cluster.clone(), hosts.clone())).is_err() {
                    return;
                }
                last = Some(hosts);
            }
            Ok(_) => {}
            // What was known stays in use.
            Err(error) => tracing::debug!(%cluster, %error, "cannot resolve a cluster's hosts"),
        }
        tokio::time::sleep(REFRESH).await;
    }
}

async fn resolve(
    names: &xds::LoadAssignment,
    single: bool,
) -> Result<xds::LoadAssignment, std::io::Error> {
    let mut resolved = names.clone();
    for locality in &mut resolved.localities {
        let mut endpoints = Vec::new();
        for endpoint in &locality.endpoints {
            let xds::Address::Hostname { host, port } = &endpoint.address else {
                endpoints.push(endpoint.clone());
                continue;
            };
            let mut found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
            found.sort_unstable();
            found.dedup();
            if single {
                found.truncate(1);
            }
            endpoints.extend(found.into_iter().map(|address| xds::Endpoint {
                address: xds::Address::socket(address.ip(), address.port()),
                ..endpoint.clone()
            }));
        }
        locality.endpoints = endpoints;
    }
    Ok(resolved)
}
