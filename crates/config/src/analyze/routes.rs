//! VirtualServices: destinations, subsets, ports, gateways and delegates that do not exist.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Findings, did_you_mean,
    world::{Callee, World},
};
use crate::{
    Object, Spec, VirtualService,
    host::{self, CLUSTER_DOMAIN},
    networking::Destination,
    yaml::{Path, excerpt},
};

pub(super) fn check(
    object: &Object,
    vs: &VirtualService,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let spec = Path::Root.field("spec");
    each_destination(vs, &spec, &mut |path, to| destination(object, to, path, world, findings));
    gateways(object, vs, &spec, world, findings);
    let list = spec.field("http");
    for (index, route) in vs.http.iter().enumerate() {
        let Some(delegate) = &route.delegate else { continue };
        let namespace = match delegate.namespace.as_str() {
            "" => object.meta.namespace.as_str(),
            given => given,
        };
        let route_path = list.index(index);
        let path = route_path.field("delegate");
        match world.virtual_services.get(&(namespace, delegate.name.as_str())) {
            None => {
                let message = format!("there is no VirtualService {namespace}/{}", delegate.name);
                findings.error((object, &path), "delegate-not-found", message, None);
            }
            Some(to) if !to.is_delegate() => {
                let message = format!("the VirtualService {namespace}/{} has hosts", delegate.name);
                let help = Some("a delegate has none".to_owned());
                findings.error((object, &path), "delegate-not-found", message, help);
            }
            Some(_) => {}
        }
    }
}

