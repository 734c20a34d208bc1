//! From an HTTP match of a VirtualService to a route's.

use config::{networking::HttpMatchRequest, value::StringMatch};
use xds::{
    HeaderMatchKind, HeaderMatcher, PathMatch, QueryParameterMatcher, RouteMatch, StringMatcher,
};

/// The route's match, or none when a condition is not supported: the route is left out, since
/// without the condition it would take more than it should.
pub(super) fn route_match(request: &HttpMatchRequest) -> Option<RouteMatch> {
    if unsupported_headers(request).next().is_some() {
        return None;
    }
    let mut route_match = RouteMatch::path(path(request.uri.as_ref()));
    route_match.case_sensitive = !request.ignore_uri_case;
    let pseudo = [
        (":scheme", &request.scheme),
        (":method", &request.method),
        (":authority", &request.authority),
    ];
    for (name, value) in pseudo {
        route_match.headers.extend(value.as_ref().map(|value| header(name, value)));
    }
    for (name, value) in request.headers.iter().filter(|(name, _)| is_real(name)) {
        route_match.headers.push(header(name, value));
    }
    for (name, value) in request.without_headers.iter().filter(|(name, _)| is_real(name)) {
        let matcher = header(name, value);
        route_match.headers.push(HeaderMatcher {
            invert: true,
            treat_missing_as_empty: *value != StringMatch::Present,
            ..matcher
        });
    }
    let parameters = request.query_params.iter();
    route_match.query_parameters = parameters
        .map(|(name, value)| QueryParameterMatcher { name: name.clone(), value: string(value) })
        .collect();
    Some(route_match)
}

/// Conditions on claims of tokens, which nobody verifies yet.
pub(crate) fn unsupported_headers(request: &HttpMatchRequest) -> impl Iterator<Item = &str> {
    let names = request.headers.keys().chain(request.without_headers.keys());
    names.map(String::as_str).filter(|name| name.starts_with('@'))
}

/// These have fields of their own; as names of headers Istio ignores them.
fn is_real(name: &str) -> bool {
    !["uri", "scheme", "method", "authority"].contains(&name)
}

fn path(uri: Option<&StringMatch>) -> PathMatch {
    match uri {
        None | Some(StringMatch::Present) => PathMatch::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathMatch::Path(path.clone()),
        Some(StringMatch::Prefix(path)) => PathMatch::Prefix(path.clone()),
        Some(StringMatch::Regex(path)) => PathMatch::Regex(path.clone()),
    }
}

fn header(name: &str, value: &StringMatch) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_ascii_lowercase(),
        kind: string(value).map_or(HeaderMatchKind::Present(true), HeaderMatchKind::String),
        invert: false,
        treat_missing_as_empty: false,
    }
}

/// The matcher, or none when it is enough that something is there.
pub(super) fn string(value: &StringMatch) -> Option<StringMatcher> {
    match value {
        StringMatch::Present => None,
        StringMatch::Exact(text) => Some(StringMatcher::exact(text)),
        StringMatch::Prefix(text) => Some(StringMatcher::prefix(text)),
        StringMatch::Regex(text) => Some(StringMatcher::regex(text)),
    }
}

/// Whether a match takes every request.
pub(super) fn is_catch_all(route_match: &RouteMatch) -> bool {
    let any_path = match &route_match.path {
        PathMatch::Prefix(prefix) => prefix == "/",
        PathMatch::Regex(regex) => regex == ".*",
        PathMatch::Path(_) | PathMatch::PathSeparatedPrefix(_) => false,
    };
    any_path && route_match.headers.is_empty() && route_match.query_parameters.is_empty()
}
