//! Why something did not match: each condition is asked alone, of the engine itself, so that what
//! is said here is what the proxy goes by.

use engine::{
    ConnectionInfo, HeaderMatcher, Listener, MultiValue, QueryParameterMatcher, RouteTable,
};
use xds::{
    FilterChain, FilterChainMatch, HeaderMatchKind, NetworkFilterConfig, PathMatch, RouteMatch,
    StringMatcher, StringPattern,
};

use super::call::Request;

/// Names within this share of their length count as typing errors.
const TYPO: usize = 3;

/// The conditions of a route that a request does not meet.
pub(super) fn route(route: &RouteMatch, request: &Request) -> Vec<String> {
    let info = request.info();
    let mut misses = Vec::new();
    let path =
        RouteMatch { case_sensitive: route.case_sensitive, ..RouteMatch::path(route.path.clone()) };
    if !matches(path, request) {
        misses.push(format!("the path {} is not {}", info.path_only(), shown_path(&route.path)));
    }
    for header in &route.headers {
        let met = HeaderMatcher::new(header)
            .is_ok_and(|matcher| matcher.matches(&info, MultiValue::Joined));
        if !met {
            misses.push(self::header(header, request));
        }
    }
    for parameter in &route.query_parameters {
        let met = QueryParameterMatcher::new(parameter)
            .is_ok_and(|matcher| matcher.matches(info.query()));
        if !met {
            let wanted = parameter.value.as_ref().map_or("present".to_owned(), string);
            misses.push(format!("the query parameter {} is not {wanted}", parameter.name));
        }
    }
    misses
}

/// Whether a request meets a route's match and nothing more.
fn matches(route_match: RouteMatch, request: &Request) -> bool {
    let route = xds::Route {
        name: String::new(),
        route_match,
        action: xds::Action::NonForwarding,
        metadata: xds::Metadata::default(),
        operation: String::new(),
        headers: xds::HeaderMutations::default(),
        typed_per_filter_config: std::collections::BTreeMap::new(),
    };
    let host = xds::VirtualHost {
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..xds::VirtualHost::default()
    };
    let table = RouteTable::new(&xds::RouteConfiguration {
        name: String::new(),
        virtual_hosts: vec![host],
        validate_clusters: false,
        ignore_port_in_host_matching: false,
        max_direct_response_body_size_bytes: None,
    });
    let info = request.info();
    table.is_ok_and(|table| table.route(&info, 0).is_some_and(|found| found.route.is_some()))
}

/// What a header is and what it should be.
pub(super) fn header(header: &xds::HeaderMatcher, request: &Request) -> String {
    let name = &header.name;
    let value = match name.as_str() {
        ":method" => Some(request.method.clone()),
        ":authority" => Some(request.authority.clone()),
        ":path" => Some(request.path.clone()),
        ":scheme" => Some(request.scheme.to_owned()),
        name => {
            let values = request.headers.get_all(name).iter();
            values
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .reduce(|all, next| format!("{all},{next}"))
        }
    };
    let wanted = match &header.kind {
        HeaderMatchKind::Present(true) => "present".to_owned(),
        HeaderMatchKind::Present(false) => "absent".to_owned(),
        HeaderMatchKind::String(matcher) => string(matcher),
        HeaderMatchKind::Range { start, end } => format!("a number from {start} to before {end}"),
    };
    let not = if header.invert { "must not be" } else { "is not" };
    let what = name.strip_prefix(':').map_or_else(|| format!("header {name}"), str::to_owned);
    match value {
        Some(value) => format!("the {what} {value:?} {not} {wanted}"),
        None => format!("the {what} is missing and {not} {wanted}"),
    }
}

/// A path's condition in words.
pub(super) fn shown_path(path: &PathMatch) -> String {
    match path {
        PathMatch::Prefix(prefix) => format!("{prefix}*"),
        PathMatch::PathSeparatedPrefix(prefix) => format!("{prefix} or below it"),
        PathMatch::Path(path) => format!("exactly {path}"),
        PathMatch::Regex(regex) => format!("of the form {regex}"),
    }
}

