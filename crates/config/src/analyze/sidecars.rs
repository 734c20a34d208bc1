//! Sidecars: selectors that select nothing, hosts that nobody has, several for one scope.

use std::{collections::BTreeMap, sync::Arc};

use super::{Findings, did_you_mean, world::World};
use crate::{
    Object, Sidecar, Spec, host,
    yaml::{Path, excerpt},
};

pub(super) fn check(
    object: &Object,
    sidecar: &Sidecar,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let spec = Path::Root.field("spec");
    let own = object.meta.namespace.as_str();
    if let Some(selector) = sidecar.selector()
        && world.selected(Some(own), &selector.labels).next().is_none()
    {
        let message = "the Sidecar selects nothing: no Deployment or Pod has these labels";
        let path = spec.field("workloadSelector");
        findings.warning((object, &path), "selects-nothing", message.to_owned(), None);
    }
    let in_root = own == world.mesh.root_namespace;
    let list = spec.field("egress");
    for (index, listener) in sidecar.egress.iter().flatten().enumerate() {
        let path = list.index(index);
        let hosts = path.field("hosts");
        for (index, text) in listener.hosts.iter().enumerate() {
            // In the root namespace `.` is the namespace of each workload.
            let relative = in_root && sidecar.selector().is_none() && text.starts_with("./");
            if !relative && !text.starts_with('~') {
                egress_host(object, text, &hosts.index(index), world, findings);
            }
        }
    }
}

fn egress_host(
    object: &Object,
    text: &str,
    path: &Path<'_>,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let Some((namespace, name)) = text.split_once('/') else { return };
    let wanted = if namespace == "." { object.meta.namespace.as_str() } else { namespace };
    if wanted != "*" && !world.has_namespace(wanted) {
        let message = format!("there is no Namespace {}", excerpt(wanted));
        let help = did_you_mean(wanted, world.namespaces.iter().copied());
        findings.warning((object, path), "namespace-not-found", message, help);
        return;
    }
    if host::is_wildcard(name) {
        return;
    }
    let found = world
        .services
        .iter()
        .any(|(host, (meta, _))| host == name && (wanted == "*" || meta.namespace == wanted));
    if !found {
        let message = format!("there is no service {}: nothing is brought in", excerpt(text));
        let help = did_you_mean(name, world.services.keys().map(String::as_str));
        findings.warning((object, path), "host-not-found", message, help);
    }
}

/// A namespace and the labels of its workloads; none: all of them.
type Scope<'a> = (&'a str, Option<&'a BTreeMap<String, String>>);

/// Of several Sidecars for one scope only the oldest counts.
pub(super) fn several_for_one_scope(objects: &[&Arc<Object>], findings: &mut Findings) {
    let mut sorted: Vec<&Arc<Object>> = objects.to_vec();
    sorted.sort_by(|a, b| a.by_age(b));
    let mut first: BTreeMap<Scope<'_>, &Object> = BTreeMap::new();
    for object in sorted {
        let Spec::Sidecar(sidecar) = &object.spec else { continue };
        let labels = sidecar.selector().map(|selector| &selector.labels);
        let scope = (object.meta.namespace.as_str(), labels);
        let Some(other) = first.get(&scope) else {
            first.insert(scope, object);
            continue;
        };
        let message = format!(
            "{} ({}) is for the same workloads: only that one counts",
            other.key(),
            other.origin
        );
        findings.warning((object, &Path::Root), "policy-conflict", message, None);
    }
}
