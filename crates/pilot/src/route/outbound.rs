//! Outbound route configurations of a sidecar: `<port>` for all HTTP services on a port, and
//! `<host>:<port>` for a port of a service whose protocol is detected.

use std::collections::{BTreeMap, BTreeSet};

use config::{
    Protocol,
    host::{self, CLUSTER_DOMAIN},
};
use xds::{Route, RouteConfiguration, VirtualHost};

use super::{RouteScope, configuration, default, translate};
use crate::{
    Proxy, PushContext,
    sidecar_scope::EgressScope,
    world::{Service, ServicePort},
};

/// The route configuration `name`, or none when no service is on its port.
pub(super) fn route_configuration(
    push: &PushContext,
    proxy: &Proxy,
    name: &str,
) -> Option<RouteConfiguration> {
    if name.starts_with('/') {
        return of_pipe(push, proxy, name);
    }
    let (only, port) = match name.rsplit_once(':') {
        Some((host, port)) => (Some(host), port),
        None => (None, name),
    };
    let port: u16 = port.parse().ok()?;
    let known = push.scope(proxy);
    let egress = known.listener_of_port(port)?;
    let spoken = egress.port.as_ref().map(|own| own.protocol);
    let speaks_http =
        |service: &&Service| service.port(port).is_some_and(|own| routes_http(own, spoken));
    let services: Vec<&Service> = match only {
        Some(host) => egress.service(host).into_iter().filter(speaks_http).collect(),
        None => egress.services().filter(speaks_http).collect(),
    };
    if services.is_empty() {
        return None;
    }
    let scope = RouteScope::mesh(push, proxy, port);
    let mut hosts = virtual_hosts(&scope, egress, &services, only.is_none());
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    match (only, hosts.as_mut_slice()) {
        // The connection's address has chosen the service: its name does not matter any more.
        (Some(_), [host]) => host.domains = vec!["*".to_owned()],
        _ => hosts.push(default::catch_all(known, &push.world, egress.is_bound())),
    }
    Some(configuration(name, hosts))
}

/// Whether HTTP is, or may be, spoken on a port; `spoken` is what its listener says.
fn routes_http(port: &ServicePort, spoken: Option<Protocol>) -> bool {
    let protocol = spoken.unwrap_or(port.protocol);
    port.protocol != Protocol::Udp && (protocol.is_http() || protocol == Protocol::Auto)
}

/// The routes of a listener at a Unix socket: of all ports of its services, told apart by the port
/// in the host; without one the service's first port is meant.
fn of_pipe(push: &PushContext, proxy: &Proxy, path: &str) -> Option<RouteConfiguration> {
    let known = push.scope(proxy);
    let egress = known.listener_of_pipe(path)?;
    let spoken = egress.port.as_ref().map(|own| own.protocol);
    let mut hosts: Vec<VirtualHost> = Vec::new();
    let mut domains: BTreeSet<String> = BTreeSet::from(["*".to_owned()]);
    for service in egress.services() {
        let ports = service.ports.iter().filter(|port| routes_http(port, spoken));
        for (index, port) in ports.enumerate() {
            let scope = RouteScope::mesh(push, proxy, port.port);
            for mut host in virtual_hosts(&scope, egress, &[service], false) {
                let with_port = host.domains.iter().map(|name| format!("{name}:{}", port.port));
                let mut names: Vec<String> = with_port.collect();
                if index == 0 {
                    names.append(&mut host.domains);
                }
                names.retain(|name| domains.insert(name.clone()));
                host.domains = names;
                hosts.extend(Some(host).filter(|host| !host.domains.is_empty()));
            }
        }
    }
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    hosts.push(default::catch_all(known, &push.world, true));
    let mut routes = configuration(path, hosts);
    routes.ignore_port_in_host_matching = false;
    Some(routes)
}

