//! Which resources, and which parts of them, a patch is about. What a match does not say matches.

use prost_reflect::{DynamicMessage, Value};

use super::{Patch, PatchContext, Patches, child, items, number, number_of, text};
use crate::ResourceType;

/// What is asked of a resource; at most one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// Of a listener.
    pub listener: Option<ListenerMatch>,
    /// Of a route configuration.
    pub route_configuration: Option<RouteConfigurationMatch>,
    /// Of a cluster.
    pub cluster: Option<ClusterMatch>,
}

/// What is asked of a listener. Empty text and port 0 ask for nothing, here and below.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerMatch {
    /// Its name.
    pub name: String,
    /// Its port; inside of the two virtual listeners, the chain's: the service's port.
    pub port: u16,
    /// A listener filter's name.
    pub listener_filter: String,
    /// A chain.
    pub filter_chain: Option<FilterChainSelector>,
}

/// What is asked of a filter chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FilterChainSelector {
    /// Its name.
    pub name: String,
    /// One of its server names.
    pub sni: String,
    /// Its transport protocol.
    pub transport_protocol: String,
    /// Any of these among its application protocols.
    pub application_protocols: Vec<String>,
    /// Its destination port.
    pub destination_port: u16,
    /// A network filter's name.
    pub filter: String,
    /// An HTTP filter's name.
    pub sub_filter: String,
}

/// What is asked of a route configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteConfigurationMatch {
    /// Its name.
    pub name: String,
    /// The port that it is for.
    pub port: u16,
    /// The name of that port in a Gateway.
    pub port_name: String,
    /// The Gateway, as `namespace/name`.
    pub gateway: String,
    /// A virtual host.
    pub virtual_host: Option<VirtualHostMatch>,
}

/// What is asked of a virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VirtualHostMatch {
    /// Its name.
    pub name: String,
    /// One of its domains.
    pub domain_name: String,
    /// A route.
    pub route: Option<RouteSelector>,
}

/// What is asked of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteSelector {
    /// Its name.
    pub name: String,
    /// The field of its action (`route`, `redirect`, `direct_response`); empty: any.
    pub action: &'static str,
}

/// What is asked of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClusterMatch {
    /// Its name; nothing else counts then.
    pub name: String,
    /// The port in its name: the service's, or the workload's for an inbound one.
    pub port: u16,
    /// The service's host name.
    pub service: String,
    /// The subset.
    pub subset: String,
}

impl Match {
    fn chain(&self) -> Option<&FilterChainSelector> {
        self.listener.as_ref()?.filter_chain.as_ref()
    }

    pub(super) fn network_filter(&self) -> &str {
        self.chain().map_or("", |chain| chain.filter.as_str())
    }

    pub(super) fn sub_filter(&self) -> &str {
        self.chain().map_or("", |chain| chain.sub_filter.as_str())
    }

    pub(super) fn listener_filter(&self) -> &str {
        self.listener.as_ref().map_or("", |listener| listener.listener_filter.as_str())
    }

    pub(super) fn virtual_host(&self) -> Option<&VirtualHostMatch> {
        self.route_configuration.as_ref()?.virtual_host.as_ref()
    }
}

/// Whether empty text, which asks for nothing, or the same.
fn is(wanted: &str, found: &str) -> bool {
    wanted.is_empty() || wanted == found
}

/// Whether a whole listener or cluster is meant.
pub(super) fn resource(
    kind: ResourceType,
    message: &DynamicMessage,
    patch: &Patch,
    patches: &Patches,
) -> bool {
    match kind {
        ResourceType::Cluster => cluster(message, patch, patches),
        ResourceType::Listener => listener(message, patch, patches),
        _ => false,
    }
}

fn cluster(message: &DynamicMessage, patch: &Patch, patches: &Patches) -> bool {
    let name = text(message, "name");
    let inbound = name.starts_with("inbound|") || name == "InboundPassthroughCluster";
    let context = match (patches.gateway, inbound) {
        (true, _) => PatchContext::Gateway,
        (false, true) => PatchContext::SidecarInbound,
        (false, false) => PatchContext::SidecarOutbound,
    };
    if !patch.context.includes(context) {
        return false;
    }
    let Some(wanted) = &patch.matches.cluster else { return true };
    if !wanted.name.is_empty() {
        return wanted.name == name;
    }
    let parts: Vec<&str> = if name.contains('|') {
        name.splitn(4, '|').collect()
    } else {
        name.splitn(4, "_.").collect()
    };
    let [_, port, subset, host] = parts[..] else {
        return wanted.port == 0 && wanted.subset.is_empty() && wanted.service.is_empty();
    };
    let port = port.trim_matches('_').parse::<u16>().unwrap_or_default();
    let behind = patches.inbound.get(&port).filter(|_| inbound);
    let is_host = wanted.service.is_empty()
        || wanted.service == host
        || behind.is_some_and(|hosts| hosts.iter().any(|(host, _)| *host == wanted.service));
    is_host && is(&wanted.subset, subset) && (wanted.port == 0 || wanted.port == port)
}

const INBOUND: &str = "virtualInbound";
const OUTBOUND: &str = "virtualOutbound";

/// Whether it is one of the two listeners that take captured connections.
pub(super) fn is_virtual(listener: &DynamicMessage) -> bool {
    [INBOUND, OUTBOUND].contains(&text(listener, "name"))
}

/// Which side a listener is.
pub(super) fn listener_context(listener: &DynamicMessage, patches: &Patches) -> PatchContext {
    const INBOUND_DIRECTION: i32 = 1;
    let direction = listener.get_field_by_name("traffic_direction");
    let inbound = direction.and_then(|d| d.as_enum_number()) == Some(INBOUND_DIRECTION);
    match (patches.gateway, inbound) {
        (true, _) => PatchContext::Gateway,
        (false, true) => PatchContext::SidecarInbound,
        (false, false) => PatchContext::SidecarOutbound,
    }
}

