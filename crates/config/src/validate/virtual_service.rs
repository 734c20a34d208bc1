//! VirtualService as a whole: hosts, gateways, TLS and TCP routes.

use std::net::IpAddr;

use super::{checks, http_route, names};
use crate::{
    host,
    networking::{Destination, L4MatchAttributes, RouteDestination, TlsRoute, VirtualService},
    report::Report,
    yaml::{Path, excerpt},
};

pub(crate) fn check(vs: &VirtualService, path: &Path<'_>, report: &mut Report<'_>) {
    if vs.http.is_empty() && vs.tls.is_empty() && vs.tcp.is_empty() {
        report.error(path, "missing-field", "one of http, tls and tcp is needed");
    }
    if vs.is_delegate() {
        delegate(vs, path, report);
    }
    hosts(vs, path, report);
    gateways(&vs.gateways, path, report);
    checks::export_to(&vs.export_to, path, report);
    let list = path.field("http");
    for (index, route) in vs.http.iter().enumerate() {
        http_route::check(route, vs.is_delegate(), &list.index(index), report);
    }
    unreachable(vs, &list, report);
    let list = path.field("tls");
    for (index, route) in vs.tls.iter().enumerate() {
        tls_route(route, &vs.hosts, &list.index(index), report);
    }
    let list = path.field("tcp");
    for (index, route) in vs.tcp.iter().enumerate() {
        let path = list.index(index);
        let matches = path.field("match");
        for (index, conditions) in route.matches.iter().enumerate() {
            l4_match(conditions, &matches.index(index), report);
        }
        destinations(&route.route, &path, report);
    }
}

/// A delegate has neither hosts nor gateways, and only HTTP routes.
fn delegate(vs: &VirtualService, path: &Path<'_>, report: &mut Report<'_>) {
    if !vs.gateways.is_empty() {
        let message = "a VirtualService without hosts is a delegate, which has no gateways";
        report.error_help(&path.field("gateways"), "invalid-delegate", message, "name its hosts");
    }
    for (field, present) in [("tls", !vs.tls.is_empty()), ("tcp", !vs.tcp.is_empty())] {
        if present {
            let message = "a VirtualService without hosts is a delegate, which has only http";
            report.error_help(&path.field(field), "invalid-delegate", message, "name its hosts");
        }
    }
}

fn hosts(vs: &VirtualService, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("hosts");
    let only_gateways = !vs.applies_to_mesh();
    let repeated = checks::repeated(vs.hosts.iter().map(|host| host.to_ascii_lowercase()));
    for (index, name) in vs.hosts.iter().enumerate() {
        let path = list.index(index);
        names::host(name, true, &path, report);
        if name.parse::<IpAddr>().is_ok() && !only_gateways {
            let message = "an address can be a host only behind gateways (other than mesh)";
            report.error(&path, "invalid-host", message);
        }
        if name == "*" && !only_gateways {
            let message = "the wildcard * is not allowed for the gateway mesh";
            report.error_help(&path, "invalid-host", message, "name the hosts or a gateway");
        }
        if repeated[index] {
            let message = format!("the host \"{}\" is there twice", excerpt(name));
            report.error(&path, "duplicate-host", message);
        }
    }
}

/// Names of gateways: `mesh`, `name`, `namespace/name` (or the older `name.namespace...`).
pub(crate) fn gateways(gateways: &[String], path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("gateways");
    for (index, gateway) in gateways.iter().enumerate() {
        let path = list.index(index);
        let (namespace, name) = match gateway.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, gateway.as_str()),
        };
        if gateway == "mesh" {
            continue;
        }
        match namespace {
            None | Some(".") => {}
            Some(namespace) => names::dns_label(namespace, &path, report),
        }
        names::dns_subdomain(name, &path, report);
    }
}

/// Rules after one that takes everything are never reached (a warning, as in Istio).
fn unreachable(vs: &VirtualService, list: &Path<'_>, report: &mut Report<'_>) {
    let Some(all) = vs.http.iter().position(http_route::takes_everything) else { return };
    if all + 1 < vs.http.len() {
        let message = format!("never reached: {} takes every request", list.index(all));
        report.warning_help(
            &list.index(all + 1),
            "unreachable-route",
            message,
            "put the rule without match last",
        );
    }
}

