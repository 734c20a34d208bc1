//! Tells HTTP/1.x and HTTP/2 with prior knowledge from other plaintext protocols by the first line.

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest first line that is waited for, in bytes.
const MAX_LINE: usize = 64 * 1024;
/// The longest method, in bytes; the longest registered one has 17.
const MAX_METHOD: usize = 24;

/// An HTTP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2 in plaintext
    H2c,
}

impl HttpVersion {
    /// The name under which filter chains match it.
    pub(crate) fn alpn(self) -> &'static str {
        match self {
            Self::Http10 => "http/1.0",
            Self::Http11 => "http/1.1",
            Self::H2c => "h2c",
        }
    }
}

/// What some first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpParse {
    /// Not HTTP, whatever follows.
    NotHttp,
    /// More bytes are needed.
    Incomplete,
    /// HTTP of this version.
    Http(HttpVersion),
}

/// Looks at the first bytes of a connection.
pub(crate) fn parse_http(bytes: &[u8]) -> HttpParse {
    let common = bytes.len().min(PREFACE.len());
    if bytes[..common] == PREFACE[..common] {
        return if common == PREFACE.len() {
            HttpParse::Http(HttpVersion::H2c)
        } else {
            HttpParse::Incomplete
        };
    }
    // A client may send an empty line first (RFC 9112, section 2.2).
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let line = &bytes[start.unwrap_or(bytes.len()).min(2)..];
    let Some(method) = method_length(line) else { return HttpParse::NotHttp };
    if method == line.len() {
        return HttpParse::Incomplete;
    }
    first_line(line, method)
}

/// The length of what can be a method at the beginning; none if it can not.
fn method_length(line: &[u8]) -> Option<usize> {
    let length = line
        .iter()
        .position(|byte| !(byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_')))
        .unwrap_or(line.len());
    if length > MAX_METHOD || (length == 0 && !line.is_empty()) {
        return None;
    }
    Some(length)
}

fn first_line(line: &[u8], method: usize) -> HttpParse {
    if line[method] != b' ' {
        return HttpParse::NotHttp;
    }
    let rest = &line[method + 1..];
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        let binary = rest.iter().any(|byte| *byte < b' ' && *byte != b'\r');
        return if binary || rest.len() > MAX_LINE {
            HttpParse::NotHttp
        } else {
            HttpParse::Incomplete
        };
    };
    let text = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
    if text.ends_with(b" HTTP/1.1") {
        HttpParse::Http(HttpVersion::Http11)
    } else if text.ends_with(b" HTTP/1.0") {
        HttpParse::Http(HttpVersion::Http10)
    } else {
        HttpParse::NotHttp
    }
}
