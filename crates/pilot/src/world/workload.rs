//! Workloads: what Pods say about the identity, labels and ports behind an address.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use config::{Object, ObjectMeta, Spec, WorkloadEntry};
use xds::Locality;

/// A running workload: a pod.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) service_account: String,
    /// The Deployment's (or other owner's) name, as far as it can be told.
    pub(crate) workload_name: String,
    /// Named container ports.
    pub(crate) container_ports: BTreeMap<String, u16>,
    pub(crate) locality: Locality,
}

impl Workload {
    /// What a WorkloadEntry, or an endpoint of a ServiceEntry, says. One with an account has a
    /// proxy that takes mutual TLS, unless its label says otherwise.
    pub(super) fn of_entry(
        namespace: &str,
        name: &str,
        labels: BTreeMap<String, String>,
        entry: &WorkloadEntry,
    ) -> Self {
        let mut labels = labels;
        if !entry.service_account.is_empty() {
            let mode = labels.entry("security.istio.io/tlsMode".to_owned());
            mode.or_insert_with(|| "istio".to_owned());
        }
        Self {
            namespace: namespace.to_owned(),
            service_account: entry.service_account.clone(),
            workload_name: name.to_owned(),
            container_ports: entry.ports.clone(),
            locality: parse_locality(&entry.locality),
            labels,
        }
    }

    /// Whether it has a sidecar that takes mutual TLS.
    pub(crate) fn takes_mtls(&self) -> bool {
        self.labels.get("security.istio.io/tlsMode").is_some_and(|mode| mode == "istio")
    }

    /// The name under which metrics count it as a service.
    pub(crate) fn canonical_name(&self) -> &str {
        let keys = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
        first_label(&self.labels, &keys).unwrap_or(&self.workload_name)
    }

    /// The version under which metrics count it.
    pub(crate) fn canonical_revision(&self) -> &str {
        let keys = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
        first_label(&self.labels, &keys).unwrap_or("latest")
    }

    /// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub(crate) fn identity(&self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/ns/{}/sa/{}", self.namespace, self.service_account)
    }
}

fn first_label<'a>(labels: &'a BTreeMap<String, String>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| labels.get(*key)).map(String::as_str)
}

/// All workloads, by name and by address.
pub(super) struct Workloads {
    by_name: BTreeMap<(String, String), Arc<Workload>>,
    pub(super) by_ip: BTreeMap<IpAddr, Arc<Workload>>,
    /// Pods that are ready, with their addresses.
    pub(super) ready: Vec<(IpAddr, Arc<Workload>)>,
}

impl Workloads {
    /// The Pods among `objects`. Where two claim one address the first keeps it.
    pub(super) fn collect(objects: &[Arc<Object>]) -> Self {
        let mut workloads =
            Self { by_name: BTreeMap::new(), by_ip: BTreeMap::new(), ready: Vec::new() };
        for object in objects {
            let Spec::Pod(pod) = &object.spec else { continue };
            let workload = Arc::new(workload(&object.meta, pod));
            if let Ok(ip) = pod.status.pod_ip.parse() {
                workloads.by_ip.entry(ip).or_insert_with(|| Arc::clone(&workload));
                if pod.status.is_ready() {
                    workloads.ready.push((ip, Arc::clone(&workload)));
                }
            }
            let key = (object.meta.namespace.clone(), object.meta.name.clone());
            workloads.by_name.insert(key, workload);
        }
        workloads
    }

    pub(super) fn named(&self, namespace: &str, name: &str) -> Option<&Arc<Workload>> {
        self.by_name.get(&(namespace.to_owned(), name.to_owned()))
    }
}

fn workload(meta: &ObjectMeta, pod: &config::Pod) -> Workload {
    let ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
    Workload {
        namespace: meta.namespace.clone(),
        labels: meta.labels.clone(),
        service_account: pod.spec.service_account().to_owned(),
        workload_name: workload_name(meta),
        container_ports: ports
            .filter(|port| !port.name.is_empty())
            .map(|port| (port.name.clone(), port.container_port))
            .collect(),
        locality: locality(&meta.labels),
    }
}

/// The owner's name: a label says it, or the pod's name without what a ReplicaSet added.
fn workload_name(meta: &ObjectMeta) -> String {
    if let Some(name) = meta.labels.get("service.istio.io/workload-name") {
        return name.clone();
    }
    let hash = meta.labels.get("pod-template-hash");
    let owner = hash.and_then(|hash| {
        let (front, _) = meta.name.rsplit_once('-')?;
        front.strip_suffix(hash.as_str())?.strip_suffix('-')
    });
    owner.unwrap_or(&meta.name).to_owned()
}

/// `region/zone/subzone` from the pod's own label (`.` stands for `/` in a label's value).
fn locality(labels: &BTreeMap<String, String>) -> Locality {
    let Some(text) = first_label(labels, &["topology.istio.io/locality", "istio-locality"]) else {
        return Locality::default();
    };
    let text = if text.contains('/') { text.to_owned() } else { text.replace('.', "/") };
    parse_locality(&text)
}

/// `region/zone/subzone`.
fn parse_locality(text: &str) -> Locality {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), sub_zone: next() }
}
