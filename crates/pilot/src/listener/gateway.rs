//! Listeners of a gateway: one for each port, bound, with chains by server name where there is TLS.

use std::time::Duration;

use xds::{FilterChain, FilterChainMatch, Listener, RouteSpecifier};

use super::{
    add_inspectors, empty,
    filter::{self, Place},
    http, tcp, wildcard,
};
use crate::{
    Proxy, PushContext,
    authorization::WorkloadAuthorization,
    gateway::{PortClass, ServedPort, ServedServer, served_ports},
    route::RouteScope,
};

/// How long a client's TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// The listeners of a gateway, by port.
pub(super) fn listeners(push: &PushContext, proxy: &Proxy) -> Vec<Listener> {
    let authorization = push.authorization_policies.for_proxy(&push.world, proxy);
    let chains = Chains { push, proxy, authorization };
    let ports = served_ports(push, proxy);
    ports.iter().filter_map(|(port, served)| chains.listener(*port, served)).collect()
}

struct Chains<'a> {
    push: &'a PushContext,
    proxy: &'a Proxy,
    authorization: WorkloadAuthorization,
}

impl Chains<'_> {
    fn listener(&self, port: u16, served: &ServedPort<'_>) -> Option<Listener> {
        let ip = wildcard(self.proxy);
        let mut listener = empty(self.push, format!("{ip}_{port}"), ip, port);
        listener.filter_chains = match served.class {
            PortClass::Http => {
                let routes = format!("http.{port}");
                vec![self.http(&listener.name, routes, FilterChainMatch::default())]
            }
            PortClass::Tls => {
                let servers = served.servers.iter();
                servers.flat_map(|server| self.tls(&listener.name, port, server)).collect()
            }
            PortClass::Tcp => {
                served.servers.iter().flat_map(|server| self.routed(server, false)).collect()
            }
        };
        unique_matches(&mut listener.filter_chains);
        // A listener without chains would be refused.
        if listener.filter_chains.is_empty() {
            return None;
        }
        add_inspectors(self.push, &mut listener);
        Some(listener)
    }

    fn tls(&self, listener: &str, port: u16, server: &ServedServer<'_>) -> Vec<FilterChain> {
        if !server.terminates() {
            return self.routed(server, true);
        }
        let Some(tls) = server.downstream_tls(&self.push.world) else { return Vec::new() };
        let matches = FilterChainMatch {
            server_names: tcp::server_names(server.hosts()),
            ..FilterChainMatch::default()
        };
        let mut chain = self.http(listener, server.https_routes(port), matches);
        chain.transport_socket = Some(tls);
        chain.transport_socket_connect_timeout = Some(HANDSHAKE);
        vec![chain]
    }

    fn http(&self, listener: &str, routes: String, matches: FilterChainMatch) -> FilterChain {
        let manager = http::connection_manager(
            &self.push.world.mesh,
            Place::Gateway,
            format!("outbound_{listener};"),
            RouteSpecifier::Rds(routes),
            filter::http_filters(self.proxy, Place::Gateway, Some(&self.authorization)),
        );
        tcp::plain_chain(listener.to_owned(), matches, vec![manager])
    }

    /// Chains as the TLS or TCP routes of the gateway's VirtualServices say.
    fn routed(&self, server: &ServedServer<'_>, tls: bool) -> Vec<FilterChain> {
        let name = server.gateway.qualified_name();
        let scope = RouteScope::gateway(self.push, self.proxy, name.clone(), server.port.number);
        let mut forwards = Vec::new();
        let rules = self.push.virtual_services.for_gateway(&self.proxy.namespace, &name);
        for rule in rules {
            let namespace = rule.item.meta.namespace.as_str();
            let in_common = |host: &String| server.common_hosts(namespace, host).next().is_some();
            if rule.hosts.iter().any(in_common) {
                tcp::add_routes(&mut forwards, &scope, rule, tls);
            }
        }
        let chain = |forward: tcp::Forward| {
            let mut filters =
                filter::network_filters(self.proxy, Place::Gateway, Some(&self.authorization));
            let name = forward.clusters.first().map(|c| c.name.clone()).unwrap_or_default();
            filters.push(tcp::proxy_filter(self.push, forward.clusters, None));
            tcp::plain_chain(name, forward.matches, filters)
        };
        forwards.into_iter().map(chain).collect()
    }
}

/// Of chains with the same match the first stays; of server names each stays where it is first.
fn unique_matches(chains: &mut Vec<FilterChain>) {
    let mut seen: Vec<FilterChainMatch> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    chains.retain_mut(|chain| {
        let had_names = !chain.filter_chain_match.server_names.is_empty();
        if had_names && chain.filter_chain_match.prefix_ranges.is_empty() {
            chain.filter_chain_match.server_names.retain(|name| !names.contains(name));
            names.extend(chain.filter_chain_match.server_names.iter().cloned());
        }
        let emptied = had_names && chain.filter_chain_match.server_names.is_empty();
        let known = seen.contains(&chain.filter_chain_match);
        seen.push(chain.filter_chain_match.clone());
        !emptied && !known
    });
}
