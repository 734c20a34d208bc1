//! What is known of a request or connection when it is logged.

use std::{
    borrow::Cow,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{connection::Connection, flags::Flags};

/// Headers that can be asked for by name.
pub(crate) trait Headers {
    /// The (first) value of a header in lower case.
    fn value(&self, name: &str) -> Option<&HeaderValue>;
}

impl Headers for HeaderMap {
    fn value(&self, name: &str) -> Option<&HeaderValue> {
        self.get(name)
    }
}

/// A few headers that were kept for the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept(Vec<(HeaderName, HeaderValue)>);

impl Kept {
    /// Keeps the headers that logs name; header values are shared, not copied.
    pub(crate) fn keep(&mut self, names: &[HeaderName], headers: &HeaderMap) {
        self.0.clear();
        for name in names {
            if let Some(value) = headers.get(name) {
                self.0.push((name.clone(), value.clone()));
            }
        }
    }
}

impl Headers for Kept {
    fn value(&self, name: &str) -> Option<&HeaderValue> {
        self.0.iter().find(|(kept, _)| kept == name).map(|(_, value)| value)
    }
}

/// The request line.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestLine {
    pub(crate) method: http::Method,
    /// Path and query, as they are sent on.
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) scheme: &'static str,
    /// `HTTP/1.1`; empty for TCP.
    pub(crate) protocol: &'static str,
}

/// What is known of a request or connection.
pub(crate) struct Facts {
    pub(crate) connection: Rc<Connection>,
    pub(crate) start: SystemTime,
    pub(crate) duration: Duration,
    /// None for TCP.
    pub(crate) request: Option<RequestLine>,
    /// 0: none was sent.
    pub(crate) code: u16,
    pub(crate) details: Cow<'static, str>,
    pub(crate) termination: Option<&'static str>,
    pub(crate) flags: Flags,
    pub(crate) transport_failure: Option<String>,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) upstream_host: Option<SocketAddr>,
    pub(crate) upstream_local: Option<SocketAddr>,
    pub(crate) upstream_cluster: Option<Arc<str>>,
    pub(crate) route_name: String,
    pub(crate) attempts: u32,
    /// The client, as trusted headers tell.
    pub(crate) remote: SocketAddr,
}

impl Facts {
    /// Nothing is known but the connection.
    pub(crate) fn new(connection: Rc<Connection>) -> Self {
        let remote = connection.remote;
        Self {
            connection,
            start: SystemTime::now(),
            duration: Duration::ZERO,
            request: None,
            code: 0,
            details: Cow::Borrowed(""),
            termination: None,
            flags: Flags::default(),
            transport_failure: None,
            bytes_received: 0,
            bytes_sent: 0,
            upstream_host: None,
            upstream_local: None,
            upstream_cluster: None,
            route_name: String::new(),
            attempts: 0,
            remote,
        }
    }
}
