//! Istio's standard metrics. A worker keeps its own series and lends a copy when they are asked
//! for; nothing is shared while requests are served. Keys are numbers: a name is looked at once,
//! when it is first seen.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::{Histogram, Peer};
use crate::fast_hash::FastMap;

/// Most names that a worker remembers; later ones count as `unknown`, so that hostile headers
/// cannot fill the memory.
const MAX_NAMES: usize = 20_000;

/// Which side reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reporter {
    Source,
    Destination,
}

/// What was spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Http,
    Grpc,
    Tcp,
}

/// How the connection was secured, as the destination knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Security {
    MutualTls,
    None,
    Unknown,
}

/// The service that was called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    /// `host`
    pub service: String,
    /// `name`
    pub name: String,
    /// `namespace`
    pub namespace: String,
}

/// A number that stands for a name, peer or service in this worker.
pub(crate) type Id = u32;

/// What requests and connections have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outline {
    pub reporter: Reporter,
    /// The other workload; 0: unknown.
    pub peer: Id,
    /// The service; 0: unknown.
    pub destination: Id,
    /// The source's identity; 0: unknown.
    pub source_principal: Id,
    /// The destination's identity; 0: unknown.
    pub destination_principal: Id,
    pub protocol: Protocol,
    pub security: Security,
    /// Envoy's response flags; 0: none.
    pub flags: Id,
}

/// A finished request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpObservation {
    pub outline: Outline,
    pub response_code: u16,
    /// gRPC's status; none for plain HTTP.
    pub grpc_status: Option<u32>,
    pub duration: Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

/// A report of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpObservation {
    pub outline: Outline,
    pub opened: u64,
    pub closed: u64,
    pub sent: u64,
    pub received: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    outline: Outline,
    code: u16,
    grpc_status: Option<u32>,
}

/// What one set of labels has counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    pub requests: u64,
    pub duration: Histogram,
    pub request_bytes: Histogram,
    pub response_bytes: Histogram,
    pub opened: u64,
    pub closed: u64,
    pub sent: u64,
    pub received: u64,
    /// Whether it is of TCP.
    pub tcp: bool,
}

impl Series {
    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.duration.merge(&other.duration);
        self.request_bytes.merge(&other.request_bytes);
        self.response_bytes.merge(&other.response_bytes);
        self.opened += other.opened;
        self.closed += other.closed;
        self.sent += other.sent;
        self.received += other.received;
        self.tcp |= other.tcp;
    }
}

struct Entry {
    labels: Arc<str>,
    series: Series,
}

/// One worker's series.
pub(crate) struct IstioStats {
    local: Rc<Peer>,
    series: FastMap<Key, Entry>,
    names: Interner<Box<str>>,
    peers: Interner<Peer>,
    peer_headers: HashMap<Box<[u8]>, Id>,
    destinations: Interner<Destination>,
}

struct Interner<T> {
    ids: HashMap<T, Id>,
    values: Vec<T>,
}

impl<T: Clone + Default + Eq + std::hash::Hash> Interner<T> {
    fn new() -> Self {
        Self { ids: HashMap::new(), values: vec![T::default()] }
    }

    fn id<Q>(&mut self, value: &Q) -> Id
    where
        T: std::borrow::Borrow<Q>,
        Q: Eq + std::hash::Hash + ToOwned + ?Sized,
        Q::Owned: Into<T>,
    {
        if let Some(id) = self.ids.get(value) {
            return *id;
        }
        if self.values.len() >= MAX_NAMES {
            return 0;
        }
        let id = Id::try_from(self.values.len()).unwrap_or(0);
        let owned: T = value.to_owned().into();
        self.values.push(owned.clone());
        self.ids.insert(owned, id);
        id
    }

    fn value(&self, id: Id) -> Option<&T> {
        self.values.get(usize::try_from(id).ok()?).filter(|_| id != 0)
    }
}

impl IstioStats {
    /// No series yet.
    pub(crate) fn new(local: Peer) -> Self {
        Self {
            local: Rc::new(local),
            series: FastMap::default(),
            names: Interner::new(),
            peers: Interner::new(),
            peer_headers: HashMap::new(),
            destinations: Interner::new(),
        }
    }

    /// The number of a name; 0 for the empty one.
    pub(crate) fn name(&mut self, name: &str) -> Id {
        if name.is_empty() { 0 } else { self.names.id(name) }
    }

    /// The number of a workload.
    pub(crate) fn peer(&mut self, peer: &Peer) -> Id {
        self.peers.id(peer)
    }

    /// The number of the workload that a header tells of; it is decoded once.
    pub(crate) fn peer_by_header(&mut self, header: &[u8]) -> Id {
        if let Some(id) = self.peer_headers.get(header) {
            return *id;
        }
        let id = Peer::from_header(header).map_or(0, |peer| self.peers.id(&peer));
        if self.peer_headers.len() < MAX_NAMES {
            self.peer_headers.insert(header.into(), id);
        }
        id
    }

