//! What kubelet and controllers would write: Pods and EndpointSlices, and proxies that stand beside
//! the pods.

use std::{net::IpAddr, sync::Arc};

use config::{Object, Spec};
use pilot::Proxy;

use super::Pod;

/// A proxy from a node as an agent would send it.
pub(crate) fn proxy(pod: &Pod, kind: &str, extensions: &[&str]) -> Proxy {
    let text = |value: &str| xds::Value::from(value);
    let labels = pod.labels.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let metadata = xds::Struct::from([
        ("NAMESPACE".to_owned(), text(&pod.namespace)),
        ("SERVICE_ACCOUNT".to_owned(), text(&pod.service_account)),
        ("INSTANCE_IPS".to_owned(), text(&pod.ip.to_string())),
        ("LABELS".to_owned(), xds::Value::Struct(labels)),
    ]);
    let node = xds::Node {
        id: format!(
            "{kind}~{}~{}.{ns}~{ns}.svc.cluster.local",
            pod.ip,
            pod.name,
            ns = pod.namespace
        ),
        metadata,
        extensions: extensions.iter().map(|name| (*name).to_owned()).collect(),
        ..xds::Node::default()
    };
    Proxy::from_node(&node).expect("node")
}

/// The pods that Deployments ask for.
pub(super) fn pods(objects: &[Arc<Object>]) -> Vec<Pod> {
    let mut pods = Vec::new();
    for object in objects {
        let Spec::Deployment(deployment) = &object.spec else { continue };
        let template = &deployment.template;
        let mut labels = template.metadata.labels.clone();
        let inject = template.metadata.labels.get("sidecar.istio.io/inject");
        let in_mesh = inject.is_none_or(|value| value != "false");
        let gateway = labels.contains_key("istio");
        if in_mesh && !gateway {
            labels.insert("security.istio.io/tlsMode".to_owned(), "istio".to_owned());
        }
        let number = u8::try_from(pods.len()).expect("few pods") + 2;
        pods.push(Pod {
            name: object.meta.name.clone(),
            namespace: object.meta.namespace.clone(),
            labels,
            service_account: template.spec.service_account().to_owned(),
            ip: IpAddr::from([10, 244, 1, number]),
            in_mesh,
        });
    }
    pods
}

/// Pods and EndpointSlices, as the runtime or a cluster writes them.
pub(super) fn registry(objects: &[Arc<Object>], pods: &[Pod]) -> String {
    let mut text = String::new();
    for pod in pods {
        let labels = serde_json::to_string(&pod.labels).expect("labels");
        let Pod { name, namespace, service_account, ip, .. } = pod;
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, \
             labels: {labels}}}\nspec:\n  serviceAccountName: {service_account}\n  containers: \
             [{{name: app, image: none}}]\nstatus: {{podIP: {ip}, conditions: [{{type: Ready, \
             status: \"True\"}}]}}\n"
        );
    }
    for object in objects {
        let Spec::Service(service) = &object.spec else { continue };
        let selects = |pod: &&Pod| {
            !service.selector.is_empty()
                && pod.namespace == object.meta.namespace
                && config::label::selects(&service.selector, &pod.labels)
        };
        let endpoints: Vec<String> = pods
            .iter()
            .filter(selects)
            .map(|pod| {
                format!(
                    "{{addresses: [{}], conditions: {{ready: true}}, targetRef: {{kind: Pod, \
                     name: {}, namespace: {}}}}}",
                    pod.ip, pod.name, pod.namespace
                )
            })
            .collect();
        let ports: Vec<String> = service
            .ports
            .iter()
            .map(|port| {
                let target =
                    port.target_port.as_ref().map_or(port.port.to_string(), ToString::to_string);
                format!("{{name: \"{}\", port: {target}}}", port.name)
            })
            .collect();
        text += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, \
             namespace: {ns}, labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: \
             IPv4\nendpoints: [{}]\nports: [{}]\n",
            endpoints.join(", "),
            ports.join(", "),
            name = object.meta.name,
            ns = object.meta.namespace,
        );
    }
    text
}