/// A string's condition in words.
pub(super) fn string(matcher: &StringMatcher) -> String {
    let text = match &matcher.pattern {
        StringPattern::Exact(text) => format!("{text:?}"),
        StringPattern::Prefix(text) => format!("\"{text}*\""),
        StringPattern::Suffix(text) => format!("\"*{text}\""),
        StringPattern::Contains(text) => format!("with {text:?} in it"),
        StringPattern::Regex(text) => format!("of the form {text}"),
    };
    if matcher.ignore_case { format!("{text} (in any case)") } else { text }
}

/// A filter chain's conditions, one by one.
fn criteria(wanted: &FilterChainMatch) -> Vec<(FilterChainMatch, String)> {
    let none = FilterChainMatch::default;
    let list = |items: &[String]| items.join(", ");
    let mut parts = Vec::new();
    if let Some(port) = wanted.destination_port {
        let only = FilterChainMatch { destination_port: Some(port), ..none() };
        parts.push((only, format!("destination port {port}")));
    }
    if !wanted.prefix_ranges.is_empty() {
        let only = FilterChainMatch { prefix_ranges: wanted.prefix_ranges.clone(), ..none() };
        let ranges: Vec<String> = wanted.prefix_ranges.iter().map(ToString::to_string).collect();
        parts.push((only, format!("a destination in {}", ranges.join(", "))));
    }
    if !wanted.server_names.is_empty() {
        let only = FilterChainMatch { server_names: wanted.server_names.clone(), ..none() };
        parts.push((only, format!("the server name {}", list(&wanted.server_names))));
    }
    if let Some(transport) = wanted.transport_protocol.as_ref().filter(|text| !text.is_empty()) {
        let only = FilterChainMatch { transport_protocol: Some(transport.clone()), ..none() };
        let words = if transport == "tls" { "TLS" } else { "no TLS" };
        parts.push((only, words.to_owned()));
    }
    if !wanted.application_protocols.is_empty() {
        let names = wanted.application_protocols.clone();
        let words = format!("the protocol {}", list(&names));
        parts.push((FilterChainMatch { application_protocols: names, ..none() }, words));
    }
    parts
}

/// The conditions of a filter chain that a connection does not meet; none: it matches, but another
/// does so more specifically.
pub(super) fn filter_chain(chain: &FilterChain, connection: &ConnectionInfo<'_>) -> Vec<String> {
    criteria(&chain.filter_chain_match)
        .into_iter()
        .filter(|(only, _)| !takes(only.clone(), connection))
        .map(|(_, words)| format!("it wants {words}"))
        .collect()
}

/// A filter chain's conditions in words.
pub(super) fn shown_criteria(wanted: &FilterChainMatch) -> String {
    let words: Vec<String> = criteria(wanted).into_iter().map(|(_, words)| words).collect();
    if words.is_empty() { "any connection".to_owned() } else { words.join(", ") }
}

fn takes(filter_chain_match: FilterChainMatch, connection: &ConnectionInfo<'_>) -> bool {
    let proxy = xds::TcpProxy {
        stat_prefix: String::new(),
        clusters: vec![xds::TcpClusterWeight { name: "any".to_owned(), weight: 1 }],
        idle_timeout: None,
        max_downstream_connection_duration: None,
        access_log: Vec::new(),
    };
    let chain = FilterChain {
        name: String::new(),
        filter_chain_match,
        transport_socket: None,
        transport_socket_connect_timeout: None,
        filters: vec![xds::NetworkFilter {
            name: String::new(),
            config: NetworkFilterConfig::TcpProxy(proxy),
        }],
    };
    let listener = Listener::new(xds::Listener {
        name: String::new(),
        address: xds::Address::Socket { ip: std::net::Ipv4Addr::UNSPECIFIED.into(), port: 0 },
        bind_to_port: false,
        use_original_dst: false,
        traffic_direction: xds::TrafficDirection::Unspecified,
        listener_filters: Vec::new(),
        listener_filters_timeout: None,
        continue_on_listener_filters_timeout: false,
        filter_chains: vec![chain],
        default_filter_chain: None,
        access_log: Vec::new(),
    });
    listener.is_ok_and(|listener| listener.select_filter_chain(connection).is_some())
}

/// The names that a mistyped one is nearest to, nearest first, at most three.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_ascii_lowercase();
    let allowed = (word.len() / TYPO).clamp(1, TYPO);
    let mut found: Vec<(usize, &str)> = names
        .map(|name| (strsim::damerau_levenshtein(&word, &name.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(3).map(|(_, name)| name).collect()
}
