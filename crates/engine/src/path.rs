//! Normalisation of request paths, before anything looks at them.
//!
//! Follows `normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action` of Envoy's HTTP
//! connection manager: dot segments and backslashes as browsers treat them, escapes of unreserved
//! characters decoded (RFC 3986, section 6.2.2), all other escapes left alone. The query is kept.

use std::borrow::Cow;

use thiserror::Error;

/// Which normalisations are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Normalization {
    /// Dot segments, backslashes, unreserved escapes.
    pub normalize: bool,
    /// Repeated slashes.
    pub merge_slashes: bool,
    /// `%2F` and `%5C`.
    pub escaped_slashes: xds::EscapedSlashes,
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Normalized<'a> {
    /// The request goes on with this path.
    Path(Cow<'a, str>),
    /// The client is redirected (307) to this path.
    Redirect(String),
}

/// The path is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the path cannot be normalised")]
pub struct BadPath;

/// Normalises a path with query. A fragment is cut off, always.
///
/// # Errors
/// When the path holds an escaped NUL, does not start with a slash, or holds escaped slashes that
/// are to be rejected.
pub fn normalize(path: &str, options: Normalization) -> Result<Normalized<'_>, BadPath> {
    let without_fragment = path.split('#').next().unwrap_or_default();
    let (raw, query) = match without_fragment.split_once('?') {
        Some((raw, query)) => (raw, Some(query)),
        None => (without_fragment, None),
    };
    if raw == "*" || options == Normalization::default() {
        return Ok(Normalized::Path(Cow::Borrowed(without_fragment)));
    }
    let mut current = Cow::Borrowed(raw);
    let redirect = unescape_slashes(&mut current, options.escaped_slashes)?;
    if options.normalize {
        canonicalize(&mut current)?;
    }
    if options.merge_slashes && current.contains("//") {
        current = Cow::Owned(merge(&current));
    }
    let whole = match (current, query) {
        (Cow::Borrowed(_), _) => Cow::Borrowed(without_fragment),
        (Cow::Owned(path), None) => Cow::Owned(path),
        (Cow::Owned(path), Some(query)) => Cow::Owned(format!("{path}?{query}")),
    };
    Ok(if redirect { Normalized::Redirect(whole.into_owned()) } else { Normalized::Path(whole) })
}

/// Treats `%2F` and `%5C`; tells whether the client is to be redirected.
fn unescape_slashes(path: &mut Cow<'_, str>, action: xds::EscapedSlashes) -> Result<bool, BadPath> {
    if action == xds::EscapedSlashes::Keep {
        return Ok(false);
    }
    let escapes = ["%2F", "%2f", "%5C", "%5c"];
    if !escapes.iter().any(|escape| path.contains(escape)) {
        return Ok(false);
    }
    if action == xds::EscapedSlashes::Reject {
        return Err(BadPath);
    }
    let plain =
        path.replace("%2F", "/").replace("%2f", "/").replace("%5C", "\\").replace("%5c", "\\");
    *path = Cow::Owned(plain);
    Ok(action == xds::EscapedSlashes::UnescapeAndRedirect)
}

fn canonicalize(path: &mut Cow<'_, str>) -> Result<(), BadPath> {
    if !path.starts_with(['/', '\\']) {
        return Err(BadPath);
    }
    if is_canonical(path.as_bytes()) {
        return Ok(());
    }
    let unescaped = decode_unreserved(path.as_bytes())?;
    // COMPAT: an escape that only appears by decoding another (`%%32e`) is refused; Envoy lets it
    // through, and the next proxy in a row would read it as another path.
    if unescaped.contains('%') && decode_unreserved(unescaped.as_bytes())? != unescaped {
        return Err(BadPath);
    }
    *path = Cow::Owned(remove_dot_segments(&unescaped));
    Ok(())
}

/// Quick look: nothing in it that canonicalisation would change.
fn is_canonical(path: &[u8]) -> bool {
    !path.iter().any(|byte| matches!(byte, b'%' | b'\\') || !byte.is_ascii_graphic())
        && !path.windows(2).any(|pair| pair == b"/.")
}

/// Decodes escapes of unreserved characters and turns backslashes into slashes.
fn decode_unreserved(path: &[u8]) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let decoded = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                match decoded {
                    0 => return Err(BadPath),
                    byte if is_unreserved(byte) => out.push(char::from(byte)),
                    _ => out.extend(['%', char::from(*high), char::from(*low)]),
                }
                rest = after;
                continue;
            }
            (b'\\', _) => out.push('/'),
            (byte, _) if byte.is_ascii_graphic() => out.push(char::from(byte)),
            (byte, _) => {
                use std::fmt::Write as _;
                // Writing to a String cannot fail.
                let _written = write!(out, "%{byte:02X}");
            }
        }
        rest = tail;
    }
    Ok(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn remove_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path[1..].split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        // `..;a=b` is `..` to servers that cut parameters off; Envoy 1.40 sees it so too.
        match part.split(';').next().filter(|name| matches!(*name, "." | "..")).unwrap_or(part) {
            "." if last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop();
                if last {
                    segments.push("");
                }
            }
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}

fn merge(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests;
