//! Which proxies are connected and what each was sent: what debug pages show.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::IntGaugeVec;
use xds::ResourceType;
use xds::session::{Resources, Server, Subscription};

use super::session::Session;

/// All connected proxies by a number that counts connections.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    entries: Arc<Mutex<Entries>>,
    /// How many there are of each version.
    by_version: IntGaugeVec,
}

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    by_number: BTreeMap<u64, Arc<Entry>>,
}

/// One connected proxy.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) node: xds::Node,
    pub(crate) address: String,
    pub(crate) identity: Option<String>,
    pub(crate) connected: SystemTime,
    types: Mutex<BTreeMap<ResourceType, TypeStatus>>,
}

/// What is known of one type at one proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct TypeStatus {
    pub(crate) sent_nonce: String,
    pub(crate) acked_nonce: String,
    pub(crate) acked_version: String,
    /// The proxy's reason when it refused the newest.
    pub(crate) refused: Option<String>,
    pub(crate) subscription: Subscription,
    pub(crate) resources: Arc<Resources>,
    pub(crate) updated: Option<SystemTime>,
}

impl Registry {
    /// An empty one, which keeps `by_version` (with one label, the version) up to date.
    pub(crate) fn new(by_version: IntGaugeVec) -> Self {
        Self { entries: Arc::default(), by_version }
    }

    /// Adds a proxy; it is listed until the answer is dropped.
    pub(crate) fn add(
        &self,
        node: xds::Node,
        address: String,
        identity: Option<String>,
    ) -> Registered {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.last += 1;
        let number = entries.last;
        let (connected, types) = (SystemTime::now(), Mutex::default());
        let entry = Arc::new(Entry { number, node, address, identity, connected, types });
        self.by_version.with_label_values(&[entry.version()]).inc();
        entries.by_number.insert(number, Arc::clone(&entry));
        Registered { registry: self.clone(), entry }
    }

    /// All connected proxies, the oldest connection first.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.by_number.values().cloned().collect()
    }

    /// The newest connection of a proxy, named by its node id, by `pod.namespace`, by
    /// `namespace/pod`, or by the pod's name alone where it is the only one of that name.
    pub(crate) fn find(&self, wanted: &str) -> Option<Arc<Entry>> {
        let mut entries = self.entries();
        entries.reverse();
        let exact = entries.iter().find(|entry| {
            let id = &entry.node.id;
            id == wanted || entry.proxy_id() == wanted || {
                let (pod, namespace) = entry.pod_and_namespace();
                wanted.split_once('/') == Some((namespace, pod))
            }
        });
        if let Some(entry) = exact {
            return Some(Arc::clone(entry));
        }
        let named: Vec<_> =
            entries.iter().filter(|entry| entry.pod_and_namespace().0 == wanted).collect();
        let first = named.first()?;
        let same = named.iter().all(|entry| entry.proxy_id() == first.proxy_id());
        same.then(|| Arc::clone(first))
    }
}

/// A proxy's listing, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Registry,
    pub(crate) entry: Arc<Entry>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut entries = self.registry.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.by_number.remove(&self.entry.number);
        let version = [self.entry.version()];
        let gauge = self.registry.by_version.with_label_values(&version);
        gauge.dec();
        // Versions are what proxies say: those that nobody has any more must not pile up.
        if gauge.get() == 0
            && let Err(error) = self.registry.by_version.remove_label_values(&version)
        {
            tracing::debug!(%error, "a version's gauge stays");
        }
    }
}

impl Entry {
    /// `pod.namespace`, as Istio names a proxy to people.
    pub(crate) fn proxy_id(&self) -> &str {
        self.node.id.split('~').nth(2).unwrap_or(&self.node.id)
    }

    /// `sidecar` or `router`.
    pub(crate) fn proxy_type(&self) -> &str {
        self.node.id.split('~').next().unwrap_or_default()
    }

    /// The proxy's version, where it says one that can be one.
    fn version(&self) -> &str {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_+".contains(&b);
        let version = self.node.metadata_str("ISTIO_VERSION");
        version.filter(|v| v.len() <= 32 && v.bytes().all(plain)).unwrap_or("unknown")
    }

    fn pod_and_namespace(&self) -> (&str, &str) {
        self.proxy_id().rsplit_once('.').unwrap_or((self.proxy_id(), ""))
    }

    /// What is known of each type.
    pub(crate) fn types(&self) -> BTreeMap<ResourceType, TypeStatus> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what the session knows now.
    pub(crate) fn update(&self, session: &Session) {
        let mut types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        for kind in ResourceType::ALL {
            if session.server().subscription(kind.type_url()).is_none() {
                continue;
            }
            let status = types.entry(kind).or_default();
            status.take(kind, session.server());
            if let Some(resources) = session.sent().get(&kind) {
                status.resources = Arc::clone(resources);
            }
        }
    }
}

impl TypeStatus {
    fn take(&mut self, kind: ResourceType, server: &Server) {
        let url = kind.type_url();
        if let Some(sent) = server.sent(url) {
            if self.sent_nonce != sent.nonce {
                self.updated = Some(SystemTime::now());
            }
            self.sent_nonce.clone_from(&sent.nonce);
        }
        if let Some(acked) = server.acked(url) {
            self.acked_nonce.clone_from(&acked.nonce);
            self.acked_version.clone_from(&acked.version);
        }
        self.refused = server.nacked(url).map(|(_, detail)| detail.clone());
        if let Some(subscription) = server.subscription(url)
            && self.subscription != *subscription
        {
            self.subscription.clone_from(subscription);
        }
    }

    /// The names that the proxy asked for; `*` is everything.
    pub(crate) fn subscribed(&self) -> Vec<String> {
        let star = self.subscription.is_wildcard().then(|| "*".to_owned());
        star.into_iter().chain(self.subscription.names().iter().cloned()).collect()
    }
}
