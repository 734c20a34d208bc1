//! A mesh in this process: the control plane over files that a test writes, gateways that the agent
//! starts, applications on loopback. It needs no namespace and no privilege: only capture is
//! missing, so there are gateways and no sidecars. Everything listens on free ports.
//!
//! What a test expects of our proxy it expects of a stock Envoy too, where there is one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that fails says so; its helpers too"
)]

mod in_process {
    pub(crate) mod application;
    pub(crate) mod client;
    pub(crate) mod fixture;
    pub(crate) mod gateway;
    pub(crate) mod identity;
    pub(crate) mod live;
    pub(crate) mod objects;
    pub(crate) mod operators;
    pub(crate) mod protocols;
    pub(crate) mod resilience;
    pub(crate) mod routing;
}
