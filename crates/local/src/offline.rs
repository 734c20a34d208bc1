//! The mesh that `mizzen up` would run, without running it: for tools that answer offline.
//!
//! Plays the injector, kubelet and controllers for objects at rest, by the same code as the
//! runtime: the default ingress gateway where one is needed, a pod for each replica of a Deployment
//! that has none, and EndpointSlices for Services without. Objects of a real cluster keep the Pods
//! and EndpointSlices that they bring along.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use config::k8s::{PodTemplate, TemplateMeta};
use config::{Object, Pod, Spec, label, parse_file};

use crate::address::{self, Allocator};
use crate::files;
use crate::gateway;
use crate::plan::{Plan, ProxyKind, Role, Wanted};
use crate::registry::{self, PodEntry};

/// The file that made-up objects are said to stand in.
pub const MADE_UP: &str = "(assumed)";

/// What proxies for a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing: it is outside of the mesh.
    Nothing,
    /// A sidecar.
    Sidecar,
    /// It is a gateway.
    Gateway,
}

/// A pod that runs, or would run.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// The pod's name; `reviews-v1` or `reviews-v1-0` where it was made up.
    pub pod: String,
    /// The Deployment's name, where one has it.
    pub deployment: Option<String>,
    /// Its address.
    pub address: IpAddr,
    /// Its labels, those of the injector included.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its service account.
    pub service_account: String,
    /// What proxies for it.
    pub beside: Beside,
    /// Which program that is.
    pub proxy: ProxyKind,
}

/// A whole mesh at rest.
#[derive(Debug, Clone, Default)]
pub struct Offline {
    /// The user's objects with what a cluster would add to them.
    pub objects: Vec<Arc<Object>>,
    /// All pods, by namespace and name.
    pub workloads: Vec<Workload>,
}

impl Offline {
    /// The mesh of these objects.
    #[must_use]
    pub fn of(user: &[Arc<Object>]) -> Self {
        let mut objects = user.to_vec();
        if let Some(text) = gateway::default_objects(user) {
            objects.extend(parse_file(MADE_UP, &text).objects);
        }
        let plan = Plan::of(objects.iter());
        let mut pods = existing(&objects);
        let mut made_up = invent(&plan, &objects, &pods);
        let sliced = services_with_slices(&objects);
        let services: Vec<_> = plan
            .services
            .iter()
            .filter(|service| {
                !sliced.contains(&(service.namespace.as_str(), service.name.as_str()))
            })
            .cloned()
            .collect();
        let mut texts = registry::render(&entries(&made_up), &[]);
        pods.append(&mut made_up);
        texts.extend(
            registry::render(&entries(&pods), &services)
                .into_iter()
                .filter(|(name, _)| name.starts_with("endpoints.")),
        );
        objects.extend(texts.values().flat_map(|text| parse_file(MADE_UP, text).objects));
        let mut workloads: Vec<Workload> = pods.iter().map(Placed::workload).collect();
        workloads.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
        Self { objects, workloads }
    }
}

/// The texts of a directory's configuration files by the path that a user would write, by the rule
/// of `mizzen up`: `*.yaml`, `*.yml` and `*.json` at any depth without hidden ones; or one file.
///
/// # Errors
/// When the path or one of the files cannot be read.
pub fn read(path: &Path) -> io::Result<BTreeMap<String, String>> {
    let paths =
        if fs::metadata(path)?.is_dir() { files::list(path)? } else { vec![path.to_path_buf()] };
    paths
        .iter()
        .map(|path| {
            let text = files::read_text(path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
            Ok((files::shown(path), text))
        })
        .collect()
}

/// A pod with the place that it has.
struct Placed {
    pod: String,
    address: Ipv4Addr,
    deployment: Option<String>,
    ready: bool,
    wanted: Arc<Wanted>,
}

impl Placed {
    fn workload(&self) -> Workload {
        let metadata = &self.wanted.template.metadata;
        Workload {
            namespace: self.wanted.namespace.clone(),
            pod: self.pod.clone(),
            deployment: self.deployment.clone(),
            address: self.address.into(),
            labels: metadata.labels.clone(),
            annotations: metadata.annotations.clone(),
            service_account: self.wanted.template.spec.service_account().to_owned(),
            beside: match self.wanted.role {
                Role::Plain => Beside::Nothing,
                Role::Injected => Beside::Sidecar,
                Role::Gateway => Beside::Gateway,
            },
            proxy: self.wanted.proxy,
        }
    }
}

fn entries(pods: &[Placed]) -> Vec<PodEntry<'_>> {
    pods.iter()
        .map(|placed| PodEntry {
            pod: &placed.pod,
            address: placed.address,
            deployment: &placed.wanted,
            running: true,
            ready: placed.ready,
            terminating: false,
        })
        .collect()
}

/// The Pods among the objects that have an IPv4 address.
fn existing(objects: &[Arc<Object>]) -> Vec<Placed> {
    let pods = objects.iter().filter_map(|object| match &object.spec {
        Spec::Pod(pod) => Some((object, pod)),
        _ => None,
    });
    pods.filter_map(|(object, pod)| {
        let address = pod.status.pod_ip.parse().ok()?;
        let template = PodTemplate {
            metadata: TemplateMeta {
                labels: object.meta.labels.clone(),
                annotations: object.meta.annotations.clone(),
                ..TemplateMeta::default()
            },
            spec: pod.spec.clone(),
        };
        let wanted = Wanted {
            namespace: object.meta.namespace.clone(),
            name: object.meta.name.clone(),
            replicas: 1,
            role: running_role(pod, &template),
            proxy: crate::plan::proxy(&template),
            template,
            settings: Default::default(),
            ambiguous: false,
        };
        Some(Placed {
            pod: object.meta.name.clone(),
            address,
            deployment: owner(objects, object),
            ready: pod.status.is_ready() || pod.status.conditions.is_empty(),
            wanted: Arc::new(wanted),
        })
    })
    .collect()
}

