//! Route configurations of a gateway: `http.<port>` for all plaintext servers of a port, and one
//! for each HTTPS server.

use std::collections::{BTreeMap, BTreeSet};

use xds::{Route, RouteConfiguration, VirtualHost};

use super::{RouteScope, configuration, matching::is_catch_all, translate};
use crate::{
    Proxy, PushContext,
    gateway::{PortClass, ServedServer, served_ports},
};

/// The route configuration `name`, or none when no server has it.
pub(super) fn route_configuration(
    push: &PushContext,
    proxy: &Proxy,
    name: &str,
) -> Option<RouteConfiguration> {
    let ports = served_ports(push, proxy);
    let servers: Vec<ServedServer<'_>> = ports
        .iter()
        .find_map(|(bind, served)| match served.class {
            PortClass::Http => (bind.http_routes() == name).then(|| served.servers.clone()),
            PortClass::Tls => {
                let mut servers = served.servers.iter();
                let server =
                    servers.find(|server| server.has_http() && server.https_routes(*bind) == name);
                server.map(|server| vec![*server])
            }
            PortClass::Tcp => None,
        })
        .unwrap_or_default();
    let number = servers.first()?.port.number;
    let mut hosts = virtual_hosts(push, proxy, &servers);
    if hosts.is_empty() {
        hosts.push(VirtualHost {
            name: format!("blackhole:{number}"),
            domains: vec!["*".to_owned()],
            ..VirtualHost::default()
        });
    }
    Some(configuration(name, hosts))
}

/// One virtual host for each host name, with the routes of all its VirtualServices, oldest first;
/// those that take everything come last.
fn virtual_hosts(
    push: &PushContext,
    proxy: &Proxy,
    servers: &[ServedServer<'_>],
) -> Vec<VirtualHost> {
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    for server in servers {
        let gateway = server.gateway.qualified_name();
        let redirects = server.server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
        let scope = RouteScope::gateway(push, proxy, gateway.clone(), server.port.number);
        for rule in push.virtual_services.for_gateway(&proxy.namespace, &gateway) {
            let routes = translate::routes(&scope, rule);
            let namespace = rule.item.meta.namespace.as_str();
            let names: BTreeSet<String> =
                rule.hosts.iter().flat_map(|host| server.common_hosts(namespace, host)).collect();
            for name in names.into_iter().filter(|_| !routes.is_empty()) {
                let host = hosts.entry(name).or_insert_with(|| Host::new(server.port.number));
                // Two servers of one port may both lead to the same rule.
                if host.rules.insert(rule.item.qualified_name()) {
                    host.routes.extend(routes.iter().cloned());
                }
            }
        }
        if redirects {
            for name in server.hosts() {
                let name = name.to_ascii_lowercase();
                hosts.entry(name).or_insert_with(|| Host::new(server.port.number)).redirects = true;
            }
        }
    }
    hosts.into_iter().map(|(name, host)| host.virtual_host(name)).collect()
}

/// What is collected for one host name.
struct Host {
    port: u16,
    rules: BTreeSet<String>,
    routes: Vec<Route>,
    redirects: bool,
}

impl Host {
    fn new(port: u16) -> Self {
        Self { port, rules: BTreeSet::new(), routes: Vec::new(), redirects: false }
    }

    fn virtual_host(mut self, name: String) -> VirtualHost {
        self.routes.sort_by_key(|route| is_catch_all(&route.route_match));
        VirtualHost {
            name: format!("{name}:{}", self.port),
            domains: vec![name],
            routes: self.routes,
            require_tls: self.redirects,
            include_request_attempt_count: true,
            typed_per_filter_config: BTreeMap::new(),
        }
    }
}
