//! Listening sockets, TCP and Unix.

use std::fs::{File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

/// Connections that may wait to be accepted on a Unix socket.
const UNIX_BACKLOG: i32 = 1024;

/// How a TCP listener is made.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions {
    /// Lets several sockets listen on one address and share its connections (SO_REUSEPORT).
    pub reuse_port: bool,
    /// Lets an address be used that is not (yet) the machine's (IP_FREEBIND).
    pub free_bind: bool,
    /// Connections that may wait to be accepted.
    pub backlog: i32,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { reuse_port: false, free_bind: false, backlog: 1024 }
    }
}

/// Listens on a TCP address (SO_REUSEADDR always; IPv6 sockets take IPv6 only). Must be called
/// inside a tokio runtime with I/O.
///
/// # Errors
/// The system's, with the address in the message.
pub fn bind_tcp(address: SocketAddr, options: TcpOptions) -> io::Result<TcpListener> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(options.reuse_port)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        } else if options.free_bind {
            socket.set_freebind_v4(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(options.backlog)?;
        TcpListener::from_std(socket.into())
    };
    bound().map_err(|error| explain(&error, &format!("cannot listen on {address}")))
}

/// Listens on a Unix socket that only this user can connect to. A socket that a dead process left
/// behind is removed; one that answers, or a file that is no socket, is an error.
///
/// # Errors
/// The system's, with the path in the message.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let bound = || {
        remove_stale(path)?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // Linux makes the file with the mode of the socket: there is no moment at which others
        // could connect, as there would be with a change of mode after the bind.
        let socket = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
        socket.set_permissions(Permissions::from_mode(0o600))?;
        let socket = Socket::from(OwnedFd::from(socket));
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(UNIX_BACKLOG)?;
        UnixListener::from_std(OwnedFd::from(socket).into())
    };
    bound().map_err(|error| explain(&error, &format!("cannot listen on {}", path.display())))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
    }
}

fn explain(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_sockets_share_an_address_only_when_asked_to() {
        let options = TcpOptions { reuse_port: true, ..TcpOptions::default() };
        let first = bind_tcp("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let address = first.local_addr().unwrap();
        bind_tcp(address, options).unwrap();
        let error = bind_tcp(address, TcpOptions::default()).unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[tokio::test]
    async fn takes_over_dead_sockets_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.sock");
        let alive = bind_unix(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(alive);
        drop(bind_unix(&path).unwrap());
        let file = dir.path().join("precious");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(bind_unix(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
    }
}
