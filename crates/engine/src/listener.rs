//! Listeners: which filter chain takes a connection.
//!
//! Follows Envoy's filter chain matching: criteria are looked at in a fixed order (destination
//! port, destination address, server name, transport protocol, application protocol, directly
//! connected source, source address, source port); at each the most specific value that any
//! remaining chain names wins, and there is no way back.

use std::{net::SocketAddr, sync::Arc};

use ipnet::IpNet;

use crate::{EngineError, HttpConnectionManager, RbacFilter};

/// What filter chains are chosen by.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionInfo<'a> {
    /// The destination that the client meant.
    pub destination: SocketAddr,
    /// The client.
    pub source: SocketAddr,
    /// The directly connected peer.
    pub direct_source: SocketAddr,
    /// `tls` or `raw_buffer`; empty when no inspector told, which is as `raw_buffer`.
    pub transport_protocol: &'a str,
    /// The server name of a TLS `ClientHello`.
    pub server_name: Option<&'a str>,
    /// ALPN names, or what the HTTP inspector found, in the client's order.
    pub application_protocols: &'a [String],
}

/// A compiled [`xds::Listener`].
#[derive(Debug)]
pub struct Listener {
    /// As it came.
    pub config: Arc<xds::Listener>,
    chains: Vec<Arc<FilterChain>>,
    default_chain: Option<Arc<FilterChain>>,
}

/// A compiled [`xds::FilterChain`].
#[derive(Debug)]
pub struct FilterChain {
    /// Its name.
    pub name: String,
    /// TLS to terminate; none: plaintext.
    pub transport_socket: Option<Arc<xds::DownstreamTls>>,
    /// How long the TLS handshake may take.
    pub transport_socket_connect_timeout: Option<std::time::Duration>,
    /// Network filters in order; the last one is terminal.
    pub filters: Vec<NetworkFilter>,
    criteria: xds::FilterChainMatch,
}

/// A compiled [`xds::NetworkFilter`].
#[derive(Clone, Debug)]
pub enum NetworkFilter {
    /// Speaks HTTP (terminal).
    HttpConnectionManager(Arc<HttpConnectionManager>),
    /// Forwards bytes (terminal).
    TcpProxy(Arc<TcpProxy>),
    /// Allows or denies.
    Rbac(Arc<RbacFilter>),
    /// Istio's TCP metrics.
    Stats(xds::StatsConfig),
    /// Istio's exchange of peer metadata.
    MetadataExchange {
        /// The ALPN name that starts it.
        protocol: String,
    },
}

/// A compiled [`xds::TcpProxy`].
#[derive(Debug)]
pub struct TcpProxy {
    /// As it came.
    pub config: xds::TcpProxy,
    total_weight: u64,
}

impl TcpProxy {
    /// The cluster for a connection, by weight.
    pub fn cluster(&self, random: u64) -> Option<&str> {
        let weights = self.config.clusters.iter().map(|cluster| cluster.weight);
        let index = weighted_index(weights, self.total_weight, random)?;
        self.config.clusters.get(index).map(|cluster| cluster.name.as_str())
    }
}

/// The index that `random` falls on among `weights` with the sum `total`.
pub(crate) fn weighted_index(
    weights: impl Iterator<Item = u32>,
    total: u64,
    random: u64,
) -> Option<usize> {
    let mut point = random.checked_rem(total)?;
    for (index, weight) in weights.enumerate() {
        match point.checked_sub(u64::from(weight)) {
            Some(rest) => point = rest,
            None => return Some(index),
        }
    }
    None
}

