//! Outbound route configurations of a sidecar: `<port>` for all HTTP services on a port, and
//! `<host>:<port>` for a port of a service whose protocol is detected.

use std::collections::{BTreeMap, BTreeSet};

use config::{Protocol, host};
use xds::{Route, RouteConfiguration, VirtualHost};

use super::{RouteScope, configuration, default, translate};
use crate::{Proxy, PushContext, virtual_service::SidecarRules, world::Service};

/// The route configuration `name`, or none when no service is on its port.
pub(super) fn route_configuration(
    push: &PushContext,
    proxy: &Proxy,
    name: &str,
) -> Option<RouteConfiguration> {
    let (only, port) = match name.rsplit_once(':') {
        Some((host, port)) => (Some(host), port),
        None => (None, name),
    };
    let port: u16 = port.parse().ok()?;
    let speaks_http = |service: &&Service| {
        let port = service.port(port);
        port.is_some_and(|port| port.protocol.is_http() || port.protocol == Protocol::Auto)
    };
    let services: Vec<&Service> = match only {
        Some(host) => push.service(proxy, host).into_iter().filter(speaks_http).collect(),
        None => push.services(proxy).filter(speaks_http).collect(),
    };
    if services.is_empty() {
        return None;
    }
    let scope = RouteScope::mesh(push, proxy, port);
    let mut hosts = virtual_hosts(&scope, &services, only.is_none());
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    match (only, hosts.as_mut_slice()) {
        // The connection's address has chosen the service: its name does not matter any more.
        (Some(_), [host]) => host.domains = vec!["*".to_owned()],
        _ => hosts.push(default::catch_all(push)),
    }
    Some(configuration(name, hosts))
}

/// Virtual hosts in the order in which they claim domains: those of VirtualServices, then services
/// that none speaks of.
fn virtual_hosts(
    scope: &RouteScope<'_>,
    services: &[&Service],
    with_unknown_hosts: bool,
) -> Vec<VirtualHost> {
    let mut hosts = Hosts { domains: BTreeSet::from(["*".to_owned()]), hosts: Vec::new() };
    let rules = scope.push.virtual_services.for_sidecars(&scope.proxy.namespace);
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
    // Hosts that no service has: Istio serves them on port 80 only.
    if with_unknown_hosts && scope.port == 80 {
        add_unknown_hosts(scope, &rules, &mut hosts);
    }
    hosts.hosts
}

/// The hosts of rules that no service has.
fn add_unknown_hosts(scope: &RouteScope<'_>, rules: &SidecarRules, hosts: &mut Hosts) {
    let is_known = |name: &String| {
        if host::is_wildcard(name) {
            scope.push.services(scope.proxy).any(|service| host::covers(name, &service.hostname))
        } else {
            scope.push.service(scope.proxy, name).is_some()
        }
    };
    for rule in &rules.rules {
        let mut names = rule.hosts.iter().filter(|name| !is_known(name)).peekable();
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
    let Service { name, namespace, hostname, .. } = service;
    let mut names = vec![hostname.clone(), format!("{hostname}.")];
    if namespace == client_namespace {
        names.push(name.clone());
    }
    names.push(format!("{name}.{namespace}"));
    names.push(format!("{name}.{namespace}.svc"));
    if service.is_headless() {
        let pods: Vec<String> = names.iter().map(|name| format!("*.{name}")).collect();
        names.extend(pods);
    }
    names
}
