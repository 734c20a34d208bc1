//! Where a connection was going before netfilter redirected it to us.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::{
    getsockopt,
    sockopt::{Ip6tOriginalDst, OriginalDst},
};
use tokio::net::TcpStream;

/// The original destination, if the connection was redirected.
pub(crate) fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let local = stream.local_addr().ok()?;
    let original = if local.is_ipv4() {
        let found = getsockopt(stream, OriginalDst).ok()?;
        let ip = Ipv4Addr::from(u32::from_be(found.sin_addr.s_addr));
        SocketAddr::new(IpAddr::V4(ip), u16::from_be(found.sin_port))
    } else {
        let found = getsockopt(stream, Ip6tOriginalDst).ok()?;
        let ip = Ipv6Addr::from(found.sin6_addr.s6_addr);
        SocketAddr::new(IpAddr::V6(ip), u16::from_be(found.sin6_port))
    };
    (original != local).then_some(original)
}
