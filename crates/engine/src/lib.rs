//! Decisions of the data plane: xDS resources in, and out of them which filter chain, which route,
//! may it pass, which endpoint.
//!
//! Pure: no socket, file, clock or environment; time and randomness are passed in. Values of `xds`
//! are compiled once, when they arrive, so that a decision allocates little and takes no lock.
//! Behaviour follows Envoy's documentation of each v3 message; differences carry `COMPAT:`.

mod balancer;
mod cluster;
mod cors;
mod error;
mod fault;
mod hash_ring;
mod host;
mod http_connection_manager;
mod listener;
mod locality;
mod matcher;
mod outlier_detection;
pub mod path;
mod priority;
mod rbac;
mod request;
mod retry;
mod route;
mod snapshot;

pub use balancer::{Balancer, Pick};
pub use cluster::{Cluster, Transport};
pub use cors::Cors;
pub use error::EngineError;
pub use fault::{Fault, FaultDecision};
pub use host::{Host, HostSet, HostState};
pub use http_connection_manager::{HttpConnectionManager, HttpFilter, Routes};
pub use listener::{ConnectionInfo, FilterChain, Listener, NetworkFilter, TcpProxy};
pub use matcher::{HeaderMatcher, MultiValue, QueryParameterMatcher, StringMatcher};
pub use outlier_detection::{Ejection, Moment, Outcome, OutlierDetection};
pub use rbac::{Rbac, RbacFilter, RbacInput, Verdict};
pub use request::RequestInfo;
pub use retry::{RetryOn, RetryPolicy, RetryReason};
pub use route::{PerFilterConfig, Route, RouteDecision, RouteTable, VirtualHost};
pub use snapshot::Snapshot;