impl Listener {
    /// Compiles a listener.
    ///
    /// # Errors
    /// When a filter is not known, a terminal filter is missing or not last, two chains have the
    /// same match, or a regex is not valid.
    pub fn new(listener: xds::Listener) -> Result<Self, EngineError> {
        let chains = listener
            .filter_chains
            .iter()
            .enumerate()
            .map(|(index, chain)| {
                FilterChain::new(chain)
                    .map(Arc::new)
                    .map_err(|error| error.within(&format!("filter_chains[{index}]")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        for (index, chain) in chains.iter().enumerate() {
            let twin = chains[..index].iter().find(|other| other.criteria == chain.criteria);
            if let Some(other) = twin {
                return Err(EngineError::new(
                    format!("filter_chains[{index}].filter_chain_match"),
                    format!("chain {:?} has the same match as {:?}", chain.name, other.name),
                ));
            }
        }
        let default_chain = listener
            .default_filter_chain
            .as_deref()
            .map(|chain| FilterChain::new(chain).map(Arc::new))
            .transpose()
            .map_err(|error| error.within("default_filter_chain"))?;
        Ok(Self { config: Arc::new(listener), chains, default_chain })
    }

    /// The chain that takes a connection; none: the connection is closed.
    pub fn select_filter_chain(
        &self,
        connection: &ConnectionInfo<'_>,
    ) -> Option<&Arc<FilterChain>> {
        select(&self.chains, connection).or(self.default_chain.as_ref())
    }

    /// All chains, the default one last.
    pub fn filter_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.chains.iter().chain(&self.default_chain)
    }

    /// Whether a filter chain asks for something that `kind` would find out on this port.
    pub fn listener_filter(&self, kind: &xds::ListenerFilterKind, destination_port: u16) -> bool {
        self.config.listener_filters.iter().any(|filter| {
            filter.kind == *kind
                && !filter
                    .disabled_ports
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&destination_port))
        })
    }
}

impl FilterChain {
    fn new(chain: &xds::FilterChain) -> Result<Self, EngineError> {
        let mut filters = Vec::with_capacity(chain.filters.len());
        for (index, filter) in chain.filters.iter().enumerate() {
            let compiled = NetworkFilter::new(filter)
                .map_err(|error| error.within(&format!("filters[{index}]")))?;
            let last = index + 1 == chain.filters.len();
            if compiled.is_terminal() != last {
                let problem = if last {
                    "the last filter must be terminal"
                } else {
                    "a terminal filter must be last"
                };
                return Err(EngineError::new(format!("filters[{index}]"), problem));
            }
            filters.push(compiled);
        }
        Ok(Self {
            name: chain.name.clone(),
            transport_socket: chain.transport_socket.clone().map(Arc::new),
            transport_socket_connect_timeout: chain.transport_socket_connect_timeout,
            filters,
            criteria: chain.filter_chain_match.clone(),
        })
    }
}

impl NetworkFilter {
    fn new(filter: &xds::NetworkFilter) -> Result<Self, EngineError> {
        Ok(match &filter.config {
            xds::NetworkFilterConfig::HttpConnectionManager(manager) => {
                Self::HttpConnectionManager(Arc::new(HttpConnectionManager::new(manager)?))
            }
            xds::NetworkFilterConfig::TcpProxy(proxy) => {
                let total_weight = proxy.clusters.iter().map(|one| u64::from(one.weight)).sum();
                if total_weight == 0 {
                    return Err(EngineError::new("weighted_clusters", "no cluster has a weight"));
                }
                Self::TcpProxy(Arc::new(TcpProxy { config: proxy.clone(), total_weight }))
            }
            xds::NetworkFilterConfig::Rbac(rbac) => Self::Rbac(Arc::new(RbacFilter::new(rbac)?)),
            xds::NetworkFilterConfig::Stats(stats) => Self::Stats(stats.clone()),
            xds::NetworkFilterConfig::MetadataExchange { protocol } => {
                Self::MetadataExchange { protocol: protocol.clone() }
            }
            xds::NetworkFilterConfig::Opaque(opaque) => {
                return Err(EngineError::new(
                    "typed_config",
                    format!(
                        "network filter {:?} ({}) is not supported",
                        filter.name, opaque.type_url
                    ),
                ));
            }
        })
    }

    fn is_terminal(&self) -> bool {
        matches!(self, Self::HttpConnectionManager(_) | Self::TcpProxy(_))
    }
}

type Candidates<'a> = Vec<&'a Arc<FilterChain>>;

fn select<'a>(
    chains: &'a [Arc<FilterChain>],
    connection: &ConnectionInfo<'_>,
) -> Option<&'a Arc<FilterChain>> {
    let destination = connection.destination;
    let transport = match connection.transport_protocol {
        "" => "raw_buffer",
        told => told,
    };
    let name = connection.server_name.map(str::to_ascii_lowercase);
    let mut left: Candidates<'a> = chains.iter().collect();
    narrow(&mut left, |chain| match chain.destination_port {
        Some(port) => (port == destination.port()).then_some(1),
        None => Some(0),
    });
    narrow(&mut left, |chain| longest_prefix(&chain.prefix_ranges, destination));
    narrow(&mut left, |chain| server_name(&chain.server_names, name.as_deref()));
    narrow(&mut left, |chain| match chain.transport_protocol.as_deref() {
        None | Some("") => Some(0),
        Some(wanted) => (wanted == transport).then_some(1),
    });
    narrow(&mut left, |chain| {
        application_protocol(&chain.application_protocols, connection.application_protocols)
    });
    narrow(&mut left, |chain| {
        longest_prefix(&chain.direct_source_prefix_ranges, connection.direct_source)
    });
    narrow(&mut left, |chain| longest_prefix(&chain.source_prefix_ranges, connection.source));
    narrow(&mut left, |chain| {
        if chain.source_ports.is_empty() {
            Some(0)
        } else {
            chain.source_ports.contains(&connection.source.port()).then_some(1)
        }
    });
    left.first().copied()
}

/// Keeps the chains with the highest rank; those without a rank do not match.
fn narrow(left: &mut Candidates<'_>, rank: impl Fn(&xds::FilterChainMatch) -> Option<u32>) {
    let best = left.iter().filter_map(|chain| rank(&chain.criteria)).max();
    left.retain(|chain| best.is_some() && rank(&chain.criteria) == best);
}

fn longest_prefix(ranges: &[IpNet], address: SocketAddr) -> Option<u32> {
    if ranges.is_empty() {
        return Some(0);
    }
    let ip = address.ip().to_canonical();
    ranges
        .iter()
        .filter(|range| range.contains(&ip))
        .map(|range| u32::from(range.prefix_len()) + 1)
        .max()
}

/// Exact names rank above wildcards, longer wildcards above shorter ones. `asked` is in lower case.
fn server_name(names: &[String], asked: Option<&str>) -> Option<u32> {
    if names.is_empty() {
        return Some(0);
    }
    let asked = asked?;
    names
        .iter()
        .filter_map(|name| match name.strip_prefix('*') {
            Some(suffix) if asked.ends_with(suffix) => u32::try_from(suffix.len()).ok(),
            None if *name == asked => Some(u32::MAX),
            _ => None,
        })
        .max()
}

/// The client's earlier names rank higher.
fn application_protocol(names: &[String], offered: &[String]) -> Option<u32> {
    if names.is_empty() {
        return Some(0);
    }
    let position = offered.iter().position(|name| names.contains(name))?;
    Some(u32::MAX - u32::try_from(position).unwrap_or(u32::MAX - 1))
}

#[cfg(test)]
mod tests;
