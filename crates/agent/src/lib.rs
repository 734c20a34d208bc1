//! The proxy's companion, in the role of Istio's pilot-agent: identity, SDS, the relay to the
//! control plane, DNS, traffic capture, probes and drain. It runs Mizzen's proxy in its own
//! process, or a stock Envoy as a child, and treats both alike: they meet it at Unix sockets.

mod agent;
pub mod capture;
mod discovery;
mod dns;
mod environment;
mod envoy;
mod identity;
mod metrics;
mod node;
mod options;
mod relay;
mod sds;
mod status;
mod steering;

pub use agent::{AgentError, run};
pub use discovery::{Discovery, DiscoveryError};
pub use environment::{ApplicationMetrics, Environment, EnvironmentError, duration};
pub use options::{AgentOptions, Dns, Ports, ProxyChoice, Role, inherit};
