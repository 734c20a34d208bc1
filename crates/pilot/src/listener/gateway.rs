//! Listeners of a gateway: one for each port, bound, with chains by server name where there is TLS.

use std::time::Duration;

use config::networking::ServerTlsMode;
use xds::{FilterChain, FilterChainMatch, Listener, ListenerFilterKind, RouteSpecifier};

use super::{
    empty,
    filter::{self, Place},
    http, tcp, wildcard,
};
use crate::{
    Proxy, PushContext,
    authorization::WorkloadAuthorization,
    cluster,
    gateway::{Bind, PortClass, ServedPort, ServedServer, served_ports},
    route::RouteScope,
    tls,
};

/// How long a client's TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// The listeners of a gateway, by port.
pub(super) fn listeners(push: &PushContext, proxy: &Proxy) -> Vec<Listener> {
    let authorization = push.authorization_policies.for_proxy(&push.world, proxy);
    let chains = Chains { push, proxy, authorization };
    let ports = served_ports(push, proxy);
    ports.iter().filter_map(|(bind, served)| chains.listener(*bind, served)).collect()
}

/// Which routes of VirtualServices a server's bytes take.
#[derive(Clone, Copy, Debug)]
enum Layer {
    /// TLS that is passed through: by server name.
    Tls,
    /// What is inside of TLS that is ended, or bytes.
    Tcp,
}

struct Chains<'a> {
    push: &'a PushContext,
    proxy: &'a Proxy,
    authorization: WorkloadAuthorization,
}

impl Chains<'_> {
    fn listener(&self, bind: Bind, served: &ServedPort<'_>) -> Option<Listener> {
        let ip = bind.ip.unwrap_or_else(|| wildcard(self.proxy));
        let port = bind.port;
        let mut listener = empty(self.push, format!("{ip}_{port}"), ip, port);
        listener.filter_chains = match served.class {
            PortClass::Http => {
                let routes = bind.http_routes();
                vec![self.http(&listener.name, routes, FilterChainMatch::default())]
            }
            PortClass::Tls => {
                let servers = served.servers.iter();
                servers.flat_map(|server| self.tls(&listener.name, bind, server)).collect()
            }
            PortClass::Tcp => {
                served.servers.iter().flat_map(|server| self.routed(server, Layer::Tcp)).collect()
            }
        };
        unique_matches(&mut listener.filter_chains);
        // A listener without chains would be refused.
        if listener.filter_chains.is_empty() {
            return None;
        }
        // A client that says nothing is let go after Envoy's 15 s: those outside are not trusted
        // to be servers that speak first.
        let chains = &listener.filter_chains;
        if chains.iter().any(|chain| {
            chain.transport_socket.is_some() || !chain.filter_chain_match.server_names.is_empty()
        }) {
            listener.listener_filters.push(ListenerFilterKind::TlsInspector.into());
        }
        Some(listener)
    }

    fn tls(&self, listener: &str, bind: Bind, server: &ServedServer<'_>) -> Vec<FilterChain> {
        match server.mode() {
            ServerTlsMode::Passthrough => return self.routed(server, Layer::Tls),
            ServerTlsMode::AutoPassthrough => return self.auto_passthrough(server),
            _ => {}
        }
        let Some(tls) = server.downstream_tls(&self.push.world) else { return Vec::new() };
        let names = tcp::server_names(server.hosts());
        let mut chains = if server.has_http() {
            let matches = FilterChainMatch { server_names: names, ..FilterChainMatch::default() };
            vec![self.http(listener, server.https_routes(bind), matches)]
        } else {
            let mut chains = self.routed(server, Layer::Tcp);
            for chain in &mut chains {
                chain.filter_chain_match.server_names.clone_from(&names);
            }
            chains
        };
        for chain in &mut chains {
            chain.transport_socket = Some(tls.clone());
            chain.transport_socket_connect_timeout = Some(HANDSHAKE);
        }
        chains
    }

    /// A chain for each cluster of the mesh whose host the server has: mesh TLS by the server name
    /// that spells the cluster, and nothing else.
    fn auto_passthrough(&self, server: &ServedServer<'_>) -> Vec<FilterChain> {
        let mut chains = Vec::new();
        for service in self.push.services(self.proxy) {
            let mut hosts = server.common_hosts(&service.namespace, &service.hostname);
            if hosts.next().is_none() {
                continue;
            }
            for name in cluster::sni_names(self.push, self.proxy, service) {
                let matches = FilterChainMatch {
                    server_names: vec![name.clone()],
                    application_protocols: tls::mesh_alpn(),
                    ..FilterChainMatch::default()
                };
                let mut filters =
                    filter::network_filters(self.proxy, Place::Gateway, Some(&self.authorization));
                filters.push(tcp::proxy_filter(self.push, tcp::only(name.clone()), None));
                chains.push(tcp::plain_chain(name, matches, filters));
            }
        }
        chains
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
    fn routed(&self, server: &ServedServer<'_>, layer: Layer) -> Vec<FilterChain> {
        let name = server.gateway.qualified_name();
        let scope = RouteScope::gateway(self.push, self.proxy, name.clone(), server.port.number);
        let mut forwards = Vec::new();
        let rules = self.push.virtual_services.for_gateway(&self.proxy.namespace, &name);
        for rule in rules {
            let namespace = rule.item.meta.namespace.as_str();
            let in_common = |host: &String| server.common_hosts(namespace, host).next().is_some();
            if rule.hosts.iter().any(in_common) {
                match layer {
                    Layer::Tls => tcp::add_tls_routes(&mut forwards, &scope, rule),
                    Layer::Tcp => tcp::add_tcp_routes(&mut forwards, &scope, rule),
                }
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
