//! Networks as rules write them: an address, or a CIDR.

use std::net::IpAddr;

use ipnet::IpNet;

/// A CIDR, or an address as the network that holds only it.
pub(crate) fn parse(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
