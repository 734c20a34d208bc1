//! The data plane: sockets, TLS, HTTP/1, HTTP/2 and TCP, filters, upstream pools, metrics and
//! access logs. Decisions are made by `engine` from the resources that arrive over xDS.
//!
//! [`run`] starts worker threads. A worker owns its connections from accept to close: there is no
//! lock that workers share on that way, and configuration is an immutable snapshot behind one
//! atomic pointer.

mod access_log;
mod admin;
mod bootstrap;
mod cluster;
mod config;
mod connection;
mod error;
mod facts;
mod fast_hash;
mod flags;
mod format;
mod handle;
mod http;
mod listener;
mod net;
mod run;
mod shared;
mod snapshot;
mod stats;
mod tcp;
mod tls;
mod upstream;
mod worker;

pub use bootstrap::{Bootstrap, EXTENSIONS, InheritedListener, ServiceAddress};
pub use error::ProxyError;
pub use handle::{Handle, State};
pub use run::run;
