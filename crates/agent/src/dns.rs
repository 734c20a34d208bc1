//! The DNS proxy that captured queries reach: names of the mesh are answered from the table that
//! the control plane sends, other names go to the machine's resolvers.
//!
//! `table` looks names up (pure), `answer` makes responses of packets (pure), `forward` asks
//! resolvers, `server` holds the sockets.

mod answer;
mod forward;
mod server;
mod table;

pub(crate) use self::{
    forward::{Forwarder, nameservers},
    server::{DnsServer, Sockets},
    table::Table,
};