fn tls_route(route: &TlsRoute, hosts: &[String], path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("match");
    if route.matches.is_empty() {
        report.error(&list, "missing-field", "a TLS rule needs a match with sniHosts");
    }
    for (index, conditions) in route.matches.iter().enumerate() {
        let path = list.index(index);
        let names_path = path.field("sniHosts");
        if conditions.sni_hosts.is_empty() {
            report.error(&names_path, "missing-field", "at least one server name is needed");
        }
        for (index, name) in conditions.sni_hosts.iter().enumerate() {
            let path = names_path.index(index);
            names::host(name, false, &path, report);
            if !hosts.iter().any(|host| host::covers(host, name)) {
                let message = format!("\"{}\" is not covered by the hosts", excerpt(name));
                report.error_help(&path, "sni-not-in-hosts", message, "add it to spec.hosts");
            }
        }
        subnets(&conditions.destination_subnets, &path, report);
        checks::port(conditions.port, &path.field("port"), report);
        source(&conditions.source_labels, &conditions.source_namespace, &path, report);
        gateways(&conditions.gateways, &path, report);
    }
    destinations(&route.route, path, report);
}

fn l4_match(conditions: &L4MatchAttributes, path: &Path<'_>, report: &mut Report<'_>) {
    subnets(&conditions.destination_subnets, path, report);
    checks::port(conditions.port, &path.field("port"), report);
    source(&conditions.source_labels, &conditions.source_namespace, path, report);
    gateways(&conditions.gateways, path, report);
    if !conditions.source_subnet.is_empty() {
        let message = "the field has no effect (in Istio neither)";
        report.warning(&path.field("sourceSubnet"), "unsupported-field", message);
    }
}

fn subnets(subnets: &[String], path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("destinationSubnets");
    for (index, subnet) in subnets.iter().enumerate() {
        checks::ip_or_cidr(subnet, &list.index(index), report);
    }
}

/// The client's labels and namespace in a match.
pub(crate) fn source(
    labels: &std::collections::BTreeMap<String, String>,
    namespace: &str,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    names::labels(labels, &path.field("sourceLabels"), report);
    if !namespace.is_empty() {
        names::dns_label(namespace, &path.field("sourceNamespace"), report);
    }
}

fn destinations(routes: &[RouteDestination], path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("route");
    if routes.is_empty() {
        report.error(&list, "missing-field", "a destination is needed");
    }
    for (index, route) in routes.iter().enumerate() {
        destination(&route.destination, &list.index(index).field("destination"), report);
    }
    weights(routes.iter().map(|route| route.weight), &list, report);
}

/// Weights of several destinations: not all zero, and within what the data plane can add up.
pub(crate) fn weights(
    weights: impl ExactSizeIterator<Item = u32>,
    list: &Path<'_>,
    report: &mut Report<'_>,
) {
    let several = weights.len() > 1;
    let sum: u64 = weights.map(u64::from).sum();
    if several && sum == 0 {
        let message = "the weights of several destinations add up to 0: no call could go anywhere";
        report.error_help(list, "invalid-weight", message, "give at least one a positive weight");
    }
    if sum > u64::from(u32::MAX) {
        let message = format!("the weights add up to {sum}: at most {} is allowed", u32::MAX);
        report.error(list, "invalid-weight", message);
    }
}

/// A destination's host, subset and port.
pub(crate) fn destination(value: &Destination, path: &Path<'_>, report: &mut Report<'_>) {
    let host_path = path.field("host");
    if value.host.is_empty() {
        report.error(&host_path, "missing-field", "the destination's host is missing");
    } else if host::is_wildcard(&value.host) {
        let message = format!("the wildcard \"{}\" is not a destination", excerpt(&value.host));
        report.error(&host_path, "invalid-host", message);
    } else {
        names::host(&value.host, false, &host_path, report);
    }
    if !value.subset.is_empty() {
        names::dns_subdomain(&value.subset, &path.field("subset"), report);
    }
    if let Some(port) = value.port {
        checks::port(Some(port.number), &path.field("port").field("number"), report);
    }
}
