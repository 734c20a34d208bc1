//! Makes listening and connecting sockets with the options that the mesh needs.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait for `accept`.
const BACKLOG: i32 = 4096;

/// Binds a listening socket that shares its port with those of the other workers.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A further handle on a listening socket that was handed in.
pub(crate) fn adopt(fd: &OwnedFd) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::from(fd.try_clone()?);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Registers a listening socket with this thread's runtime.
pub(crate) fn register(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(listener)
}

/// Options of a socket towards an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectOptions {
    /// `SO_MARK`.
    pub mark: Option<u32>,
    /// The source address.
    pub source: Option<IpAddr>,
    /// TCP keep-alive.
    pub keepalive: Option<xds::TcpKeepalive>,
}

/// Connects to an upstream.
pub(crate) async fn connect(
    address: SocketAddr,
    options: &ConnectOptions,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    if let Some(keepalive) = &options.keepalive {
        socket.set_tcp_keepalive(&tcp_keepalive(keepalive))?;
    }
    if let Some(source) = options.source
        && source.is_ipv4() == address.is_ipv4()
    {
        // The kernel picks the port at connect, when it knows the whole four-tuple.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
    }
    let stream = TcpSocket::from_std_stream(socket.into()).connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn tcp_keepalive(keepalive: &xds::TcpKeepalive) -> socket2::TcpKeepalive {
    let mut options = socket2::TcpKeepalive::new();
    if let Some(time) = keepalive.time {
        options = options.with_time(Duration::from_secs(time.into()));
    }
    if let Some(interval) = keepalive.interval {
        options = options.with_interval(Duration::from_secs(interval.into()));
    }
    if let Some(probes) = keepalive.probes {
        options = options.with_retries(probes);
    }
    options
}
