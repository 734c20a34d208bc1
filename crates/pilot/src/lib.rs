//! A world of configuration objects in, the xDS resources for one proxy out.
//!
//! Pure: no file, no clock, no socket. [`World`] indexes the objects, [`PushContext`] holds what is
//! computed once for all proxies, and its methods generate the resources for one [`Proxy`]. Names
//! and shapes are Istio's. The same objects in any order give the same output: conflicts are
//! settled by age, then name, then namespace. What cannot be done is a diagnostic, never silence.

mod access_log;
mod authorization;
mod cluster;
mod destination_rule;
mod diagnostics;
mod endpoint;
mod envoy_filter;
mod gateway;
mod listener;
mod name_table;
mod network;
mod peer_authentication;
mod proxy;
mod push_context;
mod route;
mod secret;
mod sidecar_scope;
mod telemetry;
mod tls;
mod virtual_service;
mod world;

pub use proxy::{NodeError, Proxy, ProxyType};
pub use push_context::PushContext;
pub use world::World;
