//! Configuration in, a call through it, and what becomes of the call: `pilot` and `engine` joined.

mod authorization;
mod bookinfo;
mod envoy;
mod laws;
mod mesh;
mod mtls;
mod routing;
mod snapshots;
