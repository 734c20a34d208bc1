//! Listeners and their filter chains (`envoy.config.listener.v3`).

use std::time::Duration;

use ipnet::IpNet;

use crate::{AccessLog, Address, DownstreamTls, NetworkFilter};

/// A place where a proxy takes connections (`envoy.config.listener.v3.Listener`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Its name: the resource's name.
    pub name: String,
    /// Where it listens; with `bind_to_port` false, the original destination that it answers for
    /// (an unspecified IP answers for any).
    pub address: Address,
    /// Whether a socket is bound. Without one, connections come from a listener with
    /// `use_original_dst`.
    pub bind_to_port: bool,
    /// Hand each connection to the listener that answers for its original destination.
    pub use_original_dst: bool,
    /// Inbound or outbound, for statistics, tracing and draining.
    pub traffic_direction: TrafficDirection,
    /// What looks at a connection before a filter chain is chosen.
    pub listener_filters: Vec<ListenerFilter>,
    /// How long listener filters may wait; none: Envoy's 15 s; zero: forever.
    pub listener_filters_timeout: Option<Duration>,
    /// Go on, instead of closing, when listener filters time out.
    pub continue_on_listener_filters_timeout: bool,
    /// The chains to choose from: the most specific match wins.
    pub filter_chains: Vec<FilterChain>,
    /// The chain for connections that no other matches.
    pub default_filter_chain: Option<Box<FilterChain>>,
    /// Logs for connections that no filter chain takes.
    pub access_log: Vec<AccessLog>,
}

/// Which way a listener's traffic goes, seen from the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrafficDirection {
    /// Not said.
    #[default]
    Unspecified,
    /// Towards the workload.
    Inbound,
    /// Away from the workload.
    Outbound,
}

/// A listener filter, with the destination ports on which it does not run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerFilter {
    /// What it does.
    pub kind: ListenerFilterKind,
    /// Destination ports (first, last) on which it is disabled.
    pub disabled_ports: Vec<(u16, u16)>,
}

/// The listener filters that Mizzen knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenerFilterKind {
    /// Restores the destination that a redirected connection was meant for.
    OriginalDst,
    /// Reads SNI and ALPN from a TLS `ClientHello`.
    TlsInspector,
    /// Tells HTTP/1.x and HTTP/2 (h2c) from other plaintext protocols.
    HttpInspector,
    /// Reads a PROXY protocol header.
    ProxyProtocol,
}

impl From<ListenerFilterKind> for ListenerFilter {
    fn from(kind: ListenerFilterKind) -> Self {
        Self { kind, disabled_ports: Vec::new() }
    }
}

/// What is done with the connections that a match selects (`FilterChain`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilterChain {
    /// Its name, unique in the listener.
    pub name: String,
    /// Which connections it takes; the default matches all.
    pub filter_chain_match: FilterChainMatch,
    /// TLS to terminate; none: plaintext.
    pub transport_socket: Option<DownstreamTls>,
    /// How long the TLS handshake may take; none: no limit.
    pub transport_socket_connect_timeout: Option<Duration>,
    /// Network filters in order; the last one is terminal.
    pub filters: Vec<NetworkFilter>,
}

/// Criteria on a connection, all of which must hold (`FilterChainMatch`). Empty means any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FilterChainMatch {
    /// The (original) destination port.
    pub destination_port: Option<u16>,
    /// The (original) destination address is in one of these.
    pub prefix_ranges: Vec<IpNet>,
    /// The TLS server name: exact, or `*.` and a suffix.
    pub server_names: Vec<String>,
    /// `tls` or `raw_buffer`, as a listener filter detected.
    pub transport_protocol: Option<String>,
    /// ALPN names (or `http/1.1`, `h2c` from the HTTP inspector), one of which the client offers.
    pub application_protocols: Vec<String>,
    /// The address of the directly connected peer is in one of these.
    pub direct_source_prefix_ranges: Vec<IpNet>,
    /// The source address is in one of these.
    pub source_prefix_ranges: Vec<IpNet>,
    /// The source port is one of these.
    pub source_ports: Vec<u16>,
}
