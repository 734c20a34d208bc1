//! Header mutations of routes: adding, setting and removing, with command operators in values.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::exchange::Exchange;
use crate::{
    facts::Kept,
    format::{Scope, Template},
};

/// Applies a route's mutations to a request. `Host` is not among what can be mutated: that is what
/// host rewrites are for.
pub(super) fn request(
    mutations: &xds::HeaderMutations,
    headers: &mut HeaderMap,
    exchange: &Exchange,
) {
    for name in &mutations.request_remove {
        remove(headers, name);
    }
    for option in &mutations.request_add {
        let scope = Scope {
            facts: &exchange.facts,
            request: headers,
            response: &Kept::default(),
            trailers: None,
        };
        let value = fill(&option.value, &scope);
        put(headers, option, value);
    }
}

/// Applies a route's mutations to a response.
pub(super) fn response(
    mutations: &xds::HeaderMutations,
    headers: &mut HeaderMap,
    request: &HeaderMap,
    exchange: &Exchange,
) {
    for name in &mutations.response_remove {
        remove(headers, name);
    }
    for option in &mutations.response_add {
        let scope = Scope { facts: &exchange.facts, request, response: headers, trailers: None };
        let value = fill(&option.value, &scope);
        put(headers, option, value);
    }
}

fn remove(headers: &mut HeaderMap, name: &str) {
    if !is_protected(name) {
        headers.remove(name.to_ascii_lowercase());
    }
}

fn put(headers: &mut HeaderMap, option: &xds::HeaderValueOption, value: Option<HeaderValue>) {
    let (Ok(name), Some(value)) = (HeaderName::try_from(option.name.as_str()), value) else {
        tracing::debug!(header = %option.name, "a header could not be set");
        return;
    };
    if is_protected(name.as_str()) {
        return;
    }
    if option.overwrite {
        headers.insert(name, value);
    } else {
        headers.append(name, value);
    }
}

fn is_protected(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case(header::HOST.as_str())
}

fn fill(text: &str, scope: &Scope<'_>) -> Option<HeaderValue> {
    if !text.contains('%') {
        return HeaderValue::from_str(text).ok();
    }
    // A value that is no template is sent as it stands.
    let Ok(template) = Template::parse(text) else { return HeaderValue::from_str(text).ok() };
    let mut out = String::new();
    template.write(scope, "", |text, out| out.push_str(text), &mut out);
    if out.is_empty() { None } else { HeaderValue::from_str(&out).ok() }
}
