//! What tells pools of a cluster apart.

use std::{
    hash::{Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
};

/// Which HTTP version is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    Http1,
    Http2,
    /// As ALPN says.
    Auto,
}

/// ALPN names that a filter chose instead of the cluster's. Nearly always the very same list is
/// compared; lists of other listeners say the same.
#[derive(Clone, Debug)]
pub(crate) struct Alpn {
    overrides: Arc<[xds::AlpnOverride]>,
    index: usize,
}

impl Alpn {
    /// The names for a protocol, if the filter has some.
    pub(crate) fn new(
        overrides: &Arc<[xds::AlpnOverride]>,
        protocol: xds::UpstreamProtocol,
    ) -> Option<Self> {
        let index = overrides.iter().position(|one| one.upstream_protocol == protocol)?;
        Some(Self { overrides: Arc::clone(overrides), index })
    }

    pub(super) fn names(&self) -> &[String] {
        self.overrides.get(self.index).map_or(&[], |one| one.alpn.as_slice())
    }
}

impl PartialEq for Alpn {
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.overrides, &other.overrides) && self.index == other.index;
        same || self.names() == other.names()
    }
}

impl Eq for Alpn {}

impl Hash for Alpn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Equal lists have equal lengths; a pool's key has other fields to tell it by.
        self.names().len().hash(state);
    }
}

/// What tells pools of a cluster apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(super) address: SocketAddr,
    pub(super) transport: usize,
    pub(super) wire: Wire,
    pub(super) alpn: Option<Alpn>,
    pub(super) host: Option<String>,
}
