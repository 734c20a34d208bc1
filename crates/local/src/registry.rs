//! What the runtime plays kubelet and controllers for: Pods and EndpointSlices, written as files
//! that the control plane reads beside the user's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use config::k8s::{Container, ServicePort, ServiceType, Transport};
use config::value::IntOrString;
use serde_json::{Value, json};

use crate::plan::{Wanted, WantedService};
use crate::state::write_atomically;

/// A replica as the registry knows it.
#[derive(Debug, Clone)]
pub(crate) struct PodEntry<'a> {
    pub(crate) pod: &'a str,
    pub(crate) address: Ipv4Addr,
    pub(crate) deployment: &'a Wanted,
    pub(crate) running: bool,
    pub(crate) ready: bool,
    pub(crate) terminating: bool,
}

/// The files of the registry, each written only when it changes.
#[derive(Debug)]
pub(crate) struct Registry {
    directory: PathBuf,
    written: BTreeMap<String, String>,
}

impl Registry {
    /// An empty registry in this directory.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, written: BTreeMap::new() }
    }

    /// Makes the directory hold exactly these files.
    pub(crate) fn write(&mut self, files: BTreeMap<String, String>) -> io::Result<()> {
        for (name, text) in &files {
            if self.written.get(name) != Some(text) {
                write_atomically(&self.directory.join(name), text.as_bytes(), 0o600)?;
            }
        }
        for name in self.written.keys().filter(|name| !files.contains_key(*name)) {
            remove(&self.directory.join(name))?;
        }
        self.written = files;
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The files for these replicas and Services, by name.
pub(crate) fn render(
    pods: &[PodEntry<'_>],
    services: &[WantedService],
) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for pod in pods {
        let name = format!("pod.{}.{}.yaml", pod.deployment.namespace, pod.pod);
        files.insert(name, yaml(&[pod_object(pod)]));
    }
    for service in services {
        let slices = endpoint_slices(service, pods);
        if !slices.is_empty() {
            let name = format!("endpoints.{}.{}.yaml", service.namespace, service.name);
            files.insert(name, yaml(&slices));
        }
    }
    files
}

/// JSON is YAML; one document an object.
fn yaml(objects: &[Value]) -> String {
    let mut text = String::new();
    for object in objects {
        text.push_str(&format!("---\n{object:#}\n"));
    }
    text
}

fn pod_object(pod: &PodEntry<'_>) -> Value {
    let template = &pod.deployment.template;
    let containers: Vec<Value> = template.spec.containers.iter().map(container_object).collect();
    let phase = if pod.running { "Running" } else { "Pending" };
    let ready = if pod.ready { "True" } else { "False" };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.pod,
            "namespace": pod.deployment.namespace,
            "labels": template.metadata.labels,
            "annotations": template.metadata.annotations,
        },
        "spec": {
            "serviceAccountName": template.spec.service_account(),
            "containers": containers,
        },
        "status": {
            "phase": phase,
            "podIP": pod.address.to_string(),
            "podIPs": [{ "ip": pod.address.to_string() }],
            "conditions": [{ "type": "Ready", "status": ready }],
        },
    })
}

fn container_object(container: &Container) -> Value {
    let ports: Vec<Value> = container
        .ports
        .iter()
        .map(|port| {
            let mut object = json!({
                "containerPort": port.container_port,
                "protocol": transport(port.protocol),
            });
            if !port.name.is_empty() {
                object["name"] = json!(port.name);
            }
            object
        })
        .collect();
    let image = if container.image.is_empty() { "none" } else { &container.image };
    json!({ "name": container.name, "image": image, "ports": ports })
}

fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
        Transport::Sctp => "SCTP",
    }
}

/// Whether a Service selects a pod.
pub(crate) fn selects(service: &WantedService, wanted: &Wanted) -> bool {
    let labels = &wanted.template.metadata.labels;
    service.spec.service_type != ServiceType::ExternalName
        && !service.spec.selector.is_empty()
        && service.namespace == wanted.namespace
        && service.spec.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The pod's port behind a Service's port; `None` when the pod has no port of that name.
pub(crate) fn target_port(port: &ServicePort, wanted: &Wanted) -> Option<u16> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => wanted
            .template
            .spec
            .containers
            .iter()
            .flat_map(|container| &container.ports)
            .find(|candidate| candidate.name == *name && candidate.protocol == port.protocol)
            .map(|candidate| candidate.container_port),
    }
}

/// One slice for each way in which the Service's named target ports resolve, as the endpoint slice
/// controller does it. Pods that are terminating stay, marked so, until they are gone.
fn endpoint_slices(service: &WantedService, pods: &[PodEntry<'_>]) -> Vec<Value> {
    let mut groups: BTreeMap<Vec<(usize, u16)>, Vec<Value>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| selects(service, pod.deployment)) {
        let ports = service.spec.ports.iter().enumerate();
        let resolved: Vec<_> = ports
            .filter_map(|(index, port)| Some((index, target_port(port, pod.deployment)?)))
            .collect();
        let published = service.spec.publish_not_ready_addresses;
        groups.entry(resolved).or_default().push(json!({
            "addresses": [pod.address.to_string()],
            "conditions": {
                "ready": (pod.ready && !pod.terminating) || published,
                "serving": pod.ready,
                "terminating": pod.terminating,
            },
            "targetRef": {
                "kind": "Pod",
                "namespace": pod.deployment.namespace,
                "name": pod.pod,
            },
        }));
    }
    let mut names = BTreeSet::new();
    groups
        .into_iter()
        .enumerate()
        .map(|(number, (ports, endpoints))| {
            let mut name = format!("{}-{number}", service.name);
            while !names.insert(name.clone()) {
                name.push('x');
            }
            slice_object(service, &name, &ports, &endpoints)
        })
        .collect()
}

fn slice_object(
    service: &WantedService,
    name: &str,
    ports: &[(usize, u16)],
    endpoints: &[Value],
) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .filter_map(|(index, number)| {
            let port = service.spec.ports.get(*index)?;
            let mut object = json!({
                "name": port.name,
                "port": number,
                "protocol": transport(port.protocol),
            });
            if let Some(protocol) = &port.app_protocol {
                object["appProtocol"] = json!(protocol);
            }
            Some(object)
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": service.namespace,
            "labels": {
                "kubernetes.io/service-name": service.name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    })
}

/// The lines of `/etc/hosts` that let a pod without a sidecar reach Services by name: one ready
/// endpoint each. It sees no virtual address and no load balancing; only a sidecar has those.
pub(crate) fn hosts(namespace: &str, pods: &[PodEntry<'_>], services: &[WantedService]) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost\n");
    for service in services {
        let mut ready = pods.iter().filter(|pod| pod.ready && !pod.terminating);
        let Some(pod) = ready.find(|pod| selects(service, pod.deployment)) else { continue };
        let WantedService { namespace: ns, name, .. } = service;
        text.push_str(&format!(
            "{} {name}.{ns}.svc.cluster.local {name}.{ns}.svc {name}.{ns}",
            pod.address
        ));
        if ns == namespace {
            text.push_str(&format!(" {name}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
