//! Configuration in, a call through it, and what becomes of the call: `pilot` and `engine` joined.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up must fail; clippy knows only functions with #[test]"
)]

mod authorization;
mod bookinfo;
mod cases;
mod envoy;
mod envoy_filter;
mod gateway;
mod laws;
mod mesh;
mod service_entry;
mod sidecar;
mod snapshots;
mod telemetry;