/// Calls `f` with every destination, mirrors included, and its path.
fn each_destination(
    vs: &VirtualService,
    spec: &Path<'_>,
    f: &mut dyn FnMut(&Path<'_>, &Destination),
) {
    let list = spec.field("http");
    for (index, rule) in vs.http.iter().enumerate() {
        let rule_path = list.index(index);
        let route = rule_path.field("route");
        for (index, to) in rule.route.iter().enumerate() {
            f(&route.index(index).field("destination"), &to.destination);
        }
        if let Some(to) = &rule.mirror {
            f(&rule_path.field("mirror"), to);
        }
        let mirrors = rule_path.field("mirrors");
        for (index, to) in rule.mirrors.iter().enumerate() {
            f(&mirrors.index(index).field("destination"), &to.destination);
        }
    }
    let tls = vs.tls.iter().map(|rule| &rule.route).enumerate().map(|rule| ("tls", rule));
    let tcp = vs.tcp.iter().map(|rule| &rule.route).enumerate().map(|rule| ("tcp", rule));
    for (name, (index, routes)) in tls.chain(tcp) {
        let list = spec.field(name);
        let rule_path = list.index(index);
        let route = rule_path.field("route");
        for (index, to) in routes.iter().enumerate() {
            f(&route.index(index).field("destination"), &to.destination);
        }
    }
}

fn destination(
    object: &Object,
    to: &Destination,
    path: &Path<'_>,
    world: &World<'_>,
    findings: &mut Findings,
) {
    if findings.is_full() {
        return;
    }
    let full = host::resolve_short_name(&to.host, &object.meta.namespace, CLUSTER_DOMAIN);
    let Some((_, service)) = world.services.get(&full) else {
        let message = format!("there is no service {full}: calls to it would be answered with 503");
        let help = like_service(&to.host, &object.meta.namespace, world);
        findings.error((object, &path.field("host")), "host-not-found", message, help);
        return;
    };
    subset(object, to, &full, (path, world), findings);
    port(object, to, service, path, findings);
}

/// A hint at the service that was meant: one of the same name elsewhere, or a similar one here.
fn like_service(name: &str, namespace: &str, world: &World<'_>) -> Option<String> {
    let elsewhere =
        world.services.iter().find(|(_, (meta, _))| meta.name == name).map(|(host, _)| host);
    if let Some(host) = elsewhere {
        return Some(format!("did you mean \"{host}\"?"));
    }
    if name.contains('.') {
        return did_you_mean(name, world.services.keys().map(String::as_str));
    }
    let here = world.services.values().filter(|(meta, _)| meta.namespace == namespace);
    did_you_mean(name, here.map(|(meta, _)| meta.name.as_str()))
}

fn subset(
    object: &Object,
    to: &Destination,
    full: &str,
    (path, world): (&Path<'_>, &World<'_>),
    findings: &mut Findings,
) {
    if to.subset.is_empty() {
        return;
    }
    let rules = || world.rules.iter().filter(|(host, _)| host::covers(host, full));
    let names = || rules().flat_map(|(_, rule)| &rule.subsets).map(|subset| subset.name.as_str());
    if names().any(|name| name == to.subset) {
        return;
    }
    let path = path.field("subset");
    let message = if rules().next().is_none() {
        format!("there is no DestinationRule for {full}, so no subset \"{}\"", excerpt(&to.subset))
    } else {
        format!("no DestinationRule for {full} has a subset \"{}\"", excerpt(&to.subset))
    };
    let help = did_you_mean(&to.subset, names());
    findings.error((object, &path), "subset-not-found", message, help);
}

fn port(
    object: &Object,
    to: &Destination,
    service: &Callee<'_>,
    path: &Path<'_>,
    findings: &mut Findings,
) {
    let numbers: Vec<String> = service.ports.iter().map(u16::to_string).collect();
    match to.port {
        Some(port) if service.port(port.number).is_none() && !numbers.is_empty() => {
            let message = format!("{} has no port {}", to.host, port.number);
            let help = Some(format!("it has {}", numbers.join(", ")));
            let path = path.field("port");
            findings.error((object, &path.field("number")), "port-not-found", message, help);
        }
        None if numbers.len() > 1 => {
            let message = format!(
                "{} has several ports ({}): without port.number a call keeps the port it came to",
                to.host,
                numbers.join(", ")
            );
            findings.warning((object, path), "port-not-chosen", message, None);
        }
        _ => {}
    }
}

fn gateways(
    object: &Object,
    vs: &VirtualService,
    spec: &Path<'_>,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let list = spec.field("gateways");
    for (index, reference) in vs.gateways.iter().enumerate() {
        if reference == "mesh" {
            continue;
        }
        let path = list.index(index);
        let (namespace, name) = split_gateway(reference, &object.meta.namespace);
        let Some(gateway) = world.gateways.get(&(namespace, name)) else {
            let message = format!("there is no Gateway {namespace}/{name}");
            let same = world.gateways.keys().find(|(_, other)| *other == name);
            let help = match same {
                Some((namespace, name)) => Some(format!("did you mean \"{namespace}/{name}\"?")),
                None => did_you_mean(name, world.gateways.keys().map(|(_, name)| *name)),
            };
            findings.error((object, &path), "gateway-not-found", message, help);
            continue;
        };
        let served = |host: &str| {
            gateway.servers.iter().flat_map(|server| &server.hosts).any(|served| {
                let (allowed, served) = served.split_once('/').unwrap_or(("*", served));
                let visible = match allowed {
                    "*" => true,
                    "." => namespace == object.meta.namespace,
                    other => other == object.meta.namespace,
                };
                visible && host::overlaps(served, host)
            })
        };
        let hosts = spec.field("hosts");
        for (index, host) in vs.hosts.iter().enumerate() {
            if !served(host) && !vs.applies_to_mesh() {
                let message = format!(
                    "the Gateway {namespace}/{name} serves no host like \"{}\"",
                    excerpt(host)
                );
                let code = "host-not-in-gateway";
                findings.warning((object, &hosts.index(index)), code, message, None);
            }
        }
    }
}

/// `ns/name`, `./name`, `name`, or the older `name.ns` with or without a domain.
fn split_gateway<'a>(reference: &'a str, own: &'a str) -> (&'a str, &'a str) {
    match reference.split_once('/') {
        Some((".", name)) => (own, name),
        Some((namespace, name)) => (namespace, name),
        None => match reference.split_once('.') {
            Some((name, rest)) => (rest.split('.').next().unwrap_or(rest), name),
            None => (own, reference),
        },
    }
}

/// Two VirtualServices for one host of the mesh are not merged: the oldest alone counts.
pub(super) fn shared_hosts(objects: &[&Arc<Object>], findings: &mut Findings) {
    let mut sorted: Vec<&Arc<Object>> = objects.to_vec();
    sorted.sort_by(|a, b| a.by_age(b));
    let mut owners: BTreeMap<String, &Object> = BTreeMap::new();
    for object in sorted {
        let Spec::VirtualService(vs) = &object.spec else { continue };
        // What is exported to few namespaces need not meet the other one.
        if !vs.applies_to_mesh() || !vs.export_to.is_empty() {
            continue;
        }
        let spec = Path::Root.field("spec");
        let list = spec.field("hosts");
        for (index, name) in vs.hosts.iter().enumerate() {
            let full = host::resolve_short_name(name, &object.meta.namespace, CLUSTER_DOMAIN);
            match owners.get(&full) {
                Some(owner) => {
                    let message = format!(
                        "{} has the host {full} too ({}): only its routes count in the mesh",
                        owner.key(),
                        owner.origin
                    );
                    let help = Some("put the routes into one VirtualService".to_owned());
                    findings.warning((object, &list.index(index)), "host-conflict", message, help);
                }
                None => {
                    owners.insert(full, object);
                }
            }
        }
    }
}
