//! Names of clusters: `outbound|port|subset|host` and `inbound|port||`.

use std::fmt;

/// The parts of an outbound cluster's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutboundName<'a> {
    /// The service's port.
    pub(crate) port: u16,
    /// The subset; empty: all endpoints.
    pub(crate) subset: &'a str,
    /// The service's full host name.
    pub(crate) host: &'a str,
}

impl<'a> OutboundName<'a> {
    /// Takes a cluster's name apart; none when it is not an outbound one.
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix("outbound|")?.splitn(3, '|');
        let port = parts.next()?.parse().ok()?;
        Some(Self { port, subset: parts.next()?, host: parts.next()? })
    }

    /// Takes a name of the form of [`Self::sni`] apart.
    pub(crate) fn parse_sni(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix("outbound_.")?.splitn(3, "_.");
        let port = parts.next()?.parse().ok()?;
        Some(Self { port, subset: parts.next()?, host: parts.next()? })
    }

    /// The TLS server name of the mesh for this cluster.
    pub(crate) fn sni(self) -> String {
        format!("outbound_.{}_.{}_.{}", self.port, self.subset, self.host)
    }
}

impl fmt::Display for OutboundName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outbound|{}|{}|{}", self.port, self.subset, self.host)
    }
}

/// The cluster of the workload's own port.
pub(crate) fn inbound_name(port: u16) -> String {
    format!("inbound|{port}||")
}
