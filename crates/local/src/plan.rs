//! What shall run: the Deployments of the user's files with what Istio's injector would make of
//! them, and the Services whose endpoints they are.

mod proxy_config;

use std::collections::BTreeMap;
use std::sync::Arc;

use config::k8s::PodTemplate;
use config::{MeshConfig, Object, Service, Spec};
use serde::{Deserialize, Serialize};

use proxy_config::{ProxyConfigs, ProxySettings};

/// Istio's annotation that chooses injection templates; `gateway` makes the pod a gateway.
const TEMPLATES: &str = "inject.istio.io/templates";
/// Istio's label (and older annotation) that turns injection on or off for one pod.
const INJECT: &str = "sidecar.istio.io/inject";
/// Istio's label that turns injection on or off for a namespace.
const NAMESPACE_INJECTION: &str = "istio-injection";
/// Istio's label for a namespace whose pods follow a revision of the control plane.
const REVISION: &str = "istio.io/rev";
/// Our annotation that chooses the proxy.
const PROXY_TYPE: &str = "proxy.mizzen.dev/type";

/// Which program proxies for a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    /// Our own, in the agent's process.
    Mizzen,
    /// A stock Envoy, as the agent's child.
    Envoy,
}

impl ProxyKind {
    /// As command lines and tables have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mizzen => "mizzen",
            Self::Envoy => "envoy",
        }
    }
}

impl std::fmt::Display for ProxyKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What stands beside, or instead of, a pod's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing: the pod is outside of the mesh.
    Plain,
    /// A sidecar, and traffic capture.
    Injected,
    /// A proxy instead of the containers.
    Gateway,
}

/// A Deployment that shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) replicas: u32,
    pub(crate) role: Role,
    pub(crate) proxy: ProxyKind,
    pub(crate) template: PodTemplate,
    /// What its proxy is started with.
    pub(crate) settings: ProxySettings,
    /// Whether another namespace has a Deployment of this name.
    pub(crate) ambiguous: bool,
}

impl Wanted {
    /// Whether a pod of `other` could stand in for one of this.
    pub(crate) fn same_pods(&self, other: &Self) -> bool {
        self.role == other.role
            && self.proxy == other.proxy
            && self.template == other.template
            && self.settings == other.settings
    }

    /// The name of one of its replicas on the command line. It is fixed when the replica starts:
    /// scaling up later does not rename it.
    pub(crate) fn workload(&self, ordinal: u32) -> String {
        let name = match self.replicas {
            0 | 1 if ordinal == 0 => self.name.clone(),
            _ => format!("{}-{ordinal}", self.name),
        };
        if self.ambiguous { format!("{}/{name}", self.namespace) } else { name }
    }
}

/// A Service, for its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedService {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) spec: Service,
}

/// Everything that shall run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) deployments: BTreeMap<(String, String), Arc<Wanted>>,
    pub(crate) services: Vec<WantedService>,
    /// Pods that no Deployment makes, which do not run.
    pub(crate) bare_pods: Vec<String>,
}

impl Plan {
    /// The plan that these objects make.
    pub(crate) fn of<'a>(objects: impl Iterator<Item = &'a Arc<Object>> + Clone) -> Self {
        let namespaces: BTreeMap<_, _> = objects
            .clone()
            .filter(|object| matches!(object.spec, Spec::Namespace(_)))
            .map(|object| (object.meta.name.as_str(), &object.meta.labels))
            .collect();
        let mesh = MeshConfig::of(objects.clone());
        let proxies = ProxyConfigs::of(objects.clone(), &mesh.root_namespace);
        let mut plan = Self::default();
        for object in objects {
            let (namespace, name) = (object.meta.namespace.clone(), object.meta.name.clone());
            match &object.spec {
                Spec::Deployment(deployment) => {
                    let labels = namespaces.get(namespace.as_str()).copied();
                    let role = role(&deployment.template, labels);
                    let template = injected(&deployment.template, role, &name);
                    let settings = match role {
                        Role::Plain => ProxySettings::default(),
                        _ => proxies.settings(&namespace, &template.metadata.labels),
                    };
                    let wanted = Wanted {
                        settings,
                        replicas: deployment.replica_count(),
                        role,
                        proxy: proxy(&deployment.template),
                        template,
                        ambiguous: false,
                        namespace: namespace.clone(),
                        name: name.clone(),
                    };
                    plan.deployments.insert((namespace, name), Arc::new(wanted));
                }
                Spec::Service(spec) => {
                    plan.services.push(WantedService { namespace, name, spec: spec.clone() });
                }
                Spec::Pod(_) => plan.bare_pods.push(format!("{namespace}/{name}")),
                _ => {}
            }
        }
        plan.mark_ambiguous();
        plan
    }

    fn mark_ambiguous(&mut self) {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for (_, name) in self.deployments.keys() {
            *count.entry(name.clone()).or_default() += 1;
        }
        for ((_, name), wanted) in &mut self.deployments {
            if count.get(name).is_some_and(|count| *count > 1) {
                Arc::make_mut(wanted).ambiguous = true;
            }
        }
    }

    /// Whether a gateway is there to serve the host's sockets.
    pub(crate) fn needs_host_sockets(&self) -> bool {
        self.deployments.values().any(|wanted| wanted.role == Role::Gateway && wanted.replicas > 0)
    }
}

