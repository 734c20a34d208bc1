//! The protocol of a Service port, as Istio finds it from `appProtocol`, name and number.

use std::fmt;

use crate::k8s::Transport;

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 in the clear.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// An HTTP proxy's port.
    HttpProxy,
    /// TLS with HTTP inside, not terminated.
    Https,
    /// TLS, not terminated.
    Tls,
    /// Opaque bytes.
    Tcp,
    /// MongoDB (as TCP).
    Mongo,
    /// Redis (as TCP).
    Redis,
    /// MySQL (as TCP).
    MySql,
    /// UDP: no listener.
    Udp,
    /// Not said: to be detected.
    Auto,
}

/// Ports whose protocols speak first or are never HTTP: no detection there.
const SERVER_FIRST_PORTS: [u16; 4] = [25, 53, 3306, 27017];

impl Protocol {
    /// The protocol of a Service port. `appProtocol` beats the name, even when it is unknown.
    #[must_use]
    pub fn of_port(
        port: u16,
        name: &str,
        app_protocol: Option<&str>,
        transport: Transport,
    ) -> Self {
        if transport == Transport::Udp {
            return Self::Udp;
        }
        let named = match app_protocol {
            Some(app) => Self::from_app_protocol(app),
            None => Self::from_port_name(name),
        };
        match named {
            Self::Auto if SERVER_FIRST_PORTS.contains(&port) => Self::Tcp,
            protocol => protocol,
        }
    }

    fn from_app_protocol(app: &str) -> Self {
        match app.to_ascii_lowercase().as_str() {
            "kubernetes.io/h2c" => Self::Http2,
            "kubernetes.io/ws" => Self::Http,
            "kubernetes.io/wss" => Self::Https,
            other => Self::from_port_name(other),
        }
    }

    /// From the part of a port's name before the first `-` (or the word itself).
    #[must_use]
    pub fn from_port_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if name.starts_with("grpc-web") {
            return Self::GrpcWeb;
        }
        Self::from_word(name.split('-').next().unwrap_or_default())
    }

    fn from_word(word: &str) -> Self {
        match word {
            "http" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "http_proxy" => Self::HttpProxy,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::MySql,
            "udp" => Self::Udp,
            _ => Self::Auto,
        }
    }

    /// From a Gateway server's `port.protocol`, without case; `None` when a gateway cannot have it.
    #[must_use]
    pub fn of_gateway(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "grpc-web" => Some(Self::GrpcWeb),
            "http" | "https" | "grpc" | "http2" | "mongo" | "tcp" | "tls" => {
                Some(Self::from_word(&lower))
            }
            _ => None,
        }
    }

    /// From the protocol that a ServiceEntry's or Sidecar's port names, without case; empty: to be
    /// detected. `None` when nobody knows it.
    #[must_use]
    pub fn of_entry(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "" => Some(Self::Auto),
            "grpc-web" => Some(Self::GrpcWeb),
            word => Some(Self::from_word(word)).filter(|protocol| *protocol != Self::Auto),
        }
    }

    /// HTTP in the clear, in any version.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::HttpProxy | Self::Grpc | Self::GrpcWeb)
    }

    /// HTTP/2 to the upstream.
    #[must_use]
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Treated as bytes (TLS that is not terminated included).
    #[must_use]
    pub fn is_tcp(self) -> bool {
        matches!(
            self,
            Self::Tcp | Self::Https | Self::Tls | Self::Mongo | Self::Redis | Self::MySql
        )
    }

    /// TLS that passes through.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-Web",
            Self::HttpProxy => "HTTP_PROXY",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Mongo => "Mongo",
            Self::Redis => "Redis",
            Self::MySql => "MySQL",
            Self::Udp => "UDP",
            Self::Auto => "auto",
        })
    }
}

#[cfg(test)]
mod tests;
