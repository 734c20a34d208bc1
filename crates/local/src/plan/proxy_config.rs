//! ProxyConfig objects: what a pod's proxy is started with, by Istio's precedence: the workload's
//! over the namespace's over the mesh's, each field by itself; the oldest of each scope counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Object, Spec, networking::ProxyConfig};

/// What a proxy is started with besides its template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProxySettings {
    /// Worker threads; 0: one for each core.
    pub(crate) concurrency: Option<u32>,
    pub(crate) environment: BTreeMap<String, String>,
}

/// All ProxyConfigs.
pub(crate) struct ProxyConfigs<'a> {
    root: String,
    /// With their namespaces, oldest first.
    all: Vec<(&'a str, &'a ProxyConfig)>,
}

impl<'a> ProxyConfigs<'a> {
    /// Those among `objects`; `root` is the namespace of the mesh's own.
    pub(crate) fn of(objects: impl Iterator<Item = &'a Arc<Object>>, root: &str) -> Self {
        let mut found: Vec<(&Object, &ProxyConfig)> = objects
            .filter_map(|object| match &object.spec {
                Spec::ProxyConfig(spec) => Some((object.as_ref(), spec)),
                _ => None,
            })
            .collect();
        found.sort_by(|(a, _), (b, _)| a.by_age(b));
        let all = found.into_iter().map(|(object, spec)| (object.meta.namespace.as_str(), spec));
        Self { root: root.to_owned(), all: all.collect() }
    }

    /// What the proxy of a pod with these labels is started with.
    pub(crate) fn settings(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> ProxySettings {
        let of_namespace = |namespace: &str| {
            let mut scope = self.all.iter().filter(|(of, _)| *of == namespace);
            scope.find(|(_, spec)| spec.is_for_namespace())
        };
        let workload = self.all.iter().find(|(of, spec)| {
            let selector = spec.selector.as_ref().filter(|_| !spec.is_for_namespace());
            *of == namespace && selector.is_some_and(|selector| selector.matches(labels))
        });
        let mut settings = ProxySettings::default();
        for (_, spec) in
            [of_namespace(&self.root), of_namespace(namespace), workload].into_iter().flatten()
        {
            settings.concurrency = spec.concurrency.or(settings.concurrency);
            settings.environment.extend(spec.environment_variables.clone());
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(labels: &[(&str, &str)], yaml: &str) -> ProxySettings {
        let parsed = config::parse_file("f", yaml);
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        ProxyConfigs::of(parsed.objects.iter(), "istio-system").settings("shop", &labels)
    }

    #[test]
    fn the_nearest_wins_field_by_field() {
        let yaml = "
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: w, namespace: shop}
spec: {selector: {matchLabels: {app: a}}, environmentVariables: {A: workload}}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: n, namespace: shop}
spec: {concurrency: 0, environmentVariables: {A: namespace, B: namespace}}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: r, namespace: istio-system}
spec: {concurrency: 4, environmentVariables: {A: mesh, B: mesh, C: mesh}}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: z, namespace: shop}
spec: {concurrency: 9}
";
        let values = |settings: &ProxySettings| {
            settings.environment.values().map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let of_a = settings(&[("app", "a")], yaml);
        assert_eq!((of_a.concurrency, values(&of_a)), (Some(0), "workload namespace mesh".into()));
        let other = settings(&[("app", "b")], yaml);
        assert_eq!(values(&other), "namespace namespace mesh");
        let root_only = settings(&[], &yaml.replace("namespace: shop", "namespace: elsewhere"));
        assert_eq!((root_only.concurrency, values(&root_only)), (Some(4), "mesh mesh mesh".into()));
    }
}
