//! From a push context to encoded resources, for one proxy and one type.

use std::collections::BTreeSet;
use std::sync::Arc;

use pb::envoy::config::cluster::v3 as wire;
use pilot::{Proxy, PushContext};
use prost::Message as _;
use tokio::time::Instant;
use xds::session::{Encoded, Resources, Subscription};
use xds::{Resource, ResourceType, RouteConfiguration, patch};

use super::patched::PatchStatus;

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
    /// What became of the patches of EnvoyFilters.
    pub(crate) patched: PatchStatus,
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
        self.encoded(proxy, kind, &all).into_iter().map(ready).collect()
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
            .map(|secret| {
                let secret = Resource::Secret(secret);
                ready((secret.name().to_owned(), xds::encode(&secret)))
            })
            .collect()
    }

    /// The clusters, and the names under which the proxy will ask for their endpoints.
    pub(crate) fn clusters(&self, proxy: &Proxy) -> (Resources, BTreeSet<String>) {
        let clusters = self.context.clusters(proxy).into_iter();
        let clusters: Vec<Resource> = clusters.map(|c| Resource::Cluster(Box::new(c))).collect();
        let own = |c: &Resource| endpoints_of(&xds::encode(c));
        let encoded = self.encoded(proxy, ResourceType::Cluster, &clusters);
        let mut names: BTreeSet<String> =
            encoded.iter().filter_map(|(_, any)| endpoints_of(any)).collect();
        if self.is_patched(proxy) {
            // Nobody has endpoints for clusters that a patch added.
            let known: BTreeSet<String> = clusters.iter().filter_map(own).collect();
            names.retain(|name| known.contains(name));
        }
        (encoded.into_iter().map(ready).collect(), names)
    }

    fn is_patched(&self, proxy: &Proxy) -> bool {
        !self.context.patches(proxy).patches.is_empty()
    }

    /// Encodes, and applies the patches of EnvoyFilters.
    fn encoded(
        &self,
        proxy: &Proxy,
        kind: ResourceType,
        resources: &[Resource],
    ) -> Vec<(String, pb::Any)> {
        let encoded = resources.iter().map(|r| (r.name().to_owned(), xds::encode(r))).collect();
        let patches = self.context.patches(proxy);
        if patches.patches.is_empty() {
            return encoded;
        }
        let patched = patch::apply(kind, encoded, &patches);
        self.patched.note(kind, &patches, &patched.outcomes);
        patched.resources
    }
}

/// The name under which endpoints of an encoded cluster are asked for; none when it has its own.
fn endpoints_of(any: &pb::Any) -> Option<String> {
    let cluster = wire::Cluster::decode(any.value.as_slice()).ok()?;
    let eds = wire::cluster::DiscoveryType::Eds as i32;
    let is_eds = matches!(
        cluster.cluster_discovery_type,
        Some(wire::cluster::ClusterDiscoveryType::Type(kind)) if kind == eds
    );
    let name = cluster.eds_cluster_config.map(|config| config.service_name).unwrap_or_default();
    is_eds.then_some(if name.is_empty() { cluster.name } else { name })
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

fn ready((name, any): (String, pb::Any)) -> (String, Encoded) {
    let version = fingerprint(&any.value);
    (name, Encoded { version, any })
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
