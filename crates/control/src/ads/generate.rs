//! From a push context to encoded resources, for one proxy and one type.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot::{Proxy, PushContext};
use tokio::time::Instant;
use xds::session::{Encoded, Resources, Subscription};
use xds::{Discovery, Resource, ResourceType, RouteConfiguration};

/// The world as it was at one moment, ready for generation.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) context: Arc<PushContext>,
    /// Counts up; together with the process's start it is the version that people see.
    pub(crate) number: u64,
    /// The version in state-of-the-world responses.
    pub(crate) version: String,
    /// When the first of the changes in it was noticed.
    pub(crate) noticed: Instant,
}

impl Snapshot {
    /// All of a type that the proxy should have now: everything for types with a wildcard, what it
    /// subscribed to for the others.
    pub(crate) fn resources(
        &self,
        proxy: &Proxy,
        kind: ResourceType,
        subscription: &Subscription,
    ) -> Resources {
        let context = &self.context;
        let names = subscription.names().iter();
        let all: Vec<Resource> = match kind {
            ResourceType::Cluster => context
                .clusters(proxy)
                .into_iter()
                .map(|c| Resource::Cluster(Box::new(c)))
                .collect(),
            ResourceType::Listener => {
                let listeners = context.listeners(proxy).into_iter();
                listeners.map(|l| Resource::Listener(Box::new(l))).collect()
            }
            ResourceType::NameTable => vec![Resource::NameTable(context.name_table(proxy))],
            ResourceType::LoadAssignment => names
                .filter_map(|name| context.load_assignment(proxy, name))
                .map(Resource::LoadAssignment)
                .collect(),
            ResourceType::RouteConfiguration => names
                .map(|name| context.route_configuration(proxy, name).unwrap_or_else(|| empty(name)))
                .map(Resource::RouteConfiguration)
                .collect(),
            // By the proxy's proven identity only: see `secrets`.
            ResourceType::Secret => Vec::new(),
        };
        all.iter().map(encoded).collect()
    }

    /// The secrets that are subscribed to, of the namespace that the proxy has proved to be of. A
    /// name that it may not have is answered as one that does not exist.
    pub(crate) fn secrets(
        &self,
        namespace: Option<&str>,
        subscription: &Subscription,
    ) -> Resources {
        let Some(namespace) = namespace else { return Resources::new() };
        let names = subscription.names().iter();
        names
            .filter_map(|name| self.context.secret(namespace, name))
            .map(|secret| encoded(&Resource::Secret(secret)))
            .collect()
    }

    /// The clusters, and the names under which the proxy will ask for their endpoints.
    pub(crate) fn clusters(&self, proxy: &Proxy) -> (Resources, BTreeSet<String>) {
        let clusters = self.context.clusters(proxy);
        let names = clusters.iter().filter_map(|cluster| match &cluster.discovery {
            Discovery::Eds { service_name } if service_name.is_empty() => Some(&cluster.name),
            Discovery::Eds { service_name } => Some(service_name),
            _ => None,
        });
        let names = names.cloned().collect();
        let resources = clusters.into_iter().map(|c| Resource::Cluster(Box::new(c)));
        (resources.map(|cluster| encoded(&cluster)).collect(), names)
    }
}

/// A name that no listener of the proxy should refer to is answered all the same, as Istio does:
/// the proxy would wait for it, and serves 404 meanwhile.
fn empty(name: &str) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: Vec::new(),
        validate_clusters: false,
        ignore_port_in_host_matching: false,
        max_direct_response_body_size_bytes: None,
    }
}

fn encoded(resource: &Resource) -> (String, Encoded) {
    let any = xds::encode(resource);
    let version = fingerprint(&any.value);
    (resource.name().to_owned(), Encoded { version, any })
}

/// FNV-1a of 128 bits over the bytes: the same in every process, so that a proxy that comes back
/// with what it has is sent only what differs.
fn fingerprint(bytes: &[u8]) -> String {
    const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = bytes.iter().fold(START, |hash, b| (hash ^ u128::from(*b)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_published_function() {
        assert_eq!(fingerprint(b""), "6c62272e07bb014262b821756295c58d");
        assert_eq!(fingerprint(b"a"), "d228cb696f1a8caf78912b704e4a8964");
    }
}
