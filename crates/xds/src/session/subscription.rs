//! What a client wants to see of one type.

use std::collections::BTreeSet;

use crate::ResourceType;

/// The name that subscribes to everything.
pub(super) const WILDCARD: &str = "*";

/// What a client wants to see of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub(super) wildcard: bool,
    pub(super) names: BTreeSet<String>,
}

impl Subscription {
    /// Whether everything is wanted.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The names that were asked for one by one, without `*`.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Whether a resource of this name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        !self.wildcard && self.names.is_empty()
    }
}

/// Whether the first request of a type without names means everything. Types that Mizzen does not
/// know (extensions, generic configuration) are wildcard types, as in Istio.
pub(super) fn has_wildcard(type_url: &str) -> bool {
    ResourceType::from_type_url(type_url).is_none_or(ResourceType::has_wildcard)
}