/// Whether a listener is meant, or something in it may be.
pub(super) fn listener(message: &DynamicMessage, patch: &Patch, patches: &Patches) -> bool {
    if !patch.context.includes(listener_context(message, patches)) {
        return false;
    }
    let Some(wanted) = &patch.matches.listener else { return true };
    if !is(&wanted.name, text(message, "name")) {
        return false;
    }
    let chains_decide = is_virtual(message) && patch.apply_to != super::ApplyTo::Listener;
    wanted.port == 0 || chains_decide || {
        let address = child(message, "address").and_then(|a| child(a, "socket_address"));
        address.is_some_and(|address| number(address, "port_value") == u32::from(wanted.port))
    }
}

/// Whether a chain is meant, or something in it may be.
pub(super) fn filter_chain(
    chain: &DynamicMessage,
    patch: &Patch,
    is_virtual: bool,
    patches: &Patches,
) -> bool {
    let Some(listener) = &patch.matches.listener else { return true };
    let matches = child(chain, "filter_chain_match");
    let port = matches
        .and_then(|matches| child(matches, "destination_port"))
        .map(number_of)
        .and_then(|port| u16::try_from(port).ok());
    if is_virtual && listener.port != 0 {
        let services = port.and_then(|port| patches.inbound.get(&port));
        let by_service =
            services.is_some_and(|services| services.iter().any(|(_, p)| *p == listener.port));
        let direct = services.is_none() && port == Some(listener.port);
        if !by_service && !direct {
            return false;
        }
    }
    let Some(wanted) = &listener.filter_chain else { return true };
    let has = |field: &str, wanted: &str| {
        let found = matches.map_or(&[][..], |matches| items(matches, field));
        found.iter().any(|value| value.as_str() == Some(wanted))
    };
    let transport = matches.map_or("", |matches| text(matches, "transport_protocol"));
    let protocols = &wanted.application_protocols;
    is(&wanted.name, text(chain, "name"))
        && (wanted.sni.is_empty() || has("server_names", &wanted.sni))
        && is(&wanted.transport_protocol, transport)
        && (protocols.is_empty() || protocols.iter().any(|name| has("application_protocols", name)))
        && (wanted.destination_port == 0 || port == Some(wanted.destination_port))
}

/// Whether a filter has this name, in Envoy's present or old form.
pub(super) fn filter_name(filter: &DynamicMessage, wanted: &str) -> bool {
    let found = text(filter, "name");
    found == wanted || short(found) == short(wanted)
}

/// `envoy.filters.http.router` and `envoy.router` as `router`; other names as they are.
fn short(name: &str) -> &str {
    let Some(rest) = name.strip_prefix("envoy.").or_else(|| name.strip_prefix("istio.")) else {
        return name;
    };
    let kinds = ["filters.http.", "filters.network.", "filters.listener.", "listener."];
    kinds.iter().find_map(|kind| rest.strip_prefix(kind)).unwrap_or(rest)
}

/// Whether a route configuration is meant, or something in it may be.
pub(super) fn route_configuration(
    message: &DynamicMessage,
    patch: &Patch,
    context: PatchContext,
    patches: &Patches,
) -> bool {
    if !patch.context.includes(context) {
        return false;
    }
    let Some(wanted) = &patch.matches.route_configuration else { return true };
    let name = text(message, "name");
    let place = Place::of(name, context);
    let inbound =
        patches.inbound.get(&place.port).filter(|_| context == PatchContext::SidecarInbound);
    let by_service =
        inbound.is_some_and(|services| services.iter().any(|(_, port)| *port == wanted.port));
    is(&wanted.name, name)
        && (wanted.port == 0 || wanted.port == place.port || by_service)
        && is(&wanted.port_name, place.port_name)
        && (wanted.gateway.is_empty() || wanted.gateway == place.gateway)
}

/// What the name of a route configuration says.
#[derive(Default)]
struct Place<'a> {
    port: u16,
    port_name: &'a str,
    gateway: String,
}

impl<'a> Place<'a> {
    /// `80`, `host:80`, `inbound|80||`; `http.80`, `https.443.<port name>.<gateway>.<namespace>`.
    fn of(name: &'a str, context: PatchContext) -> Self {
        if context == PatchContext::Gateway {
            let parts: Vec<&str> = name.split('.').collect();
            let port = parts.get(1).and_then(|port| port.parse().ok()).unwrap_or_default();
            return match parts[..] {
                ["https", _, port_name, gateway, namespace] => {
                    Self { port, port_name, gateway: format!("{namespace}/{gateway}") }
                }
                _ => Self { port, ..Self::default() },
            };
        }
        let port = match name.split_once('|') {
            Some((_, rest)) => rest.split('|').next(),
            None => name.rsplit(':').next(),
        };
        Self {
            port: port.and_then(|port| port.parse().ok()).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Whether a virtual host is meant, or something in it may be.
pub(super) fn virtual_host(host: &DynamicMessage, wanted: Option<&VirtualHostMatch>) -> bool {
    let Some(wanted) = wanted else { return true };
    let has = |domain: &Value| domain.as_str() == Some(wanted.domain_name.as_str());
    is(&wanted.name, text(host, "name"))
        && (wanted.domain_name.is_empty() || items(host, "domains").iter().any(has))
}

/// Whether a route is meant.
pub(super) fn route(route: &DynamicMessage, wanted: Option<&RouteSelector>) -> bool {
    let Some(wanted) = wanted else { return true };
    is(&wanted.name, text(route, "name"))
        && (wanted.action.is_empty() || route.has_field_by_name(wanted.action))
}
