//! ServiceEntries and WorkloadEntries: selectors that select nothing, hosts with two owners,
//! accounts that nobody declared.

use std::{collections::BTreeMap, sync::Arc};

use super::{Findings, did_you_mean, world::World};
use crate::{
    Object, ServiceEntry, Spec, WorkloadEntry,
    host::{self, CLUSTER_DOMAIN},
    label,
    yaml::{Path, excerpt},
};

pub(super) fn service_entry(
    object: &Object,
    entry: &ServiceEntry,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let spec = Path::Root.field("spec");
    if let Some(selector) = &entry.workload_selector {
        let namespace = object.meta.namespace.as_str();
        if !selector.labels.is_empty()
            && world.selected(Some(namespace), &selector.labels).next().is_none()
            && !world.has_entry(namespace, &selector.labels)
        {
            let message = format!(
                "the ServiceEntry selects nothing: no WorkloadEntry, Deployment or Pod in \
                 {namespace} has these labels"
            );
            let path = spec.field("workloadSelector");
            findings.warning((object, &path), "selects-nothing", message, None);
        }
    }
    let list = spec.field("endpoints");
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        account(object, endpoint, &list.index(index), world, findings);
    }
}

pub(super) fn workload_entry(
    object: &Object,
    entry: &WorkloadEntry,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let spec = Path::Root.field("spec");
    account(object, entry, &spec, world, findings);
    let namespace = object.meta.namespace.as_str();
    let by_service = world.services.values().any(|(meta, service)| {
        meta.namespace == namespace
            && service
                .selector
                .is_some_and(|wanted| !wanted.is_empty() && label::selects(wanted, &entry.labels))
    });
    if !by_service {
        let message = format!(
            "no Service or ServiceEntry in {namespace} selects these labels: nothing calls the \
             workload"
        );
        findings.warning((object, &spec.field("labels")), "not-selected", message, None);
    }
}

fn account(
    object: &Object,
    entry: &WorkloadEntry,
    path: &Path<'_>,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let (here, name) = (object.meta.namespace.as_str(), entry.service_account.as_str());
    if matches!(name, "" | "default") || world.accounts.contains(&(here, name)) {
        return;
    }
    let message = format!("there is no ServiceAccount {here}/{}", excerpt(name));
    let known = world.accounts.iter().filter(|(namespace, _)| *namespace == here);
    let help = did_you_mean(name, known.map(|(_, name)| *name));
    let path = path.field("serviceAccount");
    findings.warning((object, &path), "service-account-not-found", message, help);
}

/// Two owners of one host in one namespace: a Service before a ServiceEntry, then the older one.
pub(super) fn shared_hosts(objects: &[&Arc<Object>], findings: &mut Findings) {
    let mut sorted: Vec<&Arc<Object>> = objects.to_vec();
    sorted.sort_by(|a, b| a.by_age(b));
    let mut owners: BTreeMap<(&str, String), &Object> = BTreeMap::new();
    for object in &sorted {
        if matches!(object.spec, Spec::Service(_)) {
            let meta = &object.meta;
            let name = host::service_fqdn(&meta.name, &meta.namespace, CLUSTER_DOMAIN);
            owners.insert((&meta.namespace, name), object);
        }
    }
    for object in sorted {
        let Spec::ServiceEntry(entry) = &object.spec else { continue };
        let spec = Path::Root.field("spec");
        let list = spec.field("hosts");
        for (index, name) in entry.hosts.iter().enumerate() {
            let key = (object.meta.namespace.as_str(), name.to_ascii_lowercase());
            let Some(owner) = owners.get(&key) else {
                owners.insert(key, object);
                continue;
            };
            // Names to expect of a Service's workloads are what such an entry is for.
            let decorates = matches!(owner.spec, Spec::Service(_));
            if decorates && !entry.subject_alt_names.is_empty() {
                continue;
            }
            let rest = if decorates {
                "only subjectAltNames count here"
            } else {
                "this one does not count"
            };
            let message =
                format!("{} has the host {} ({}): {rest}", owner.key(), key.1, owner.origin);
            findings.warning((object, &list.index(index)), "host-conflict", message, None);
        }
    }
}
