//! The call to explain: what a client would send, and how.

use anyhow::{Context as _, bail};
use engine::RequestInfo;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// How the bytes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// HTTP in plain text.
    Http,
    /// HTTP over TLS that the client itself speaks.
    Https,
    /// Bytes of another kind.
    Tcp,
    /// TLS with other bytes inside.
    Tls,
}

/// How the call arrives at its destination, whatever the client's proxy would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Over the mesh's mutual TLS.
    Mtls,
    /// In plain text.
    Plaintext,
}

/// A call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) url: String,
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) request: Request,
    /// The server name of the client's own TLS.
    pub(crate) sni: Option<String>,
    /// The ALPN names of the client's own TLS.
    pub(crate) alpn: Vec<String>,
    pub(crate) transport: Option<Transport>,
}

/// A request, as it stands at some point of its way.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) scheme: &'static str,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Request {
    /// As matchers see it.
    pub(crate) fn info(&self) -> RequestInfo<'_> {
        RequestInfo {
            authority: &self.authority,
            path: &self.path,
            method: &self.method,
            scheme: self.scheme,
            headers: &self.headers,
        }
    }
}

/// What a command line says of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) words: &'a [String],
    pub(crate) headers: &'a [String],
    pub(crate) sni: Option<&'a str>,
    pub(crate) alpn: &'a [String],
    pub(crate) transport: Option<Transport>,
}

impl Call {
    /// Reads `[METHOD] URL` and what goes with it.
    ///
    /// # Errors
    /// When a part is not valid.
    pub(crate) fn new(parts: Parts<'_>) -> anyhow::Result<Self> {
        let (method, url) = match parts.words {
            [url] => ("GET", url),
            [method, url] => (method.as_str(), url),
            _ => bail!("a call is METHOD URL, such as GET http://reviews:9080/reviews/0"),
        };
        method
            .parse::<http::Method>()
            .with_context(|| format!("{method:?} is not an HTTP method"))?;
        let full = if url.contains("://") { url.clone() } else { format!("http://{url}") };
        let uri: Uri = full.parse().with_context(|| format!("{url:?} is not a URL"))?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http" | "ws" | "grpc") => (Scheme::Http, 80),
            Some("https" | "wss") => (Scheme::Https, 443),
            Some("tcp") => (Scheme::Tcp, 0),
            Some("tls") => (Scheme::Tls, 443),
            other => bail!("{url}: scheme {other:?}; use http, https, tcp or tls"),
        };
        let Some(host) = uri.host() else { bail!("{url:?} names no host") };
        let port = uri.port_u16().unwrap_or(default_port);
        if port == 0 {
            bail!("{url}: tcp needs a port");
        }
        let mut authority = match uri.port_u16() {
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host.to_owned(),
        };
        let headers = headers(parts.headers, &mut authority)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.is_empty() { "/" } else { path };
        let request = Request {
            method: method.to_ascii_uppercase(),
            scheme: if scheme == Scheme::Https { "https" } else { "http" },
            authority,
            path: path.to_owned(),
            headers,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let named = bare.parse::<std::net::IpAddr>().is_err();
        let sni = parts.sni.map(str::to_owned).or_else(|| named.then(|| bare.clone()));
        Ok(Self {
            url: url.clone(),
            scheme,
            host: bare,
            port,
            request,
            sni,
            alpn: parts.alpn.to_vec(),
            transport: parts.transport,
        })
    }

    /// Whether the client itself speaks TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Tls)
    }

    /// What listeners find out about the client's bytes: ALPN names, or HTTP's version.
    pub(crate) fn detected(&self) -> Vec<String> {
        if !self.alpn.is_empty() {
            return self.alpn.clone();
        }
        match self.scheme {
            Scheme::Http => vec!["http/1.1".to_owned()],
            Scheme::Https => vec!["h2".to_owned(), "http/1.1".to_owned()],
            Scheme::Tcp | Scheme::Tls => Vec::new(),
        }
    }
}

/// `name: value` lines; `Host` takes the authority's place.
fn headers(lines: &[String], authority: &mut String) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            bail!("header {line:?} is not of the form \"name: value\"");
        };
        let value = value.trim();
        if name.trim().eq_ignore_ascii_case("host") {
            value.clone_into(authority);
            continue;
        }
        let name: HeaderName =
            name.trim().parse().with_context(|| format!("header {line:?}: no valid name"))?;
        let value =
            HeaderValue::from_str(value).with_context(|| format!("header {line:?}: no value"))?;
        headers.append(name, value);
    }
    Ok(headers)
}