    /// The number of a service.
    pub(crate) fn destination(&mut self, destination: &Destination) -> Id {
        self.destinations.id(destination)
    }

    /// Counts a finished request.
    pub(crate) fn http(&mut self, seen: &HttpObservation) {
        let key =
            Key { outline: seen.outline, code: seen.response_code, grpc_status: seen.grpc_status };
        let series = self.series(key);
        series.requests += 1;
        series.duration.observe(seen.duration.as_secs_f64() * 1_000.0);
        series.request_bytes.observe(to_f64(seen.request_bytes));
        series.response_bytes.observe(to_f64(seen.response_bytes));
    }

    /// Counts what a connection has done since the last report.
    pub(crate) fn tcp(&mut self, seen: &TcpObservation) {
        let series = self.series(Key { outline: seen.outline, code: 0, grpc_status: None });
        series.tcp = true;
        series.opened += seen.opened;
        series.closed += seen.closed;
        series.sent += seen.sent;
        series.received += seen.received;
    }

    /// A copy of all series, by their labels in Prometheus' text form.
    pub(crate) fn collect(&self) -> Vec<(Arc<str>, Series)> {
        let entries = self.series.values();
        entries.map(|entry| (Arc::clone(&entry.labels), entry.series.clone())).collect()
    }

    fn series(&mut self, key: Key) -> &mut Series {
        if !self.series.contains_key(&key) {
            let labels = self.labels(&key).into();
            self.series.insert(key, Entry { labels, series: Series::default() });
        }
        let entry = self.series.entry(key);
        &mut entry.or_insert_with(|| Entry { labels: "".into(), series: Series::default() }).series
    }

    fn labels(&self, key: &Key) -> String {
        let outline = &key.outline;
        let peer = self.peers.value(outline.peer).cloned().unwrap_or_default();
        let service = self.destinations.value(outline.destination).cloned().unwrap_or_default();
        let (reporter, source, destination) = match outline.reporter {
            Reporter::Source => ("source", self.local.as_ref(), &peer),
            Reporter::Destination => ("destination", &peer, self.local.as_ref()),
        };
        let name = |id| self.names.value(id).map_or("", |name| name);
        let security = match outline.security {
            Security::MutualTls => "mutual_tls",
            Security::None => "none",
            Security::Unknown => "unknown",
        };
        let protocol = match outline.protocol {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
            Protocol::Tcp => "tcp",
        };
        let flags = if outline.flags == 0 { "-" } else { name(outline.flags) };
        let mut labels = Labels(String::with_capacity(1_024));
        labels.add("reporter", reporter);
        labels.workload("source", source);
        labels.add("source_principal", name(outline.source_principal));
        labels.workload("destination", destination);
        labels.add("destination_principal", name(outline.destination_principal));
        labels.add("destination_service", &service.service);
        labels.add("destination_service_name", &service.name);
        labels.add("destination_service_namespace", &service.namespace);
        labels.add("request_protocol", protocol);
        if outline.protocol != Protocol::Tcp {
            labels.add("response_code", &key.code.to_string());
            let status = key.grpc_status.map(|status| status.to_string());
            labels.raw("grpc_response_status", status.as_deref().unwrap_or_default());
        }
        labels.add("response_flags", flags);
        labels.add("connection_security_policy", security);
        labels.0
    }
}

struct Labels(String);

impl Labels {
    fn workload(&mut self, side: &str, peer: &Peer) {
        self.add(&format!("{side}_workload"), &peer.workload);
        self.add(&format!("{side}_workload_namespace"), &peer.namespace);
        self.add(&format!("{side}_app"), &peer.app);
        self.add(&format!("{side}_version"), &peer.version);
        self.add(&format!("{side}_canonical_service"), &peer.canonical_service);
        self.add(&format!("{side}_canonical_revision"), &peer.canonical_revision);
        self.add(&format!("{side}_cluster"), &peer.cluster);
    }

    fn add(&mut self, name: &str, value: &str) {
        self.raw(name, if value.is_empty() { "unknown" } else { value });
    }

    fn raw(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        super::render::escape_label(value, &mut self.0);
        self.0.push('"');
    }
}

/// Joins the series of all workers.
pub(crate) fn merge(all: Vec<Vec<(Arc<str>, Series)>>) -> BTreeMap<Arc<str>, Series> {
    let mut merged: BTreeMap<Arc<str>, Series> = BTreeMap::new();
    for (labels, series) in all.into_iter().flatten() {
        merged.entry(labels).or_default().merge(&series);
    }
    merged
}

#[expect(clippy::cast_precision_loss, reason = "histograms are not exact above 2^53 bytes")]
fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
