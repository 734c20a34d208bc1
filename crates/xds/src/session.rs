//! The sans-IO ADS session: what either end of one xDS stream remembers, and what it sends next.
//!
//! Messages go in and come out; sockets, clocks and the making of resources are the caller's. The
//! rules are those of the xDS transport protocol
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>), with what a stock Envoy
//! needs besides. [`Server`] speaks both variants, state of the world and delta; [`Client`] delta.

mod client;
mod server;
mod subscription;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use client::{Client, ClientUpdate, Interest};
pub use server::{Delivery, EventKind, Remembered, Server, ServerEvent, SubscriptionChange};
pub use subscription::Subscription;

/// The variant of the protocol that a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// State of the world: a response of a wildcard type holds all resources.
    Sotw,
    /// Incremental: a response holds what changed.
    Delta,
}

/// Whether resources that are gone may be removed from the client by this push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removals {
    /// They are removed.
    Now,
    /// They stay until a later push, so that what refers to them can be replaced first.
    Later,
}

/// A resource that is ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Changes whenever the resource does, such as a hash of its bytes.
    pub version: String,
    /// The encoded resource.
    pub any: pb::Any,
}

/// Resources of one type by name.
pub type Resources = BTreeMap<String, Encoded>;

/// A message that breaks the protocol in a way that leaves no sensible answer: end the stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A request without a type.
    #[error(
        "the discovery request names no type_url; an aggregated stream needs one in each request"
    )]
    MissingType,
    /// A request of the other variant.
    #[error("the stream speaks {0:?}, but the request is of the other variant")]
    WrongVariant(Protocol),
}
