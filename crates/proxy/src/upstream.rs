//! The way to upstreams: which host, over which connection.

mod connect;
mod key;
mod lease;
mod local;
mod pool;

pub(crate) use connect::{ConnectError, Opened, connect_stream};
pub(crate) use key::{Alpn, Wire};
pub(crate) use lease::{Lease, SendError};
pub(crate) use local::{ClusterLocal, Destination, Target};
pub(crate) use pool::CheckoutError;
