//! What travels from control plane to proxy, as plain typed values, with the codec to Envoy's v3
//! protobuf and the sans-IO session of both ends of ADS.
//!
//! Values are `Clone + Debug + Eq + Hash`: no `Arc`, no compiled regex, no async, no clock. Protobuf
//! appears only inside the codec. `decode(encode(x)) == x` is a law that tests hold. Field names
//! and meanings are those of Envoy's API; a field that is absent here is either ignored (and
//! reported) or rejected with its path by the codec.

mod access_log;
mod address;
mod cluster;
mod codec;
mod endpoint;
mod http_connection_manager;
mod http_filter;
mod listener;
mod matcher;
mod metadata;
mod name_table;
mod network_filter;
mod node;
mod rbac;
mod resource;
mod route;
mod secret;
mod tls;

pub mod patch;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use access_log::*;
pub use address::*;
pub use cluster::*;
pub use codec::{DecodeError, Decoded, JsonError, decode, encode, message_to_json, to_json};
pub use endpoint::*;
pub use http_connection_manager::*;
pub use http_filter::*;
pub use listener::*;
pub use matcher::*;
pub use metadata::*;
pub use name_table::*;
pub use network_filter::*;
pub use node::*;
pub use rbac::*;
pub use resource::*;
pub use route::*;
pub use secret::*;
pub use tls::*;
