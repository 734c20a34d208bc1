//! Checks that several kinds share: durations, regular expressions, addresses, ports, headers,
//! `exportTo`, selectors.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;

use super::names;
use crate::{
    report::Report,
    value::StringMatch,
    yaml::{Path, excerpt},
};

/// Longest regular expression, as in Istio.
const MAX_REGEX: usize = 1024;
/// Most memory of a compiled one, in bytes: a short text can ask for very much.
const MAX_COMPILED: usize = 2 << 20;

/// Which of `keys` were there before, in their order. Lists are as long as users write them.
pub(crate) fn repeated<K: Ord>(keys: impl IntoIterator<Item = K>) -> Vec<bool> {
    let mut seen = BTreeSet::new();
    keys.into_iter().map(|key| !seen.insert(key)).collect()
}

/// A duration of at least a millisecond, when given.
pub(crate) fn at_least_1ms(value: Option<Duration>, path: &Path<'_>, report: &mut Report<'_>) {
    if value.is_some_and(|value| value < Duration::from_millis(1)) {
        report.error(path, "invalid-duration", "must be at least 1ms");
    }
}

/// A duration of 0 or of at least a millisecond, when given.
pub(crate) fn zero_or_1ms(value: Option<Duration>, path: &Path<'_>, report: &mut Report<'_>) {
    if value.is_some_and(|value| !value.is_zero() && value < Duration::from_millis(1)) {
        report.error(path, "invalid-duration", "must be 0 or at least 1ms");
    }
}

/// A regular expression that compiles.
pub(crate) fn regex(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if text.len() > MAX_REGEX {
        let message = format!(
            "the regular expression has {} bytes: at most {MAX_REGEX} are allowed",
            text.len()
        );
        report.error(path, "invalid-regex", message);
    } else if let Err(error) = regex::RegexBuilder::new(text).size_limit(MAX_COMPILED).build() {
        // The crate draws the expression with a caret; its last line says what is wrong.
        let whole = error.to_string();
        let reason = whole.lines().last().unwrap_or_default().trim_start_matches("error: ");
        report.error(path, "invalid-regex", format!("not a regular expression: {reason}"));
    }
}

/// A string match; `{}` only where presence makes sense.
pub(crate) fn string_match(
    value: &StringMatch,
    presence: bool,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    match value {
        StringMatch::Regex(text) => regex(text, &path.field("regex"), report),
        StringMatch::Present if !presence => {
            report.error(path, "empty-match", "one of exact, prefix and regex is needed");
        }
        StringMatch::Prefix(text) if text.is_empty() => {
            report.error(&path.field("prefix"), "empty-match", "the prefix is empty");
        }
        _ => {}
    }
}

/// A port number that is not 0.
pub(crate) fn port(value: Option<u16>, path: &Path<'_>, report: &mut Report<'_>) {
    if value == Some(0) {
        report.error(path, "invalid-port", "0 is not a port: it must be from 1 to 65535");
    }
}

/// An address or a CIDR.
pub(crate) fn ip_or_cidr(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if text.parse::<IpAddr>().is_err() && text.parse::<IpNet>().is_err() {
        let message = format!("\"{}\" is neither an address nor a CIDR", excerpt(text));
        report.error(path, "invalid-address", message);
    }
}

/// A header's name.
pub(crate) fn header_name(name: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let bare = name.strip_prefix(':').unwrap_or(name);
    if bare.is_empty() || !bare.bytes().all(ok) {
        let message = format!("\"{}\" is not a header's name", excerpt(name));
        report.error(path, "invalid-header", message);
    }
}

/// A header's value: no control characters.
pub(crate) fn header_value(value: &str, path: &Path<'_>, report: &mut Report<'_>) {
    if value.chars().any(|c| c.is_control() && c != '\t') {
        report.error(path, "invalid-header", "the value has control characters");
    }
}

/// An HTTP status.
pub(crate) fn status(value: u32, path: &Path<'_>, report: &mut Report<'_>) {
    if !(200..=599).contains(&value) {
        let message = format!("{value} is not a status: it must be from 200 to 599");
        report.error(path, "invalid-status", message);
    }
}

/// `exportTo`: `*`, `.`, `~` or namespaces, none twice, `*` and `~` alone.
pub(crate) fn export_to(values: &[String], path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.field("exportTo");
    let repeated = repeated(values);
    for (index, value) in values.iter().enumerate() {
        let path = path.index(index);
        match value.as_str() {
            "." => {}
            "*" | "~" if values.len() > 1 => {
                let message = format!("\"{value}\" cannot be combined with others");
                report.error(&path, "invalid-export-to", message);
            }
            "*" | "~" => {}
            namespace => names::dns_label(namespace, &path, report),
        }
        if repeated[index] {
            let message = format!("\"{}\" is there twice", excerpt(value));
            report.error(&path, "duplicate-value", message);
        }
    }
}

/// A selector of Istio's: keys and values without wildcards.
pub(crate) fn selector(
    wanted: &BTreeMap<String, String>,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    for (key, value) in wanted {
        let path = path.field(key);
        if key.contains('*') || value.contains('*') {
            report.error(&path, "invalid-selector", "a selector has no wildcards");
        } else {
            names::qualified_key(key, &path, report);
        }
    }
}