/// Istio's rule: the pod's own label (else annotation) decides, except in a namespace that says
/// `disabled`; without one the namespace decides.
pub(crate) fn role(template: &PodTemplate, namespace: Option<&BTreeMap<String, String>>) -> Role {
    let metadata = &template.metadata;
    let gateway = metadata
        .annotations
        .get(TEMPLATES)
        .is_some_and(|names| names.split(',').any(|name| name.trim() == "gateway"));
    if gateway {
        return Role::Gateway;
    }
    let namespace_says =
        |key: &str| namespace.and_then(|labels| labels.get(key)).map(String::as_str);
    let injection = namespace_says(NAMESPACE_INJECTION);
    let pod = metadata.labels.get(INJECT).or_else(|| metadata.annotations.get(INJECT));
    let injected = match (injection, pod.map(String::as_str)) {
        (Some("disabled"), _) | (_, Some("false")) => false,
        (_, Some("true")) => true,
        _ => injection == Some("enabled") || namespace_says(REVISION).is_some(),
    };
    if injected { Role::Injected } else { Role::Plain }
}

/// The template with the labels that Istio's injector sets on a pod that gets a proxy.
fn injected(template: &PodTemplate, role: Role, deployment: &str) -> PodTemplate {
    let mut template = template.clone();
    if role == Role::Plain {
        return template;
    }
    let labels = &mut template.metadata.labels;
    let first_of = |labels: &BTreeMap<String, String>, keys: &[&str], default: &str| {
        let found = keys.iter().find_map(|key| labels.get(*key));
        found.map_or_else(|| default.to_owned(), Clone::clone)
    };
    let name = first_of(labels, &["app.kubernetes.io/name", "app"], deployment);
    let revision = first_of(labels, &["app.kubernetes.io/version", "version"], "latest");
    for (key, value) in [
        ("security.istio.io/tlsMode", "istio".to_owned()),
        ("service.istio.io/canonical-name", name),
        ("service.istio.io/canonical-revision", revision),
    ] {
        labels.entry(key.to_owned()).or_insert(value);
    }
    template
}

pub(crate) fn proxy(template: &PodTemplate) -> ProxyKind {
    match template.metadata.annotations.get(PROXY_TYPE).map(String::as_str) {
        Some("envoy") => ProxyKind::Envoy,
        _ => ProxyKind::Mizzen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_with_a_proxy_says_that_it_takes_mutual_tls() {
        let template = template(&[("app", "reviews"), ("version", "v2")], &[]);
        let labels = injected(&template, Role::Injected, "reviews-v2").metadata.labels;
        assert_eq!(labels["security.istio.io/tlsMode"], "istio");
        assert_eq!(labels["service.istio.io/canonical-name"], "reviews");
        assert_eq!(labels["service.istio.io/canonical-revision"], "v2");
        assert_eq!(injected(&template, Role::Plain, "x"), template);
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn template(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> PodTemplate {
        let mut template = PodTemplate::default();
        template.metadata.labels = map(labels);
        template.metadata.annotations = map(annotations);
        template
    }

    #[test]
    fn injection_follows_pod_then_namespace() {
        let enabled = map(&[(NAMESPACE_INJECTION, "enabled")]);
        let disabled = map(&[(NAMESPACE_INJECTION, "disabled")]);
        let bare = template(&[], &[]);
        let on = template(&[(INJECT, "true")], &[]);
        let off = template(&[], &[(INJECT, "false")]);
        assert_eq!(role(&bare, Some(&enabled)), Role::Injected);
        assert_eq!(role(&bare, Some(&map(&[(REVISION, "default")]))), Role::Injected);
        assert_eq!(role(&bare, None), Role::Plain);
        assert_eq!(role(&off, Some(&enabled)), Role::Plain);
        assert_eq!(role(&on, None), Role::Injected);
        assert_eq!(role(&on, Some(&disabled)), Role::Plain);
        assert_eq!(role(&template(&[], &[(TEMPLATES, "gateway")]), None), Role::Gateway);
    }

    #[test]
    fn workloads_are_numbered_only_when_there_are_several() {
        let mut wanted = Wanted {
            namespace: "shop".into(),
            name: "cart".into(),
            replicas: 1,
            role: Role::Plain,
            proxy: ProxyKind::Mizzen,
            template: PodTemplate::default(),
            settings: ProxySettings::default(),
            ambiguous: false,
        };
        assert_eq!(wanted.workload(0), "cart");
        wanted.replicas = 2;
        assert_eq!((wanted.workload(0), wanted.workload(1)), ("cart-0".into(), "cart-1".into()));
        wanted.ambiguous = true;
        assert_eq!(wanted.workload(1), "shop/cart-1");
    }
}
