//! Sidecar: listeners in and out, hosts, and the policy for what nobody declared.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::{checks, destination_rule, names, service_entry};
use crate::{
    Sidecar,
    networking::{
        CaptureMode, EgressListener, IngressListener, SidecarOutboundMode,
        SidecarOutboundTrafficPolicy,
    },
    report::Report,
    yaml::{Path, excerpt},
};

pub(crate) fn check(sidecar: &Sidecar, path: &Path<'_>, report: &mut Report<'_>) {
    let says_nothing = sidecar.ingress.is_empty()
        && sidecar.egress.as_ref().is_none_or(Vec::is_empty)
        && sidecar.inbound_connection_pool.is_none()
        && sidecar.outbound_traffic_policy.is_none();
    if says_nothing {
        let message = "one of ingress, egress, inboundConnectionPool and outboundTrafficPolicy is \
                       needed";
        report.error(path, "missing-field", message);
    }
    if let Some(selector) = &sidecar.workload_selector {
        let path = path.field("workloadSelector");
        let path = path.field("labels");
        checks::selector(&selector.labels, &path, report);
        if selector.labels.is_empty() {
            let message = "at least one label is needed: leave workloadSelector out for the whole \
                           namespace";
            report.error(&path, "missing-field", message);
        }
    }
    ingress(&sidecar.ingress, &path.field("ingress"), report);
    egress(sidecar.egress.as_deref().unwrap_or_default(), &path.field("egress"), report);
    if let Some(pool) = &sidecar.inbound_connection_pool {
        let path = path.field("inboundConnectionPool");
        destination_rule::connection_pool(pool, &path, report);
    }
    if let Some(policy) = &sidecar.outbound_traffic_policy {
        outbound_policy(policy, &path.field("outboundTrafficPolicy"), report);
    }
}

fn ingress(listeners: &[IngressListener], list: &Path<'_>, report: &mut Report<'_>) {
    let number = |listener: &IngressListener| listener.port.as_ref().map(|port| port.number);
    let repeated = checks::repeated(listeners.iter().map(number));
    for (index, listener) in listeners.iter().enumerate() {
        let path = list.index(index);
        let port_path = path.field("port");
        match &listener.port {
            None => report.error(&port_path, "missing-field", "the port is missing"),
            Some(port) => {
                service_entry::port(port, &port_path, report);
                if repeated[index] {
                    let message = format!("the port {} is there twice", port.number);
                    report.error(&port_path.field("number"), "duplicate-port", message);
                }
            }
        }
        if !listener.bind.is_empty() && listener.bind.parse::<IpAddr>().is_err() {
            let message = format!("\"{}\" is not an address", excerpt(&listener.bind));
            report.error(&path.field("bind"), "invalid-address", message);
        }
        default_endpoint(&listener.default_endpoint, &path.field("defaultEndpoint"), report);
        if let Some(pool) = &listener.connection_pool {
            destination_rule::connection_pool(pool, &path.field("connectionPool"), report);
        }
    }
}

/// The application's place: a loopback, the workload's own address, or a Unix socket.
fn default_endpoint(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let fits = match text.strip_prefix("unix://") {
        _ if text.is_empty() => true,
        Some(socket) => socket.starts_with('/') && socket.len() > 1,
        None => text.parse::<SocketAddr>().is_ok_and(|address| {
            let ip = address.ip();
            address.port() != 0
                && (ip.is_unspecified() || ip.to_string() == "127.0.0.1" || ip.to_string() == "::1")
        }),
    };
    if !fits {
        let message = format!("\"{}\" is not a place of the application", excerpt(text));
        let help = "write 127.0.0.1:PORT, [::1]:PORT, 0.0.0.0:PORT or unix:///PATH";
        report.error_help(path, "invalid-address", message, help);
    }
}

