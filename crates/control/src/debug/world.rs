//! What the control plane knows: objects, services, endpoints, findings.

use std::time::SystemTime;

use config::Spec;
use serde_json::{Value, json};

use super::Pages;
use crate::configuration;

/// A time as RFC 3339 text in UTC, to the second.
pub(super) fn timestamp(time: SystemTime) -> String {
    // Only times before the year -9999 or after 9999 are none.
    let text = jiff::Timestamp::try_from(time).map(|time| time.strftime("%FT%TZ").to_string());
    text.unwrap_or_else(|error| error.to_string())
}

/// `/debug/configz`: which objects there are, and where each was written.
pub(super) fn objects(pages: &Pages) -> Value {
    let loaded = pages.loaded.load();
    let each = loaded.objects.iter().map(|object| {
        json!({
            "kind": object.spec.kind().name(),
            "metadata": {
                "name": object.meta.name,
                "namespace": object.meta.namespace,
                "labels": object.meta.labels,
                "annotations": object.meta.annotations,
            },
            "origin": object.origin.to_string(),
        })
    });
    each.collect()
}

/// `/debug/registryz`: services with their addresses and ports.
pub(super) fn services(pages: &Pages) -> Value {
    let loaded = pages.loaded.load();
    let addresses = config::assign_cluster_ips(configuration::services(&loaded.objects));
    let each = configuration::services(&loaded.objects).map(|(namespace, name, service)| {
        let key = (namespace.to_owned(), name.to_owned());
        let ports: Vec<Value> = service
            .ports
            .iter()
            .map(|port| {
                let protocol = format!("{:?}", port.application_protocol());
                json!({ "name": port.name, "port": port.port, "protocol": protocol })
            })
            .collect();
        json!({
            "hostname": format!("{name}.{namespace}.svc.cluster.local"),
            "defaultAddress": addresses.get(&key).map(ToString::to_string),
            "ports": ports,
            "Attributes": {
                "ServiceRegistry": "Kubernetes", "Name": name, "Namespace": namespace,
            },
        })
    });
    each.collect()
}

/// `/debug/endpointz`: endpoints by service and port, as their slices say.
pub(super) fn endpoints(pages: &Pages) -> Value {
    let loaded = pages.loaded.load();
    let mut rows = Vec::new();
    for object in &loaded.objects {
        let Spec::EndpointSlice(slice) = &object.spec else { continue };
        let service = object.meta.labels.get("kubernetes.io/service-name");
        let namespace = &object.meta.namespace;
        let hostname = service.map(|name| format!("{name}.{namespace}.svc.cluster.local"));
        for (endpoint, port) in
            slice.endpoints.iter().flat_map(|e| slice.ports.iter().map(move |port| (e, port)))
        {
            rows.push(json!({
                "svc": hostname,
                "slice": object.meta.name,
                "addresses": endpoint.addresses,
                "port": port.port,
                "servicePortName": port.name,
                "ready": endpoint.conditions.is_ready(),
                "pod": endpoint.target_ref.as_ref().map(|pod| &pod.name),
            }));
        }
    }
    rows.into()
}

/// `/debug/push_status`: the snapshot that is served, and what its making found.
pub(super) fn push_status(pages: &Pages) -> Value {
    let loaded = pages.loaded.load();
    let snapshot = &loaded.snapshot;
    json!({
        "version": snapshot.version,
        "number": snapshot.number,
        "diagnostics": snapshot.context.diagnostics(),
    })
}

/// `/debug/diagnostics`: everything that is wrong or doubtful now.
pub(super) fn diagnostics(pages: &Pages) -> Value {
    let loaded = pages.loaded.load();
    json!({
        "refused": loaded.refused,
        "unreadable": loaded.problems,
        "diagnostics": loaded.diagnostics,
        "text": loaded.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// `/debug/mesh`: the mesh's settings that are in force.
pub(super) fn mesh(pages: &Pages) -> Value {
    let loaded = pages.loaded.load();
    let mesh = loaded.snapshot.context.world().mesh();
    json!({
        "trustDomain": pages.trust_domain,
        "trustDomainAliases": mesh.trust_domain_aliases,
        "rootNamespace": mesh.root_namespace,
        "enableAutoMtls": mesh.enable_auto_mtls,
        "accessLogFile": mesh.access_log_file,
        "accessLogFormat": mesh.access_log_format,
        "connectTimeout": mesh.connect_timeout.map(|limit| format!("{}s", limit.as_secs_f64())),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn writes_times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_500_000, "2026-11-24T06:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
