//! Names: DNS labels and subdomains (RFC 1123), Service names (RFC 1035), labels' keys and values,
//! and Istio's host patterns.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{report::Report, yaml::Path, yaml::excerpt};

const CODE: &str = "invalid-name";

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// A namespace's name.
pub(crate) fn dns_label(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if !is_label(text) {
        let message = format!(
            "\"{}\" is not a DNS label: lower-case letters, digits and \"-\", at most 63",
            excerpt(text)
        );
        report.error(path, CODE, message);
    }
}

/// Most objects' names.
pub(crate) fn dns_subdomain(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if !is_subdomain(text) {
        let message = format!(
            "\"{}\" is not a DNS name: lower-case letters, digits, \"-\" and \".\", at most 253",
            excerpt(text)
        );
        report.error(path, CODE, message);
    }
}

/// A Service's name.
pub(crate) fn service_name(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        let message = format!(
            "\"{}\" is not a Service name: a letter, then lower-case letters, digits and \"-\", at \
             most 63",
            excerpt(text)
        );
        report.error(path, CODE, message);
    }
}

/// A port's name (IANA service name).
pub(crate) fn port_name(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let letter = text.bytes().any(|b| b.is_ascii_lowercase());
    if !is_label(text) || text.len() > 15 || !letter || text.contains("--") {
        let message = format!(
            "\"{}\" is not a port name: at most 15 lower-case letters, digits and single \"-\", \
             with a letter",
            excerpt(text)
        );
        report.error(path, CODE, message);
    }
}

fn is_qualified_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
}

/// The key of a label or annotation: `[prefix/]name`.
pub(crate) fn qualified_key(key: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix.to_ascii_lowercase()), name),
        None => (None, key),
    };
    if !is_qualified_name(name) || prefix.is_some_and(|prefix| !is_subdomain(&prefix)) {
        let message = format!(
            "\"{}\" is not a key: an optional DNS name and \"/\", then at most 63 letters, digits, \
             \"-\", \"_\" and \".\"",
            excerpt(key)
        );
        report.error(path, "invalid-label", message);
    }
}

/// Labels with their keys.
pub(crate) fn labels(labels: &BTreeMap<String, String>, path: &Path<'_>, report: &mut Report<'_>) {
    for (key, value) in labels {
        let path = path.field(key);
        qualified_key(key, &path, report);
        if !value.is_empty() && !is_qualified_name(value) {
            let message = format!(
                "\"{}\" is not a label's value: at most 63 letters, digits, \"-\", \"_\" and \
                 \".\", beginning and ending with a letter or digit",
                excerpt(value)
            );
            report.error(&path, "invalid-label", message);
        }
    }
}

/// A DNS name without wildcard, as a host is written (a final dot is allowed).
pub(crate) fn is_fqdn(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    !host.is_empty()
        && host.len() <= 255
        && host.split('.').all(|label| {
            let label = label.to_ascii_lowercase();
            // Istio takes `_` in hosts of services outside DNS's rules.
            is_label(&label.replace('_', "x"))
        })
}

/// `*`, `*.name` or a DNS name.
pub(crate) fn is_wildcard_host(host: &str) -> bool {
    host == "*" || is_fqdn(host.strip_prefix("*.").unwrap_or(host))
}

/// A host that may be a wildcard; an address too when `address`.
pub(crate) fn host(text: &str, address: bool, path: &Path<'_>, report: &mut Report<'_>) {
    if is_wildcard_host(text) && text.parse::<IpAddr>().is_err() {
        return;
    }
    if text.parse::<IpAddr>().is_ok() {
        if !address {
            let message = format!("{text} is an address: a DNS name is expected here");
            report.error(path, "invalid-host", message);
        }
        return;
    }
    let help = if text.contains('*') {
        "a wildcard is \"*\" alone or \"*.\" at the beginning"
    } else {
        "write a name such as reviews or reviews.shop.svc.cluster.local"
    };
    let message = if text.is_empty() {
        "the host is missing".to_owned()
    } else {
        format!("\"{}\" is not a host", excerpt(text))
    };
    report.error_help(path, "invalid-host", message, help);
}
