//! The route configurations of one proxy, in Istio's names and shapes.

mod action;
mod default;
mod gateway;
mod inbound;
mod matching;
mod outbound;
mod policy;
mod scope;
mod translate;

use xds::{RouteConfiguration, VirtualHost};

pub(crate) use inbound::inbound;
pub(crate) use matching::unsupported_headers;
pub(crate) use scope::{RouteScope, destination_cluster};

use crate::{Proxy, ProxyType, PushContext};

/// The longest direct response, 1 MiB.
const MAX_DIRECT_RESPONSE: u32 = 1 << 20;

/// The route configuration `name` of a proxy; none when none of its listeners can refer to it.
pub(crate) fn route_configuration(
    push: &PushContext,
    proxy: &Proxy,
    name: &str,
) -> Option<RouteConfiguration> {
    match proxy.proxy_type {
        ProxyType::Sidecar => outbound::route_configuration(push, proxy, name),
        ProxyType::Router => gateway::route_configuration(push, proxy, name),
    }
}

fn configuration(name: &str, virtual_hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        validate_clusters: false,
        ignore_port_in_host_matching: true,
        max_direct_response_body_size_bytes: Some(MAX_DIRECT_RESPONSE),
    }
}