/// What a running pod has: the injector has left its marks by now.
fn running_role(pod: &Pod, template: &PodTemplate) -> Role {
    let proxy = pod.spec.containers.iter().any(|container| container.name == "istio-proxy");
    let labels = &template.metadata.labels;
    let takes_mtls = labels.get("security.istio.io/tlsMode").is_some_and(|mode| mode == "istio");
    match crate::plan::role(template, None) {
        Role::Plain if proxy && pod.spec.containers.len() == 1 => Role::Gateway,
        Role::Plain if proxy || takes_mtls => Role::Injected,
        role => role,
    }
}

/// The Deployment whose selector selects a pod.
fn owner(objects: &[Arc<Object>], pod: &Object) -> Option<String> {
    let found = objects.iter().find(|object| match &object.spec {
        Spec::Deployment(deployment) => {
            let labels = &deployment.selector.match_labels;
            object.meta.namespace == pod.meta.namespace
                && !labels.is_empty()
                && label::selects(labels, &pod.meta.labels)
        }
        _ => false,
    });
    found.map(|object| object.meta.name.clone())
}

/// A pod for each replica of the Deployments that have none.
fn invent(plan: &Plan, objects: &[Arc<Object>], existing: &[Placed]) -> Vec<Placed> {
    let owned: BTreeSet<(&str, &str)> = existing
        .iter()
        .filter_map(|placed| {
            Some((placed.wanted.namespace.as_str(), placed.deployment.as_deref()?))
        })
        .collect();
    let mut used: BTreeSet<IpAddr> = existing.iter().map(|p| p.address.into()).collect();
    used.extend(objects.iter().flat_map(|object| {
        match &object.spec {
            Spec::EndpointSlice(slice) => slice
                .endpoints
                .iter()
                .flat_map(|endpoint| &endpoint.addresses)
                .filter_map(|address| address.parse::<IpAddr>().ok())
                .collect(),
            _ => Vec::new(),
        }
    }));
    let mut allocator = Allocator::default();
    let mut made_up = Vec::new();
    for ((namespace, name), wanted) in &plan.deployments {
        if owned.contains(&(namespace.as_str(), name.as_str())) {
            continue;
        }
        for ordinal in 0..wanted.replicas {
            let free = std::iter::from_fn(|| allocator.take().map(address::of_replica))
                .find(|address| !used.contains(&IpAddr::from(*address)));
            let Some(address) = free else { return made_up };
            let pod = if wanted.replicas == 1 { name.clone() } else { format!("{name}-{ordinal}") };
            made_up.push(Placed {
                pod,
                address,
                deployment: Some(name.clone()),
                ready: true,
                wanted: Arc::clone(wanted),
            });
        }
    }
    made_up
}

/// Namespace and name of the Services that have EndpointSlices.
fn services_with_slices(objects: &[Arc<Object>]) -> BTreeSet<(&str, &str)> {
    objects
        .iter()
        .filter(|object| matches!(object.spec, Spec::EndpointSlice(_)))
        .filter_map(|object| {
            let service = object.meta.labels.get("kubernetes.io/service-name")?;
            Some((object.meta.namespace.as_str(), service.as_str()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  selector: {app: cart}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      serviceAccountName: cart
      containers: [{name: cart, image: cart}]
";

    fn parse(text: &str) -> Vec<Arc<Object>> {
        let parsed = parse_file("test.yaml", text);
        assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
        parsed.objects
    }

    fn endpoints(offline: &Offline) -> usize {
        let slices = offline.objects.iter().filter_map(|object| match &object.spec {
            Spec::EndpointSlice(slice) => Some(slice.endpoints.len()),
            _ => None,
        });
        slices.sum()
    }

    #[test]
    fn each_replica_has_a_pod_and_an_endpoint() {
        let offline = Offline::of(&parse(OBJECTS));
        let names: Vec<&str> = offline.workloads.iter().map(|w| w.pod.as_str()).collect();
        assert_eq!(names, ["cart-0", "cart-1"]);
        assert_eq!(offline.workloads[0].beside, Beside::Sidecar);
        assert_eq!(offline.workloads[0].labels["security.istio.io/tlsMode"], "istio");
        assert_eq!(endpoints(&offline), 2);
    }

    #[test]
    fn what_a_cluster_brings_along_stays() {
        let pod = "
---
apiVersion: v1
kind: Pod
metadata: {name: cart-5d7-abc, namespace: shop, labels: {app: cart, security.istio.io/tlsMode: istio}}
spec:
  serviceAccountName: cart
  containers: [{name: cart, image: cart}, {name: istio-proxy, image: proxy}]
status: {podIP: 10.244.0.2}
";
        let offline = Offline::of(&parse(&format!("{OBJECTS}{pod}")));
        assert_eq!(offline.workloads.len(), 1);
        assert_eq!(offline.workloads[0].deployment.as_deref(), Some("cart"));
        assert_eq!(offline.workloads[0].beside, Beside::Sidecar);
        assert_eq!(endpoints(&offline), 1);
    }
}
