//! Envoy's command operators, such as `%REQ(x-request-id)%`, in access logs and header values.
//!
//! A template is parsed when it arrives; an operator that is not known makes it unusable.

use std::{fmt::Write as _, time::SystemTime};

use http::{HeaderMap, HeaderName};

use crate::facts::{Facts, Headers};

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Operator(Operator, Option<usize>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    StartTime(Option<String>),
    Request(String, Option<String>),
    Response(String, Option<String>),
    Trailer(String),
    Plain(Plain),
}

macro_rules! plain {
    ($($variant:ident = $($name:literal)|+;)*) => {
        /// Operators without an argument.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Plain { $($variant,)* }

        impl Plain {
            fn from_name(name: &str) -> Option<Self> {
                match name { $($($name)|+ => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

plain! {
    Protocol = "PROTOCOL";
    ResponseCode = "RESPONSE_CODE";
    ResponseCodeDetails = "RESPONSE_CODE_DETAILS";
    ResponseFlags = "RESPONSE_FLAGS";
    ResponseFlagsLong = "RESPONSE_FLAGS_LONG";
    TerminationDetails = "CONNECTION_TERMINATION_DETAILS";
    TransportFailure = "UPSTREAM_TRANSPORT_FAILURE_REASON";
    BytesReceived = "BYTES_RECEIVED";
    BytesSent = "BYTES_SENT";
    Duration = "DURATION";
    UpstreamHost = "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS";
    UpstreamCluster = "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW";
    UpstreamLocal = "UPSTREAM_LOCAL_ADDRESS";
    Attempts = "UPSTREAM_REQUEST_ATTEMPT_COUNT";
    Local = "DOWNSTREAM_LOCAL_ADDRESS";
    LocalIp = "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT";
    LocalPort = "DOWNSTREAM_LOCAL_PORT";
    Remote = "DOWNSTREAM_REMOTE_ADDRESS";
    RemoteIp = "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT";
    RemotePort = "DOWNSTREAM_REMOTE_PORT";
    DirectRemote = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS";
    DirectRemoteIp = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT";
    ServerName = "REQUESTED_SERVER_NAME";
    RouteName = "ROUTE_NAME";
    Hostname = "HOSTNAME";
    ConnectionId = "CONNECTION_ID";
    FilterChain = "FILTER_CHAIN_NAME";
    PeerUri = "DOWNSTREAM_PEER_URI_SAN";
    PeerSubject = "DOWNSTREAM_PEER_SUBJECT";
    LocalUri = "DOWNSTREAM_LOCAL_URI_SAN";
    TlsVersion = "DOWNSTREAM_TLS_VERSION";
    TlsCipher = "DOWNSTREAM_TLS_CIPHER";
}

/// What a template is filled from.
pub(crate) struct Scope<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) request: &'a dyn Headers,
    pub(crate) response: &'a dyn Headers,
    pub(crate) trailers: Option<&'a HeaderMap>,
}

impl Template {
    /// Parses a template; `%%` is a percent sign.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let end = operator_end(after)
                .ok_or_else(|| format!("{text:?} has an operator without its closing %"))?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(parse_operator(&after[..end])?);
            rest = &after[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { pieces })
    }

    /// The text, if there is no operator in it.
    #[cfg(test)]
    fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Request headers that it names.
    pub(crate) fn request_headers(&self) -> Vec<HeaderName> {
        self.names(|operator| match operator {
            Operator::Request(main, other) => Some((main, other)),
            _ => None,
        })
    }

    /// Response headers that it names.
    pub(crate) fn response_headers(&self) -> Vec<HeaderName> {
        self.names(|operator| match operator {
            Operator::Response(main, other) => Some((main, other)),
            _ => None,
        })
    }

    fn names(
        &self,
        of: impl Fn(&Operator) -> Option<(&String, &Option<String>)>,
    ) -> Vec<HeaderName> {
        let operators = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Operator(operator, _) => of(operator),
            Piece::Text(_) => None,
        });
        operators
            .flat_map(|(main, other)| std::iter::once(main).chain(other))
            .filter(|name| !name.starts_with(':'))
            .filter_map(|name| HeaderName::try_from(name.as_str()).ok())
            .collect()
    }

    /// Appends the filled template. `escape` is applied to what comes from outside; what is
    /// missing becomes `missing`.
    pub(crate) fn write(
        &self,
        scope: &Scope<'_>,
        missing: &str,
        escape: fn(&str, &mut String),
        out: &mut String,
    ) {
        let mut value = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Operator(operator, limit) => {
                    value.clear();
                    if !operator.write(scope, &mut value) || value.is_empty() {
                        out.push_str(missing);
                        continue;
                    }
                    let text = limit.map_or(value.as_str(), |limit| truncate(&value, limit));
                    escape(text, out);
                }
            }
        }
    }
}

