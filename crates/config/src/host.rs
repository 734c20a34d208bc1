//! Host names: short names, wildcards, and which of several patterns is the most specific.

use std::net::IpAddr;

/// The cluster's DNS domain.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// The full name of a Kubernetes Service: `<name>.<namespace>.svc.<domain>`.
#[must_use]
pub fn service_fqdn(name: &str, namespace: &str, domain: &str) -> String {
    format!("{name}.{namespace}.svc.{domain}")
}

/// Resolves a host as a rule in `namespace` means it: a name without dots is a Service of the
/// rule's namespace; wildcards, addresses and names with dots stand for themselves. In lower case.
#[must_use]
pub fn resolve_short_name(host: &str, namespace: &str, domain: &str) -> String {
    let host = host.to_ascii_lowercase();
    let short =
        !host.is_empty() && !host.contains('.') && host != "*" && host.parse::<IpAddr>().is_err();
    if short { service_fqdn(&host, namespace, domain) } else { host }
}

/// Splits `<name>.<namespace>.svc.<domain>` into name and namespace.
#[must_use]
pub fn split_service_fqdn<'a>(host: &'a str, domain: &str) -> Option<(&'a str, &'a str)> {
    let rest = host.strip_suffix(domain)?.strip_suffix(".svc.")?;
    let (name, namespace) = rest.split_once('.')?;
    (!name.is_empty() && !namespace.is_empty() && !namespace.contains('.'))
        .then_some((name, namespace))
}

/// Whether `host` is a pattern: `*` or `*.example.com`.
#[must_use]
pub fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// Whether every name that `inner` stands for is one that `outer` stands for. `*.foo.com` covers
/// `a.foo.com` and `*.b.foo.com`, not `foo.com`. Without case.
#[must_use]
pub fn covers(outer: &str, inner: &str) -> bool {
    match outer.strip_prefix('*') {
        None => outer.eq_ignore_ascii_case(inner),
        Some(suffix) => {
            let inner = inner.strip_prefix('*').unwrap_or(inner);
            let inner_is_longer = inner.len() > suffix.len()
                || (suffix.is_empty())
                || (inner.len() == suffix.len() && inner.starts_with('.'));
            inner_is_longer && ends_with_ignore_case(inner, suffix)
        }
    }
}

/// Whether some name is meant by both.
#[must_use]
pub fn overlaps(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

fn ends_with_ignore_case(text: &str, suffix: &str) -> bool {
    let (text, suffix) = (text.as_bytes(), suffix.as_bytes());
    text.len() >= suffix.len() && text[text.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

/// The pattern of `patterns` that is the most specific one covering `host`: the same name, else
/// the longest wildcard; of equal ones the first.
pub fn most_specific<'a>(
    host: &str,
    patterns: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let mut best: Option<&str> = None;
    for pattern in patterns {
        if !covers(pattern, host) {
            continue;
        }
        if best.is_none_or(|best| specificity(pattern) > specificity(best)) {
            best = Some(pattern);
        }
    }
    best
}

fn specificity(pattern: &str) -> (bool, usize) {
    (!is_wildcard(pattern), pattern.len())
}

#[cfg(test)]
mod tests;
