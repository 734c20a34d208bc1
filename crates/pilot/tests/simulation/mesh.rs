//! A mesh without processes: YAML in, `pilot` makes each proxy's resources, `engine` decides by
//! them what becomes of a call. Plays kubelet and controllers: each Deployment has its Pods, each
//! Service its EndpointSlice.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use config::Object;
use engine::Snapshot;
use pilot::{Proxy, PushContext, World};

mod call;
mod registry;
mod snapshot;

pub(crate) use call::Call;
pub(crate) use registry::proxy;
pub(crate) use snapshot::snapshot;

/// What our own proxy announces.
pub(crate) const EXTENSIONS: [&str; 4] =
    ["istio.stats", "istio.alpn", "envoy.filters.http.peer_metadata", "istio.metadata_exchange"];

/// A pod that plays a part.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) service_account: String,
    pub(crate) ip: IpAddr,
    /// Whether it has a sidecar (or is a gateway).
    pub(crate) in_mesh: bool,
}

/// All of a mesh.
pub(crate) struct Mesh {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) push: PushContext,
    pub(crate) pods: BTreeMap<String, Pod>,
    /// What each pod's proxy made of its resources.
    snapshots: RefCell<BTreeMap<String, Rc<Snapshot>>>,
}

/// The objects of some YAML; panics on errors.
pub(crate) fn parse(text: &str) -> Vec<Arc<Object>> {
    let parsed = config::parse_file("test.yaml", text);
    let errors: Vec<_> = parsed.diagnostics.iter().filter(|d| d.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    parsed.objects
}

impl Mesh {
    pub(crate) fn new(text: &str) -> Self {
        Self::of(parse(text))
    }

    /// The files of a directory, and a gateway.
    pub(crate) fn dir(path: &str) -> Self {
        Self::of(Self::objects(path))
    }

    pub(crate) fn objects(path: &str) -> Vec<Arc<Object>> {
        let mut objects = Vec::new();
        let mut files: Vec<_> =
            std::fs::read_dir(path).expect(path).map(|entry| entry.expect(path).path()).collect();
        files.sort();
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "yaml")) {
            objects.extend(parse(&std::fs::read_to_string(file).expect("file")));
        }
        objects.extend(parse(INGRESS));
        objects
    }

    pub(crate) fn of(mut objects: Vec<Arc<Object>>) -> Self {
        let pods = registry::pods(&objects);
        objects.extend(parse(&registry::registry(&objects, &pods)));
        let push = PushContext::new(Arc::new(World::new(objects.clone())));
        let pods = pods.into_iter().map(|pod| (pod.name.clone(), pod)).collect();
        Self { objects, push, pods, snapshots: RefCell::default() }
    }

    /// The proxy beside a pod.
    pub(crate) fn proxy(&self, pod: &str) -> Proxy {
        let pod = &self.pods[pod];
        let kind = if pod.labels.contains_key("istio") { "router" } else { "sidecar" };
        proxy(pod, kind, &EXTENSIONS)
    }

    fn snapshot(&self, pod: &str) -> Rc<Snapshot> {
        if let Some(known) = self.snapshots.borrow().get(pod) {
            return Rc::clone(known);
        }
        let made = Rc::new(snapshot(&self.push, &self.proxy(pod)));
        self.snapshots.borrow_mut().insert(pod.to_owned(), Rc::clone(&made));
        made
    }

    /// What `/etc/resolv.conf` and the name table make of a host.
    fn resolve(&self, client: &Proxy, host: &str) -> IpAddr {
        if let Ok(ip) = host.parse() {
            return ip;
        }
        let table = self.push.name_table(client).table;
        let own = &client.namespace;
        [
            host.to_owned(),
            format!("{host}.{own}.svc.cluster.local"),
            format!("{host}.svc.cluster.local"),
            format!("{host}.cluster.local"),
        ]
        .iter()
        .find_map(|name| table.get(name))
        .and_then(|info| info.ips.first().copied())
        // Somewhere on the internet.
        .unwrap_or_else(|| "203.0.113.7".parse().expect("address"))
    }
}

/// The address of a pod's end of a connection.
fn source(pod: &Pod) -> SocketAddr {
    SocketAddr::new(pod.ip, 40000)
}

/// A gateway's Deployment and Service.
pub(crate) const INGRESS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  ports:
    - {name: http2, port: 80, targetPort: 8080}
    - {name: https, port: 443, targetPort: 8443}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template:
    metadata: {labels: {istio: ingressgateway}}
    spec:
      serviceAccountName: istio-ingressgateway-service-account
      containers: [{name: istio-proxy, image: auto}]
";