fn operator_end(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'%' if depth == 0 => return Some(index),
            _ => {}
        }
    }
    None
}

fn truncate(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn parse_operator(text: &str) -> Result<Piece, String> {
    let (head, argument, tail) = match (text.find('('), text.rfind(')')) {
        (Some(open), Some(close)) if open < close => {
            (&text[..open], Some(&text[open + 1..close]), &text[close + 1..])
        }
        _ => match text.split_once(':') {
            Some((head, _)) => (head, None, &text[head.len()..]),
            None => (text, None, ""),
        },
    };
    let limit = match tail.strip_prefix(':') {
        Some(digits) => {
            Some(digits.parse().map_err(|_| format!("%{text}% has no number after the colon"))?)
        }
        None => None,
    };
    let header = |argument: &str| {
        let (main, other) = match argument.split_once('?') {
            Some((main, other)) => (main, Some(other.to_ascii_lowercase())),
            None => (argument, None),
        };
        (main.to_ascii_lowercase(), other)
    };
    let operator = match (head, argument) {
        ("START_TIME", argument) => Operator::StartTime(argument.map(str::to_owned)),
        ("REQ", Some(argument)) => {
            let (main, other) = header(argument);
            Operator::Request(main, other)
        }
        ("RESP", Some(argument)) => {
            let (main, other) = header(argument);
            Operator::Response(main, other)
        }
        ("TRAILER", Some(argument)) => Operator::Trailer(argument.to_ascii_lowercase()),
        (name, _) => match Plain::from_name(name) {
            Some(plain) => Operator::Plain(plain),
            None => return Err(format!("%{text}% is not a known command operator")),
        },
    };
    Ok(Piece::Operator(operator, limit))
}

impl Operator {
    /// Writes the value; false when there is none.
    fn write(&self, scope: &Scope<'_>, out: &mut String) -> bool {
        match self {
            Self::StartTime(format) => write_time(scope.facts.start, format.as_deref(), out),
            Self::Request(main, other) => {
                request_value(scope, main, out)
                    || other.as_ref().is_some_and(|other| request_value(scope, other, out))
            }
            Self::Response(main, other) => {
                header(scope.response, main, out)
                    || other.as_ref().is_some_and(|other| header(scope.response, other, out))
            }
            Self::Trailer(name) => {
                scope.trailers.is_some_and(|trailers| header(trailers, name, out))
            }
            Self::Plain(plain) => plain.write(scope.facts, out),
        }
    }
}

fn request_value(scope: &Scope<'_>, name: &str, out: &mut String) -> bool {
    let Some(line) = &scope.facts.request else { return false };
    let text = match name {
        ":method" => line.method.as_str(),
        ":path" => &line.path,
        ":authority" | "host" => &line.authority,
        ":scheme" => line.scheme,
        other => return header(scope.request, other, out),
    };
    out.push_str(text);
    !text.is_empty()
}

fn header(headers: &dyn Headers, name: &str, out: &mut String) -> bool {
    match headers.value(name) {
        Some(value) => {
            out.push_str(&String::from_utf8_lossy(value.as_bytes()));
            true
        }
        None => false,
    }
}

/// `%START_TIME%` in RFC 3339 with milliseconds, or in a `strftime` format with Envoy's `%3f`.
fn write_time(time: SystemTime, format: Option<&str>, out: &mut String) -> bool {
    let Ok(time) = jiff::Timestamp::try_from(time) else { return false };
    let format = format.unwrap_or("%Y-%m-%dT%H:%M:%S.%3fZ");
    let format = format.replace("%E3S", "%S.%3f").replace("%E6S", "%S.%6f");
    write!(out, "{}", time.strftime(&format)).is_ok()
}

impl Plain {
    fn write(self, facts: &Facts, out: &mut String) -> bool {
        let connection = &facts.connection;
        let tls = connection.tls.as_ref();
        let text = |text: &str, out: &mut String| {
            out.push_str(text);
            !text.is_empty()
        };
        match self {
            Self::Protocol => text(facts.request.as_ref().map_or("", |line| line.protocol), out),
            Self::ResponseCode => write!(out, "{}", facts.code).is_ok(),
            Self::ResponseCodeDetails => text(&facts.details.replace(' ', "_"), out),
            Self::ResponseFlags => write!(out, "{}", facts.flags).is_ok(),
            Self::ResponseFlagsLong => text(&facts.flags.long(), out),
            Self::TerminationDetails => text(facts.termination.unwrap_or_default(), out),
            Self::TransportFailure => {
                text(facts.transport_failure.as_deref().unwrap_or_default(), out)
            }
            Self::BytesReceived => write!(out, "{}", facts.bytes_received).is_ok(),
            Self::BytesSent => write!(out, "{}", facts.bytes_sent).is_ok(),
            Self::Duration => write!(out, "{}", facts.duration.as_millis()).is_ok(),
            Self::UpstreamHost => optional(facts.upstream_host, out),
            Self::UpstreamCluster => text(facts.upstream_cluster.as_deref().unwrap_or(""), out),
            Self::UpstreamLocal => optional(facts.upstream_local, out),
            Self::Attempts => write!(out, "{}", facts.attempts).is_ok(),
            Self::Local => write!(out, "{}", connection.destination).is_ok(),
            Self::LocalIp => write!(out, "{}", connection.destination.ip()).is_ok(),
            Self::LocalPort => write!(out, "{}", connection.destination.port()).is_ok(),
            Self::Remote => write!(out, "{}", facts.remote).is_ok(),
            Self::RemoteIp => write!(out, "{}", facts.remote.ip()).is_ok(),
            Self::RemotePort => write!(out, "{}", facts.remote.port()).is_ok(),
            Self::DirectRemote => write!(out, "{}", connection.remote).is_ok(),
            Self::DirectRemoteIp => write!(out, "{}", connection.remote.ip()).is_ok(),
            Self::ServerName => text(connection.server_name.as_deref().unwrap_or_default(), out),
            Self::RouteName => text(&facts.route_name, out),
            Self::Hostname => text(&connection.worker.shared.node.id, out),
            Self::ConnectionId => write!(out, "{}", connection.id).is_ok(),
            Self::FilterChain => text(&connection.chain.engine.name, out),
            Self::PeerUri => match tls.and_then(|tls| tls.peer.as_deref()) {
                Some(peer) => text(&peer.uri_sans.join(","), out),
                None => false,
            },
            Self::PeerSubject => match tls.and_then(|tls| tls.peer.as_deref()) {
                Some(peer) => text(&peer.subject, out),
                None => false,
            },
            Self::LocalUri => {
                text(tls.and_then(|tls| tls.local_uri.as_deref()).unwrap_or_default(), out)
            }
            Self::TlsVersion => text(tls.map_or("", |tls| tls.version), out),
            Self::TlsCipher => text(tls.map_or("", |tls| tls.cipher.as_str()), out),
        }
    }
}

fn optional(value: Option<std::net::SocketAddr>, out: &mut String) -> bool {
    value.is_some_and(|value| write!(out, "{value}").is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_parsed_or_refused() {
        let parsed = Template::parse("a %REQ(X-A?:PATH):5% 100%% %DURATION%\n").unwrap();
        assert_eq!(parsed.pieces.len(), 5);
        assert_eq!(parsed.request_headers(), vec![HeaderName::from_static("x-a")]);
        assert!(Template::parse("%NO_SUCH%").unwrap_err().contains("NO_SUCH"));
        assert!(Template::parse("%REQ(a").is_err());
        assert!(Template::parse("%REQ(a):x%").is_err());
        assert_eq!(Template::parse("50%% off").unwrap().literal(), Some("50% off"));
        assert!(Template::parse("%START_TIME(%s.%3f)%").is_ok());
    }

    #[test]
    fn times_are_rfc_3339_by_default() {
        let mut out = String::new();
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500);
        assert!(write_time(time, None, &mut out));
        assert_eq!(out, "1970-01-01T00:00:01.500Z");
        out.clear();
        assert!(write_time(time, Some("%s"), &mut out));
        assert_eq!(out, "1");
    }

    #[test]
    fn values_are_cut_at_a_character() {
        assert_eq!(truncate("aé", 2), "a");
        assert_eq!(truncate("ab", 9), "ab");
    }
}
