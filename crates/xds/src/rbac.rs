//! Role-based access control (`envoy.config.rbac.v3`).

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::{HeaderMatcher, StringMatcher};

/// The RBAC filter, for HTTP and for connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RbacFilter {
    /// What is enforced; none: nothing is.
    pub rules: Option<Rbac>,
    /// What is only counted (a dry run).
    pub shadow_rules: Option<Rbac>,
    /// Prefix of the statistics and metadata of shadow rules.
    pub shadow_rules_stat_prefix: String,
    /// Prefix of the filter's statistics (connections only).
    pub stat_prefix: String,
}

/// Policies with one action (`envoy.config.rbac.v3.RBAC`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rbac {
    /// What is done when a policy matches.
    pub action: RbacAction,
    /// The policies by name; one that matches is enough.
    pub policies: BTreeMap<String, Policy>,
}

/// What is done when a policy matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RbacAction {
    /// Allowed if a policy matches, else denied.
    Allow,
    /// Denied if a policy matches, else allowed.
    Deny,
    /// Allowed, and marked for the log if a policy matches.
    Log,
}

/// Matches when one permission and one principal match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// What is asked for.
    pub permissions: Vec<Permission>,
    /// Who asks.
    pub principals: Vec<Principal>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Anything.
    Any,
    /// All of these.
    And(Vec<Permission>),
    /// One of these.
    Or(Vec<Permission>),
    /// The opposite.
    Not(Box<Permission>),
    /// A request's header.
    Header(HeaderMatcher),
    /// A request's path without query and fragment.
    UrlPath(StringMatcher),
    /// The destination's address.
    DestinationIp(IpNet),
    /// The destination's port.
    DestinationPort(u16),
    /// The TLS server name.
    RequestedServerName(StringMatcher),
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Anybody.
    Any,
    /// All of these.
    And(Vec<Principal>),
    /// One of these.
    Or(Vec<Principal>),
    /// Anybody else.
    Not(Box<Principal>),
    /// A peer with a verified certificate, whose URI name (else DNS name, else subject) matches.
    Authenticated(Option<StringMatcher>),
    /// The address of the directly connected peer.
    DirectRemoteIp(IpNet),
    /// The client's address as `x-forwarded-for` or PROXY protocol tell it.
    RemoteIp(IpNet),
    /// A request's header.
    Header(HeaderMatcher),
    /// A request's path without query and fragment.
    UrlPath(StringMatcher),
}
