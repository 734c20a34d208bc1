//! WorkloadEntry and WorkloadGroup: addresses, ports, labels, localities and probes.

use std::net::IpAddr;

use super::{checks, names};
use crate::{
    networking::{ReadinessProbe, WorkloadEntry, WorkloadGroup},
    report::Report,
    yaml::{Path, excerpt},
};

pub(crate) fn check(entry: &WorkloadEntry, path: &Path<'_>, report: &mut Report<'_>) {
    address(entry, path, report);
    rest(entry, path, report);
}

/// The address: of any kind.
pub(super) fn address(entry: &WorkloadEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let field = path.field("address");
    let text = entry.address.as_str();
    if text.is_empty() {
        if entry.network.is_empty() {
            let message = "the address is missing: only an entry with a network may do without";
            report.error(&field, "missing-field", message);
        }
        return;
    }
    if let Some(socket) = text.strip_prefix("unix://") {
        if !socket.starts_with('/') || socket.len() < 2 {
            let message = "a Unix socket's path must be absolute";
            report.error_help(&field, "invalid-address", message, "write unix:///run/app.sock");
        }
        if !entry.ports.is_empty() {
            let message = "a Unix socket has no ports";
            report.error(&path.field("ports"), "exclusive-fields", message);
        }
        return;
    }
    if text.parse::<IpAddr>().is_err() && !names::is_fqdn(text) {
        let message = format!(
            "\"{}\" is neither an address, nor a DNS name, nor unix:// and a path",
            excerpt(text)
        );
        report.error(&field, "invalid-address", message);
    }
}

/// All but the address.
pub(super) fn rest(entry: &WorkloadEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let ports = path.field("ports");
    for (name, number) in &entry.ports {
        let path = ports.field(name);
        if name.is_empty() {
            report.error(&path, "invalid-name", "a port's name is empty");
        }
        checks::port(Some(*number), &path, report);
    }
    names::labels(&entry.labels, &path.field("labels"), report);
    if !entry.service_account.is_empty() {
        names::dns_subdomain(&entry.service_account, &path.field("serviceAccount"), report);
    }
    locality(&entry.locality, &path.field("locality"), report);
}

/// `region[/zone[/subzone]]`, no part empty and none a pattern.
fn locality(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if text.is_empty() {
        return;
    }
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || part.contains('*')) {
        let message = format!(
            "\"{}\" is not a locality: region, region/zone or region/zone/subzone",
            excerpt(text)
        );
        report.error(path, "invalid-value", message);
    }
}

pub(crate) fn group(value: &WorkloadGroup, path: &Path<'_>, report: &mut Report<'_>) {
    let message = "workloads do not join by themselves yet: the group has no effect";
    report.warning_help(path, "unsupported", message, "write a WorkloadEntry for each workload");
    let meta = path.field("metadata");
    names::labels(&value.metadata.labels, &meta.field("labels"), report);
    let annotations = meta.field("annotations");
    for key in value.metadata.annotations.keys() {
        names::qualified_key(key, &annotations.field(key), report);
    }
    let template = path.field("template");
    match &value.template {
        None => report.error(&template, "missing-field", "the template is missing"),
        // The address is that of each workload that joins.
        Some(entry) => rest(entry, &template, report),
    }
    if let Some(value) = &value.probe {
        probe(value, &path.field("probe"), report);
    }
}

fn probe(value: &ReadinessProbe, path: &Path<'_>, report: &mut Report<'_>) {
    let methods = [
        value.http_get.is_some(),
        value.tcp_socket.is_some(),
        value.exec.is_some(),
        value.grpc.is_some(),
    ];
    if methods.iter().filter(|given| **given).count() != 1 {
        let message = "exactly one of httpGet, tcpSocket, exec and grpc is needed";
        report.error(path, "exclusive-fields", message);
    }
    for (name, number) in [
        ("initialDelaySeconds", value.initial_delay_seconds),
        ("timeoutSeconds", value.timeout_seconds),
        ("periodSeconds", value.period_seconds),
        ("successThreshold", value.success_threshold),
        ("failureThreshold", value.failure_threshold),
    ] {
        if number.is_some_and(|number| number < 0) {
            report.error(&path.field(name), "invalid-value", "must not be negative");
        }
    }
    if let Some(get) = &value.http_get {
        let path = path.field("httpGet");
        checks::port(Some(get.port), &path.field("port"), report);
        if !matches!(get.scheme.to_ascii_uppercase().as_str(), "" | "HTTP" | "HTTPS") {
            let message = format!("\"{}\" is not a scheme: HTTP or HTTPS", excerpt(&get.scheme));
            report.error(&path.field("scheme"), "invalid-value", message);
        }
    }
    if let Some(socket) = &value.tcp_socket {
        let path = path.field("tcpSocket");
        checks::port(Some(socket.port), &path.field("port"), report);
    }
    if let Some(grpc) = &value.grpc {
        let path = path.field("grpc");
        checks::port(Some(grpc.port), &path.field("port"), report);
    }
    if value.exec.as_ref().is_some_and(|exec| exec.command.is_empty()) {
        let path = path.field("exec");
        report.error(&path.field("command"), "missing-field", "the command is missing");
    }
}
