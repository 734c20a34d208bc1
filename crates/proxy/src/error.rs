//! Why a proxy could not start or had to end.

use std::io;

/// A proxy that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The admin or metrics interface cannot listen.
    #[error("cannot listen on {address} for {purpose}: {source}")]
    Listen {
        /// What it is for.
        purpose: &'static str,
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A worker thread cannot be started.
    #[error("cannot start worker thread {index}: {source}")]
    Worker {
        /// Which.
        index: usize,
        /// Why.
        source: io::Error,
    },
    /// A socket that was handed in is of no use.
    #[error("the listening socket handed in for port {port} cannot be used: {source}")]
    Inherited {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
}
