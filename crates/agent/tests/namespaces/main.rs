//! Tests in network namespaces of their own: capture alone, and the whole agent with a stock Envoy
//! against a control plane that only these tests have.

#![expect(clippy::expect_used, reason = "all of this is test code")]

mod capture;
mod control;
mod namespace;
mod sidecar;
