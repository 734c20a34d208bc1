//! Where something listens or can be reached (`envoy.config.core.v3.Address`).

use std::{fmt, net::IpAddr};

/// An address to bind or to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a TCP port.
    Socket {
        /// The IP address.
        ip: IpAddr,
        /// The TCP port; 0 where the field allows any.
        port: u16,
    },
    /// A DNS name and a TCP port, to be resolved by the proxy.
    Hostname {
        /// The DNS name.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// A Unix domain socket's path.
    Pipe(String),
}

impl Address {
    /// An IP address with a port.
    pub fn socket(ip: impl Into<IpAddr>, port: u16) -> Self {
        Self::Socket { ip: ip.into(), port }
    }

    /// The port, if the address has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Socket { port, .. } | Self::Hostname { port, .. } => Some(*port),
            Self::Pipe(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { ip: IpAddr::V6(ip), port } => write!(f, "[{ip}]:{port}"),
            Self::Socket { ip, port } => write!(f, "{ip}:{port}"),
            Self::Hostname { host, port } => write!(f, "{host}:{port}"),
            Self::Pipe(path) => f.write_str(path),
        }
    }
}

/// TCP keep-alive of a socket (`envoy.config.core.v3.TcpKeepalive`); unset fields are the kernel's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection is dead.
    pub probes: Option<u32>,
    /// Idle seconds before the first probe.
    pub time: Option<u32>,
    /// Seconds between probes.
    pub interval: Option<u32>,
}

/// How upstream sockets are bound before they connect (`envoy.config.core.v3.BindConfig`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BindConfig {
    /// The source address; the port is chosen by the kernel.
    pub source_address: Option<IpAddr>,
    /// Integer socket options to set.
    pub socket_options: Vec<SocketOption>,
}

/// One integer socket option, set before bind (`envoy.config.core.v3.SocketOption`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketOption {
    /// What it is for, in words.
    pub description: String,
    /// The level, such as `SOL_SOCKET` (1).
    pub level: i64,
    /// The name, such as `SO_MARK` (36).
    pub name: i64,
    /// The value.
    pub value: i64,
}
