//! The one-machine runtime behind `mizzen up DIR`: user, network, mount and PID namespaces, a
//! bridge, one network namespace a replica, supervised processes, the ingress gateway's host
//! sockets, live reload and the state directory.
//!
//! Three processes share this crate. The outer one ([`launch`]) stays in the host's namespaces and
//! owns the terminal; [`boot`] enters the namespaces; [`runtime`] does everything else inside them.
//! Nothing here may touch the host's network, and all of it must end with the outer process.

mod address;
mod backoff;
pub mod boot;
mod bridge;
mod control;
mod envoy;
pub mod event;
mod files;
mod gateway;
mod inherited;
pub mod launch;
mod mounts;
mod netns;
pub mod offline;
mod plan;
mod registry;
mod replica;
pub mod runtime;
pub mod state;
pub mod status;
mod supervise;
mod token;
pub mod userns;
mod watch;

pub use plan::ProxyKind;
