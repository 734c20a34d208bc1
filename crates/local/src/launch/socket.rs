//! Binding the host's sockets for the ingress gateway.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::LaunchError;
use crate::gateway;

/// Binds a host socket. It listens from the start when a gateway will serve it; without one,
/// connections shall be refused rather than wait for nobody.
pub(super) fn bind(address: SocketAddr, listen: bool) -> Result<Socket, LaunchError> {
    let bind = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        if listen {
            socket.listen(gateway::BACKLOG)?;
        }
        Ok(socket)
    };
    bind().map_err(|error| {
        let (ip, port) = (address.ip(), address.port());
        LaunchError::Socket(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port {port} of {ip} is in use by another program, and the ingress gateway needs \
                 it; stop that program, or choose another port, for example: \
                 --gateway-address {}",
                SocketAddr::new(ip, port.checked_add(1).unwrap_or(8081)),
            ),
            io::ErrorKind::PermissionDenied => format!(
                "port {port} is for root only, and the ingress gateway cannot have it; choose one \
                 from 1024 on, for example: --gateway-address {}",
                SocketAddr::new(ip, 8080),
            ),
            _ => format!(
                "the ingress gateway cannot listen on {address}: {error}; see --gateway-address"
            ),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let message = bind(address, true).unwrap_err().to_string();
        assert!(message.contains(&format!("port {} of 127.0.0.1", address.port())), "{message}");
        assert!(message.contains("--gateway-address"), "{message}");
    }
}
