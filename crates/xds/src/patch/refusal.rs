//! Why Mizzen's own proxy would refuse an encoded resource: what the codec does not take, and
//! filters that it carries along without knowing them.

use crate::{
    FilterChain, HttpFilterConfig, Listener, NetworkFilterConfig, Opaque, PerFilterConfig,
    Resource, RouteConfiguration, RouteSpecifier,
};

/// The reason; none when it would be taken.
pub(super) fn refusal(any: &pb::Any) -> Option<String> {
    let unknown = match crate::decode(any) {
        Err(error) => return Some(error.to_string()),
        Ok(decoded) => match decoded.resource {
            Resource::Listener(listener) => in_listener(&listener),
            Resource::RouteConfiguration(routes) => in_routes(&routes),
            _ => None,
        },
    };
    unknown.map(|(name, opaque)| format!("it has no filter {name:?} ({})", opaque.type_url))
}

type Unknown = (String, Opaque);

fn in_listener(listener: &Listener) -> Option<Unknown> {
    let chains = listener.filter_chains.iter().chain(listener.default_filter_chain.as_deref());
    chains.into_iter().find_map(in_chain)
}

fn in_chain(chain: &FilterChain) -> Option<Unknown> {
    chain.filters.iter().find_map(|filter| match &filter.config {
        NetworkFilterConfig::Opaque(opaque) => Some((filter.name.clone(), opaque.clone())),
        NetworkFilterConfig::HttpConnectionManager(manager) => {
            let mut filters = manager.http_filters.iter();
            let unknown = filters.find_map(|filter| match &filter.config {
                HttpFilterConfig::Opaque(opaque) => Some((filter.name.clone(), opaque.clone())),
                _ => None,
            });
            unknown.or_else(|| match &manager.route_specifier {
                RouteSpecifier::Inline(routes) => in_routes(routes),
                RouteSpecifier::Rds(_) => None,
            })
        }
        _ => None,
    })
}

fn in_routes(routes: &RouteConfiguration) -> Option<Unknown> {
    let configs = routes.virtual_hosts.iter().flat_map(|host| {
        let routes = host.routes.iter().flat_map(|route| &route.typed_per_filter_config);
        host.typed_per_filter_config.iter().chain(routes)
    });
    let mut unknown = configs.filter_map(|(name, config)| match config {
        PerFilterConfig::Opaque(opaque) => Some((name.clone(), opaque.clone())),
        _ => None,
    });
    unknown.next()
}
