//! What to capture and whom to exempt: the meaning of Istio's `traffic.sidecar.istio.io/*`
//! annotations and of `istio-iptables`' flags, as plain values.

use std::{fmt, str::FromStr};

use ipnet::IpNet;
use thiserror::Error;

/// How the proxy's own traffic is told apart from the workload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exempt {
    /// By the user and group that the proxy runs as (Istio's way; 1337).
    Uid(u32),
    /// By a packet mark on the proxy's sockets, for a namespace where only one user is mapped.
    Mark(u32),
}

/// A set of ports: all of them, or the ones listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// `*`
    All,
    /// A comma-separated list, possibly empty.
    List(Vec<u16>),
}

/// A set of address ranges: all addresses, or the ranges listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// `*`
    All,
    /// A comma-separated list of CIDRs, possibly empty.
    List(Vec<IpNet>),
}

/// Whether IPv6 traffic is captured too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Capture {
    /// If the namespace has an IPv6 address beyond loopback and link scope, as Istio decides.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What `capture` programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Whose traffic is left alone.
    pub exempt: Exempt,
    /// Port of the proxy's outbound listener (15001).
    pub outbound_port: u16,
    /// Port of the proxy's inbound listener (15006).
    pub inbound_port: u16,
    /// Port of the agent's DNS proxy (15053); none leaves DNS alone.
    pub dns_port: Option<u16>,
    /// Inbound ports to redirect: `includeInboundPorts`.
    pub include_inbound_ports: Ports,
    /// Inbound ports to leave alone besides Mizzen's own: `excludeInboundPorts`.
    pub exclude_inbound_ports: Vec<u16>,
    /// Destinations to redirect: `includeOutboundIPRanges`.
    pub include_outbound_ranges: Ranges,
    /// Destinations to leave alone: `excludeOutboundIPRanges`.
    pub exclude_outbound_ranges: Vec<IpNet>,
    /// Ports to redirect whatever the destination: `includeOutboundPorts`.
    pub include_outbound_ports: Vec<u16>,
    /// Ports to leave alone: `excludeOutboundPorts`.
    pub exclude_outbound_ports: Vec<u16>,
    /// Interfaces whose traffic is left alone: `excludeInterfaces`.
    pub exclude_interfaces: Vec<String>,
    /// Whether an `ip6` twin of the table is made.
    pub ipv6: Ipv6Capture,
}

impl CaptureOptions {
    /// Istio's defaults: everything but the agent's and proxy's own ports, DNS included.
    #[must_use]
    pub fn new(exempt: Exempt) -> Self {
        Self {
            exempt,
            outbound_port: 15001,
            inbound_port: 15006,
            dns_port: Some(15053),
            include_inbound_ports: Ports::All,
            exclude_inbound_ports: Vec::new(),
            include_outbound_ranges: Ranges::All,
            exclude_outbound_ranges: Vec::new(),
            include_outbound_ports: Vec::new(),
            exclude_outbound_ports: Vec::new(),
            exclude_interfaces: Vec::new(),
            ipv6: Ipv6Capture::Auto,
        }
    }
}

/// A value of an option that is not of its form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OptionError {
    /// Not a port.
    #[error("`{0}` is not a port: give numbers from 1 to 65535 separated by commas, or `*`")]
    Port(String),
    /// Not an address range.
    #[error(
        "`{0}` is not an address range: give CIDRs such as 10.0.0.0/8 separated by commas, or `*`"
    )]
    Range(String),
}

impl FromStr for Ports {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        items(text)
            .map(|item| match item.parse() {
                Ok(0) | Err(_) => Err(OptionError::Port(item.to_owned())),
                Ok(port) => Ok(port),
            })
            .collect::<Result<_, _>>()
            .map(Self::List)
    }
}

impl FromStr for Ranges {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        items(text)
            .map(|item| {
                item.parse::<IpNet>()
                    .or_else(|_| item.parse::<std::net::IpAddr>().map(IpNet::from))
                    .map_err(|_| OptionError::Range(item.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self::List)
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

impl fmt::Display for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(id) => write!(f, "uid {id}"),
            Self::Mark(mark) => write!(f, "mark {mark:#x}"),
        }
    }
}
