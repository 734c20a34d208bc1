//! A real proxy in this process, fed by an ADS and an SDS server over Unix sockets, with real
//! connections on loopback.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that fails says so; its helpers too"
)]

mod affinity;
mod config;
mod control;
mod fixture;
mod hostile;
mod http;
mod mtls;
mod names;
mod operators;
mod resources;
mod retries;
mod tcp;
mod upstream;
