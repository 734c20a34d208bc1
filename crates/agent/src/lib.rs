//! The proxy's companion, in the role of Istio's pilot-agent: identity, SDS, the relay to the
//! control plane, DNS, traffic capture, probes and drain. It runs Mizzen's proxy in its own
//! process, or a stock Envoy as a child, and treats both alike: they meet it at Unix sockets.

pub mod capture;
mod discovery;
mod dns;
mod identity;
mod metrics;
mod relay;
mod sds;

pub use discovery::{Discovery, DiscoveryError};
