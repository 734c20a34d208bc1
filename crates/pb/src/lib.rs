//! Generated protobuf messages and gRPC stubs of Envoy's v3 API and of Istio's few messages.
//!
//! No logic lives here. Definitions come from the crate `envoy-types` (see `build.rs`); Istio's are
//! in `proto/`. The descriptors are kept so that JSON in protobuf's canonical form can be made of
//! any message, also of one inside an `Any`.

#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    rustdoc::all,
    reason = "generated code, documented by its definitions"
)]

use std::sync::OnceLock;

use prost_reflect::DescriptorPool;

include!(concat!(env!("OUT_DIR"), "/all.rs"));

pub use prost_types::Any;

static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Every message definition that this crate knows, for dynamic messages and canonical JSON.
///
/// # Panics
/// Never in practice: the bytes are the ones that the compiler of the definitions wrote.
pub fn descriptors() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(DESCRIPTORS).unwrap_or_else(|error| {
            unreachable!("the descriptors were written by build.rs: {error}")
        })
    })
}
