//! Deployments and pods: containers, ports, environment and probes.

use super::{checks, names};
use crate::{
    k8s::{Container, Deployment, EnvVar, PodSpec, Probe},
    label,
    report::Report,
    value::IntOrString,
    yaml::{Path, excerpt},
};

pub(crate) fn deployment(value: &Deployment, path: &Path<'_>, report: &mut Report<'_>) {
    let selector = path.field("selector");
    let labels = &value.template.metadata.labels;
    if value.selector.match_labels.is_empty() {
        report.error(&selector, "missing-field", "matchLabels with at least one label are needed");
    } else if !label::selects(&value.selector.match_labels, labels) {
        let message = "the selector does not match the template's labels";
        report.error_help(
            &selector,
            "selector-mismatch",
            message,
            "repeat its labels in spec.template.metadata.labels",
        );
    }
    let template = path.field("template");
    let meta = template.field("metadata");
    names::labels(labels, &meta.field("labels"), report);
    let annotations = meta.field("annotations");
    for key in value.template.metadata.annotations.keys() {
        names::qualified_key(key, &annotations.field(key), report);
    }
    pod_spec(&value.template.spec, &template.field("spec"), report);
}

/// A pod's containers, as the API server checks them.
pub(crate) fn pod_spec(spec: &PodSpec, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("containers");
    if spec.containers.is_empty() {
        report.error(&list, "missing-field", "at least one container is needed");
    }
    if !spec.service_account_name.is_empty() {
        let path = path.field("serviceAccountName");
        names::dns_subdomain(&spec.service_account_name, &path, report);
    }
    let repeated = checks::repeated(spec.containers.iter().map(|container| &container.name));
    for (index, value) in spec.containers.iter().enumerate() {
        let path = list.index(index);
        container(value, &path, report);
        if repeated[index] {
            let message = format!("the container \"{}\" is there twice", excerpt(&value.name));
            report.error(&path.field("name"), "duplicate-container", message);
        }
    }
}

fn container(value: &Container, path: &Path<'_>, report: &mut Report<'_>) {
    let name = path.field("name");
    if value.name.is_empty() {
        report.error(&name, "missing-field", "the container's name is missing");
    } else {
        names::dns_label(&value.name, &name, report);
    }
    let list = path.field("ports");
    let repeated = checks::repeated(value.ports.iter().map(|port| &port.name));
    for (index, port) in value.ports.iter().enumerate() {
        let path = list.index(index);
        checks::port(Some(port.container_port), &path.field("containerPort"), report);
        if !port.name.is_empty() {
            names::port_name(&port.name, &path.field("name"), report);
        }
        if !port.name.is_empty() && repeated[index] {
            let message = format!("the port name \"{}\" is there twice", excerpt(&port.name));
            report.error(&path.field("name"), "duplicate-port", message);
        }
    }
    let list = path.field("env");
    for (index, variable) in value.env.iter().enumerate() {
        env(variable, &list.index(index), report);
    }
    for (name, value) in [
        ("readinessProbe", &value.readiness_probe),
        ("livenessProbe", &value.liveness_probe),
        ("startupProbe", &value.startup_probe),
    ] {
        if let Some(value) = value {
            probe(value, &path.field(name), report);
        }
    }
}

fn env(variable: &EnvVar, path: &Path<'_>, report: &mut Report<'_>) {
    let name = path.field("name");
    if variable.name.is_empty() {
        report.error(&name, "missing-field", "the variable's name is missing");
    } else if variable.name.contains(['=', '\0']) {
        report.error(&name, "invalid-name", "a variable's name has no \"=\"");
    }
    if variable.value.contains('\0') {
        report.error(&path.field("value"), "invalid-value", "has a NUL character");
    }
    let Some(source) = &variable.value_from else { return };
    let path = path.field("valueFrom");
    if !variable.value.is_empty() {
        report.error(&path, "exclusive-fields", "value and valueFrom exclude each other");
    }
    if let Some(field) = &source.field_ref {
        let path = path.field("fieldRef");
        let path = path.field("fieldPath");
        let known = matches!(
            field.field_path.as_str(),
            "metadata.name"
                | "metadata.namespace"
                | "metadata.uid"
                | "metadata.labels"
                | "spec.nodeName"
                | "spec.serviceAccountName"
                | "status.podIP"
                | "status.podIPs"
                | "status.hostIP"
        ) || field.field_path.starts_with("metadata.labels['")
            || field.field_path.starts_with("metadata.annotations['");
        if !known {
            let message = format!("\"{}\" is not a field of a pod", excerpt(&field.field_path));
            report.error(&path, "invalid-value", message);
        }
    }
}

fn probe(value: &Probe, path: &Path<'_>, report: &mut Report<'_>) {
    let actions = [
        value.http_get.is_some(),
        value.tcp_socket.is_some(),
        value.exec.is_some(),
        value.grpc.is_some(),
    ];
    if actions.iter().filter(|given| **given).count() != 1 {
        let message = "exactly one of httpGet, tcpSocket, exec and grpc is needed";
        report.error(path, "exclusive-fields", message);
    }
    for (name, seconds) in [
        ("periodSeconds", value.period_seconds),
        ("timeoutSeconds", value.timeout_seconds),
        ("successThreshold", value.success_threshold),
        ("failureThreshold", value.failure_threshold),
    ] {
        if seconds == Some(0) {
            report.error(&path.field(name), "invalid-value", "must be at least 1");
        }
    }
    let ports = [
        ("httpGet", value.http_get.as_ref().map(|get| &get.port)),
        ("tcpSocket", value.tcp_socket.as_ref().map(|socket| &socket.port)),
    ];
    for (name, port) in ports {
        let Some(port) = port else { continue };
        let path = path.field(name);
        match port {
            None => report.error(&path.field("port"), "missing-field", "the port is missing"),
            Some(IntOrString::Int(number)) if !(1..=65535).contains(number) => {
                let message = format!("{number} is not a port from 1 to 65535");
                report.error(&path.field("port"), "invalid-port", message);
            }
            Some(_) => {}
        }
    }
}
