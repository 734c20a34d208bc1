//! The control-plane process: configuration from files, xDS to proxies, certificates for
//! workloads, and pages for people.
//!
//! What a proxy is sent is `pilot`'s to say; how it goes over the wire is `xds`'s. Here are the
//! sockets, the clock, the order of things, and who may ask for what.

mod ads;
mod authn;
mod certificate_service;
mod configuration;
mod debounce;
mod debug;
mod metrics;
mod server;
mod source;
mod transport;

pub use debounce::Debounce;
pub use server::{Addresses, ControlPlane, Options, Ports, StartError};
pub use source::SourceError;
pub use transport::ServerTlsError;
