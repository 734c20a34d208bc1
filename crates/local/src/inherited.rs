//! Descriptors that cross an exec: the gateways' listening sockets and the state directory's lock.
//!
//! A descriptor is handed down by its number. The receiver must take it over without unsafe code:
//! the kernel duplicates a descriptor of a process for that process itself (`pidfd_getfd(2)`), and
//! the inherited one is then closed so that no grandchild gets it.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Held while a process is started: between making a descriptor inheritable and the fork, no other
/// thread may fork, else its child would keep a gateway's port open.
static SPAWNING: Mutex<()> = Mutex::new(());

/// Waits until no other thread is starting a process.
pub(crate) fn spawning() -> MutexGuard<'static, ()> {
    SPAWNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A duplicate that the next started process inherits, and its number there.
///
/// # Errors
/// When no more descriptors are to be had.
pub(crate) fn inheritable(fd: &OwnedFd) -> io::Result<(OwnedFd, RawFd)> {
    let duplicate = nix::unistd::dup(fd)?;
    let number = duplicate.as_raw_fd();
    Ok((duplicate, number))
}

/// Takes over the descriptor that the parent process left open under this number.
///
/// # Errors
/// When no such descriptor is open, or the kernel is older than 5.6.
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    let owned = pidfd_getfd(this, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::IntoRawFd as _;

    #[test]
    fn an_adopted_listener_still_accepts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let number = nix::unistd::dup(&listener).unwrap().into_raw_fd();
        drop(listener);
        let adopted = TcpListener::from(adopt(number).unwrap());
        let _client = TcpStream::connect(address).unwrap();
        adopted.accept().unwrap();
    }
}
