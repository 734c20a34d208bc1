//! The way to upstreams: which host, over which connection.

mod connect;
mod lease;
mod local;
mod pool;

pub(crate) use connect::{ConnectError, Opened, connect_stream};
pub(crate) use lease::{Lease, SendError};
pub(crate) use local::{ClusterLocal, Destination, Target};
pub(crate) use pool::{Alpn, CheckoutError, Wire};