fn egress(listeners: &[EgressListener], list: &Path<'_>, report: &mut Report<'_>) {
    let mut seen: BTreeSet<(u16, &str)> = BTreeSet::new();
    for (index, listener) in listeners.iter().enumerate() {
        let path = list.index(index);
        egress_port(listener, &path, report);
        let hosts = path.field("hosts");
        if listener.hosts.is_empty() {
            let help = "write \"*/*\" for all, \"./*\" for those of the namespace";
            report.error_help(&hosts, "missing-field", "at least one host is needed", help);
        }
        for (index, host) in listener.hosts.iter().enumerate() {
            egress_host(host, &hosts.index(index), report);
        }
        let none = |host: &String| host == "~/*";
        if listener.hosts.iter().any(none) && listener.hosts.len() > 1 {
            let message = "\"~/*\" (nothing) cannot be combined with others";
            report.error(&hosts, "exclusive-fields", message);
        }
        match &listener.port {
            None if index + 1 < listeners.len() => {
                let message = "a listener without port takes what is left over: it must be the \
                               last one";
                report.error(&path, "not-last", message);
            }
            Some(port) if !seen.insert((port.number, listener.bind.as_str())) => {
                let message = format!("another listener has port {} already", port.number);
                let path = path.field("port");
                report.error(&path.field("number"), "duplicate-port", message);
            }
            _ => {}
        }
    }
}

fn egress_port(listener: &EgressListener, path: &Path<'_>, report: &mut Report<'_>) {
    let bind = path.field("bind");
    let socket = listener.bind.strip_prefix("unix://");
    match &listener.port {
        None => {
            if !listener.bind.is_empty() {
                report.error(&bind, "exclusive-fields", "bind needs a port");
            }
            if listener.capture_mode == CaptureMode::None {
                let message = "captureMode NONE needs a port: nothing else leads to the listener";
                report.error(&path.field("captureMode"), "exclusive-fields", message);
            }
        }
        Some(port) => {
            let path = path.field("port");
            service_entry::protocol(port, &path, report);
            match (socket, port.number) {
                (None, 0) => {
                    let message = "the port must be from 1 to 65535";
                    report.error(&path.field("number"), "invalid-port", message);
                }
                (Some(_), 1..) => {
                    let message = "a Unix socket has no port: write number: 0";
                    report.error(&path.field("number"), "exclusive-fields", message);
                }
                _ => {}
            }
        }
    }
    let fits = match socket {
        Some(socket) => socket.starts_with('/') && socket.len() > 1,
        None => listener.bind.is_empty() || listener.bind.parse::<IpAddr>().is_ok(),
    };
    if !fits {
        let message = format!(
            "\"{}\" is neither an address nor unix:/// and a path",
            excerpt(&listener.bind)
        );
        report.error(&bind, "invalid-address", message);
    }
}

/// `namespace/name`, either perhaps a pattern.
fn egress_host(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let Some((namespace, host)) = text.split_once('/') else {
        let message = format!("\"{}\" is not of the form namespace/name", excerpt(text));
        let help = format!("write \"*/{}\" or \"./{}\"", excerpt(text), excerpt(text));
        report.error_help(path, "invalid-host", message, help);
        return;
    };
    // `~` alone is no namespace for `~/*`, and every one for a name that is left out.
    let bare = namespace.strip_prefix('~').unwrap_or(namespace);
    if !matches!(bare, "" | "*" | ".") || namespace.is_empty() {
        names::dns_label(bare, path, report);
    }
    names::host(host, true, path, report);
}

fn outbound_policy(
    policy: &SidecarOutboundTrafficPolicy,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let Some(proxy) = &policy.egress_proxy else { return };
    let field = path.field("egressProxy");
    if policy.mode != SidecarOutboundMode::AllowAny {
        let message = "egressProxy is where calls are passed on to: it needs mode ALLOW_ANY";
        report.error(&field, "exclusive-fields", message);
    }
    super::virtual_service::destination(proxy, &field, report);
    if proxy.port.is_none() {
        report.error(&field.field("port"), "missing-field", "the proxy's port is missing");
    }
}
