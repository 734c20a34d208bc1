//! ServiceEntry: hosts, addresses, ports, and what each resolution needs.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{checks, names, workload_entry};
use crate::{
    Protocol, ServiceEntry,
    host::is_wildcard,
    networking::{Location, Port, Resolution, WorkloadEntry},
    report::Report,
    yaml::{Path, excerpt, nearest},
};

/// Most hosts, as in Istio's API.
const MAX_HOSTS: usize = 256;

const PROTOCOLS: [&str; 12] = [
    "HTTP",
    "HTTPS",
    "GRPC",
    "GRPC-WEB",
    "HTTP2",
    "MONGO",
    "TCP",
    "TLS",
    "UDP",
    "MYSQL",
    "REDIS",
    "HTTP_PROXY",
];

pub(crate) fn check(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    hosts(entry, path, report);
    addresses(entry, path, report);
    ports(entry, path, report);
    if let Some(selector) = &entry.workload_selector {
        let path = path.field("workloadSelector");
        if !entry.endpoints.is_empty() {
            let message = "workloadSelector and endpoints exclude each other";
            report.error(&path, "exclusive-fields", message);
        }
        checks::selector(&selector.labels, &path.field("labels"), report);
        if selector.labels.is_empty() {
            let message = "at least one label is needed: without any nothing is selected";
            report.error(&path.field("labels"), "missing-field", message);
        }
    }
    resolution(entry, path, report);
    endpoints(entry, path, report);
    checks::export_to(&entry.export_to, path, report);
}

fn hosts(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("hosts");
    if entry.hosts.is_empty() {
        report.error(&list, "missing-field", "at least one host is needed");
    }
    if entry.hosts.len() > MAX_HOSTS {
        let message = format!("there are {} hosts: at most {MAX_HOSTS}", entry.hosts.len());
        report.error(&list, "too-many", message);
    }
    let repeated = checks::repeated(entry.hosts.iter().map(|host| host.to_ascii_lowercase()));
    for (index, host) in entry.hosts.iter().enumerate().take(MAX_HOSTS) {
        let path = list.index(index);
        if host == "*" {
            let message = "\"*\" alone would be every host of the world";
            report.error_help(&path, "invalid-host", message, "write names, or \"*.example.com\"");
        } else {
            names::host(host, false, &path, report);
        }
        if repeated[index] {
            let message = format!("\"{}\" is there twice", excerpt(host));
            report.error(&path, "duplicate-host", message);
        }
    }
}

fn addresses(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("addresses");
    let networks = matches!(entry.resolution, Resolution::None | Resolution::Static);
    for (index, text) in entry.addresses.iter().enumerate() {
        let path = list.index(index);
        checks::ip_or_cidr(text, &path, report);
        if !networks && text.parse::<IpAddr>().is_err() && text.parse::<IpNet>().is_ok() {
            let message = format!(
                "a network is only possible with resolution NONE or STATIC, not with {}",
                entry.resolution.name()
            );
            report.error(&path, "exclusive-fields", message);
        }
    }
}

fn ports(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("ports");
    if entry.ports.is_empty() {
        let message = "no port: the service cannot be called";
        report.warning(&list, "missing-field", message);
    }
    let names = checks::repeated(entry.ports.iter().map(|port| port.name.as_str()));
    let numbers = checks::repeated(entry.ports.iter().map(|port| port.number));
    let anywhere = entry.addresses.is_empty()
        && (entry.resolution == Resolution::None
            || entry.hosts.iter().any(|host| is_wildcard(host)));
    for (index, value) in entry.ports.iter().enumerate() {
        let path = list.index(index);
        let protocol = port(value, &path, report);
        if !value.name.is_empty() && names[index] {
            let message = format!("the port name \"{}\" is there twice", excerpt(&value.name));
            report.error(&path.field("name"), "duplicate-port", message);
        }
        if numbers[index] && value.number != 0 {
            let message = format!("the port {} is there twice", value.number);
            report.error(&path.field("number"), "duplicate-port", message);
        }
        let bytes = protocol.is_some_and(|p| p == Protocol::Auto || (p.is_tcp() && !p.is_tls()));
        if anywhere && bytes {
            let message = format!(
                "without addresses every TCP connection to port {} of any address is meant",
                value.number
            );
            let help = "write addresses, or a protocol that names its host (HTTP, TLS)";
            report.warning_help(&path, "no-address", message, help);
        }
    }
}

/// A port with its protocol; the protocol where it is known.
pub(super) fn port(value: &Port, path: &Path<'_>, report: &mut Report<'_>) -> Option<Protocol> {
    if value.number == 0 {
        let message = "the port must be from 1 to 65535";
        report.error(&path.field("number"), "invalid-port", message);
    }
    if value.name.is_empty() {
        report.error(&path.field("name"), "missing-field", "the port's name is missing");
    }
    checks::port(value.target_port, &path.field("targetPort"), report);
    protocol(value, path, report)
}

