//! From the values of a policy to matchers. Identities and names are literals: whatever they
//! contain is escaped before it becomes part of a regular expression.

use config::host::CLUSTER_DOMAIN;
use xds::{HeaderMatchKind, HeaderMatcher, StringMatcher, StringPattern};

/// Any text but the empty one.
const PRESENT: &str = ".+";

/// A value as Istio reads it: `*`, `prefix*`, `*suffix` or exact; `scheme` goes before all of them.
fn text(value: &str, scheme: &str) -> StringMatcher {
    if value == "*" {
        return StringMatcher::regex(PRESENT);
    }
    if let Some(suffix) = value.strip_prefix('*') {
        return if scheme.is_empty() {
            StringMatcher::suffix(suffix)
        } else {
            StringMatcher::regex(format!("{scheme}.*{}", regex::escape(suffix)))
        };
    }
    match value.strip_suffix('*') {
        Some(prefix) => StringMatcher::prefix(format!("{scheme}{prefix}")),
        None => StringMatcher::exact(format!("{scheme}{value}")),
    }
}

/// A value without a scheme.
pub(super) fn plain(value: &str) -> StringMatcher {
    text(value, "")
}

/// Any identity.
pub(super) fn any_identity() -> StringMatcher {
    StringMatcher::regex(PRESENT)
}

/// A principal (`<trust domain>/ns/<ns>/sa/<sa>`), in every name of the mesh's trust domain.
pub(super) fn principals(value: &str, trust_domains: &[&str]) -> Vec<StringMatcher> {
    if let Some((domain, rest)) = value.split_once('/')
        && (trust_domains.contains(&domain) || domain == CLUSTER_DOMAIN)
    {
        let all = trust_domains.iter().map(|domain| text(&format!("{domain}/{rest}"), "spiffe://"));
        return all.collect();
    }
    vec![text(value, "spiffe://")]
}

/// A namespace, `*` being any text in it.
pub(super) fn namespace(value: &str) -> StringMatcher {
    StringMatcher::regex(format!(".*/ns/{}/.*", glob(value)))
}

/// A trust domain, `*` being any text in it.
pub(super) fn trust_domain(value: &str) -> StringMatcher {
    StringMatcher::regex(format!("spiffe://{}/.*", glob(value)))
}

/// `ns/sa`, or `sa` in the policy's own namespace.
pub(super) fn service_account(value: &str, own_namespace: &str) -> StringMatcher {
    let (namespace, name) = value.split_once('/').unwrap_or((own_namespace, value));
    let (namespace, name) = (regex::escape(namespace), regex::escape(name));
    StringMatcher::regex(format!("spiffe://[^/]+/ns/{namespace}/sa/{name}"))
}

/// The literal with every `*` standing for any text without a slash.
fn glob(value: &str) -> String {
    regex::escape(value).replace(r"\*", "[^/]*")
}

/// A path: a value, or a template with `{*}` (one segment) and `{**}` (the rest).
pub(super) fn path(value: &str) -> StringMatcher {
    if !value.contains("{*}") && !value.contains("{**}") {
        return plain(value);
    }
    let escaped = regex::escape(value);
    let pattern = escaped.replace(r"\{\*\*\}", ".*").replace(r"\{\*\}", "[^/]+");
    StringMatcher::regex(pattern)
}

/// A header.
pub(super) fn header(name: &str, value: &str) -> HeaderMatcher {
    let kind = match value {
        "*" => HeaderMatchKind::Present(true),
        value => HeaderMatchKind::String(plain(value)),
    };
    header_kind(name, kind)
}

/// The host: without case. A port in the request's host, and a final dot, do not count where the
/// policy names none.
// COMPAT: Istio compares with the port; routing does not, and so `Host: secret.com:80` would get
// past a DENY for secret.com there.
pub(super) fn host(value: &str) -> HeaderMatcher {
    const NAME: &str = ":authority";
    if value == "*" {
        return header(NAME, value);
    }
    let without_case = |pattern: StringPattern| {
        HeaderMatchKind::String(StringMatcher { pattern, ignore_case: true })
    };
    if let Some(prefix) = value.strip_suffix('*') {
        return header_kind(NAME, without_case(StringPattern::Prefix(prefix.to_owned())));
    }
    let (front, name) = match value.strip_prefix('*') {
        Some(suffix) => (".*", suffix),
        None => ("", value),
    };
    if has_port(name) {
        let pattern = match front {
            "" => StringPattern::Exact(name.to_owned()),
            _ => StringPattern::Suffix(name.to_owned()),
        };
        return header_kind(NAME, without_case(pattern));
    }
    let name = regex::escape(name.trim_end_matches('.'));
    let pattern = format!(r"(?i){front}{name}\.?(:[0-9]+)?");
    header_kind(NAME, HeaderMatchKind::String(StringMatcher::regex(pattern)))
}

/// Whether a host ends in `:<digits>` (and is no bare IPv6 address).
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, port)| {
        (!name.contains(':') || name.ends_with(']'))
            && !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn header_kind(name: &str, kind: HeaderMatchKind) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_ascii_lowercase(),
        kind,
        invert: false,
        treat_missing_as_empty: false,
    }
}