/// Virtual hosts in the order in which they claim domains: those of VirtualServices, then services
/// that none speaks of.
fn virtual_hosts(
    scope: &RouteScope<'_>,
    egress: &EgressScope,
    services: &[&Service],
    with_unknown_hosts: bool,
) -> Vec<VirtualHost> {
    let mut hosts = Hosts { domains: BTreeSet::from(["*".to_owned()]), hosts: Vec::new() };
    let rules = &egress.rules;
    let mut unruled = Vec::new();
    for service in services {
        // A rule that has nothing for this proxy leaves the host to the next one.
        let routes = rules
            .for_service(&service.hostname)
            .map(|rule| translate::routes(scope, rule))
            .find(|routes| !routes.is_empty());
        match routes {
            Some(routes) => {
                hosts.add(&service.hostname, scope.port, domains(scope, service), routes);
            }
            None => unruled.push(service),
        }
    }
    for service in unruled {
        let routes = vec![default::to_service(scope, service)];
        hosts.add(&service.hostname, scope.port, domains(scope, service), routes);
    }
    if with_unknown_hosts {
        add_unknown_hosts(scope, egress, services, &mut hosts);
    }
    hosts.hosts
}

/// Hosts of rules that no service is called: those that a service with a wildcard covers, on its
/// ports; all others on port 80 only, as in Istio.
fn add_unknown_hosts(
    scope: &RouteScope<'_>,
    egress: &EgressScope,
    services: &[&Service],
    hosts: &mut Hosts,
) {
    let is_known = |name: &String| {
        if host::is_wildcard(name) {
            egress.services().any(|service| host::covers(name, &service.hostname))
        } else {
            egress.service(name).is_some()
        }
    };
    let patterns: Vec<&str> = services
        .iter()
        .map(|service| service.hostname.as_str())
        .filter(|name| host::is_wildcard(name))
        .collect();
    let is_here =
        |name: &String| scope.port == 80 || patterns.iter().any(|p| host::covers(p, name));
    for rule in &egress.rules.rules {
        let mut names =
            rule.hosts.iter().filter(|name| is_here(name) && !is_known(name)).peekable();
        if names.peek().is_none() {
            continue;
        }
        let routes = translate::routes(scope, rule);
        for name in names.filter(|_| !routes.is_empty()) {
            hosts.add(name, scope.port, vec![name.clone()], routes.clone());
        }
    }
}

/// Virtual hosts, no two of which have a domain in common.
struct Hosts {
    domains: BTreeSet<String>,
    hosts: Vec<VirtualHost>,
}

impl Hosts {
    fn add(&mut self, name: &str, port: u16, domains: Vec<String>, routes: Vec<Route>) {
        let domains: Vec<String> = domains
            .into_iter()
            .map(|domain| domain.to_ascii_lowercase())
            .filter(|domain| self.domains.insert(domain.clone()))
            .collect();
        if domains.is_empty() {
            return;
        }
        self.hosts.push(VirtualHost {
            name: format!("{name}:{port}"),
            domains,
            routes,
            require_tls: false,
            include_request_attempt_count: true,
            typed_per_filter_config: BTreeMap::new(),
        });
    }
}

/// The names by which a client in the proxy's namespace may call a service.
fn domains(scope: &RouteScope<'_>, service: &Service) -> Vec<String> {
    let own = &scope.proxy.namespace;
    let mut domains = names(service, own);
    // Other names for the service are as good.
    let aliases = scope.push.world.aliases(&service.hostname).iter();
    for alias in aliases.filter(|alias| alias.visibility.includes(own)) {
        domains.extend(names(alias, own));
    }
    domains.extend(service.virtual_ips().iter().map(|ip| match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }));
    domains
}

fn names(service: &Service, client_namespace: &str) -> Vec<String> {
    let Service { hostname, .. } = service;
    let mut names = vec![hostname.clone()];
    if !host::is_wildcard(hostname) {
        names.push(format!("{hostname}."));
    }
    if let Some((name, namespace)) = host::split_service_fqdn(hostname, CLUSTER_DOMAIN) {
        if namespace == client_namespace {
            names.push(name.to_owned());
        }
        names.push(format!("{name}.{namespace}"));
        names.push(format!("{name}.{namespace}.svc"));
    }
    if service.is_headless() {
        let pods: Vec<String> = names.iter().map(|name| format!("*.{name}")).collect();
        names.extend(pods);
    }
    names
}