pub(super) fn protocol(value: &Port, path: &Path<'_>, report: &mut Report<'_>) -> Option<Protocol> {
    let protocol = Protocol::of_entry(&value.protocol);
    if protocol.is_none() {
        let path = path.field("protocol");
        let text = excerpt(&value.protocol);
        let message = format!("\"{text}\" is not a protocol: {}", PROTOCOLS.join(", "));
        match nearest(&value.protocol, PROTOCOLS) {
            Some(near) => {
                let help = format!("did you mean \"{near}\"?");
                report.error_help(&path, "invalid-value", message, help);
            }
            None => report.error(&path, "invalid-value", message),
        }
    }
    protocol
}

fn resolution(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("endpoints");
    let field = path.field("resolution");
    let has_wildcard = entry.hosts.iter().any(|host| is_wildcard(host));
    match entry.resolution {
        Resolution::None => {
            if !entry.endpoints.is_empty() {
                let message = "endpoints have no place with resolution NONE: connections go where \
                               they were going";
                report.error_help(&list, "exclusive-fields", message, "write resolution: STATIC");
            }
        }
        Resolution::Static => {
            if entry.endpoints.is_empty() && entry.workload_selector.is_none() {
                let message = "resolution STATIC needs endpoints or a workloadSelector";
                report.error(&field, "missing-field", message);
            }
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            if has_wildcard && entry.endpoints.is_empty() && entry.workload_selector.is_none() {
                let message = "a wildcard host cannot be resolved: write endpoints, or resolution \
                               NONE";
                report.error(&field, "exclusive-fields", message);
            }
            if entry.resolution == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
                let message = "resolution DNS_ROUND_ROBIN takes at most one endpoint";
                report.error(&list, "too-many", message);
            }
        }
        Resolution::DynamicDns => dynamic_dns(entry, path, report),
    }
}

/// The proxy resolves what each request asks for: it must be said by name.
fn dynamic_dns(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let mut exclusive = |name: &str, given: bool| {
        if given {
            let message = format!("{name} has no place with resolution DYNAMIC_DNS");
            report.error(&path.field(name), "exclusive-fields", message);
        }
    };
    exclusive("endpoints", !entry.endpoints.is_empty());
    exclusive("addresses", !entry.addresses.is_empty());
    exclusive("workloadSelector", entry.workload_selector.is_some());
    exclusive("location", entry.location == Location::MeshInternal);
    if entry.hosts.iter().any(|host| !is_wildcard(host)) {
        let message = "resolution DYNAMIC_DNS is for wildcard hosts only";
        let help = "write resolution: DNS";
        report.error_help(&path.field("hosts"), "exclusive-fields", message, help);
    }
    let list = path.field("ports");
    for (index, value) in entry.ports.iter().enumerate() {
        let fits = Protocol::of_entry(&value.protocol).is_none_or(|p| p.is_http() || p.is_tls());
        if !fits {
            let message = "resolution DYNAMIC_DNS is for HTTP and TLS ports only";
            let path = list.index(index);
            report.error(&path.field("protocol"), "exclusive-fields", message);
        }
    }
}

fn endpoints(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("endpoints");
    let names: BTreeSet<&str> = entry.ports.iter().map(|port| port.name.as_str()).collect();
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        let path = list.index(index);
        workload_entry::check(endpoint, &path, report);
        let ports = path.field("ports");
        for name in endpoint.ports.keys().filter(|name| !names.contains(name.as_str())) {
            let message = format!("the ServiceEntry has no port named \"{}\"", excerpt(name));
            let path = ports.field(name);
            match nearest(name, names.iter().copied()) {
                Some(near) => {
                    let help = format!("did you mean \"{near}\"?");
                    report.error_help(&path, "port-not-found", message, help);
                }
                None => report.error(&path, "port-not-found", message),
            }
        }
        by_resolution(entry, endpoint, &path.field("address"), report);
    }
}

fn by_resolution(
    entry: &ServiceEntry,
    endpoint: &WorkloadEntry,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let text = endpoint.address.as_str();
    let socket = text.starts_with("unix://");
    let name = !socket && !text.is_empty() && text.parse::<IpAddr>().is_err();
    let dns = matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    if entry.resolution == Resolution::Static && name && names::is_fqdn(text) {
        let message = format!("\"{}\" is not an address, as STATIC needs", excerpt(text));
        report.error_help(path, "invalid-address", message, "write resolution: DNS");
    }
    if dns && socket {
        report.error(path, "invalid-address", "a Unix socket has no place with DNS resolution");
    }
    if socket && entry.ports.len() > 1 {
        let message = "a Unix socket can only be behind a ServiceEntry with one port";
        report.error(path, "exclusive-fields", message);
    }
}
