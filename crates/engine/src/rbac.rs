//! Role-based access control: may this request or connection pass?
//!
//! Identity fields match only a peer whose certificate was verified: a plaintext peer matches no
//! `Authenticated` principal, so neither an allowing nor a denying rule matches by absence alone.
//! Headers with several values are looked at one by one, so that no value hides another.

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::{EngineError, HeaderMatcher, MultiValue, RequestInfo, StringMatcher};

/// What policies look at.
#[derive(Clone, Copy, Debug)]
pub struct RbacInput<'a> {
    /// The request; none on a plain connection.
    pub request: Option<RequestInfo<'a>>,
    /// The directly connected peer.
    pub direct_remote: SocketAddr,
    /// The client, as trusted headers tell.
    pub remote: SocketAddr,
    /// The destination that the client meant.
    pub destination: SocketAddr,
    /// The TLS server name.
    pub server_name: Option<&'a str>,
    /// Whether the peer showed a certificate that was verified.
    pub authenticated: bool,
    /// The peer's names: URI names, else DNS names, else the subject.
    pub principals: &'a [String],
}

/// A compiled [`xds::RbacFilter`].
#[derive(Clone, Debug, Default)]
pub struct RbacFilter {
    /// What is enforced.
    pub rules: Option<Rbac>,
    /// What is only counted.
    pub shadow_rules: Option<Rbac>,
    /// Prefix of the shadow statistics.
    pub shadow_rules_stat_prefix: String,
    /// Prefix of the filter's statistics.
    pub stat_prefix: String,
}

/// A compiled [`xds::Rbac`].
#[derive(Clone, Debug)]
pub struct Rbac {
    action: xds::RbacAction,
    policies: Vec<Policy>,
}

#[derive(Clone, Debug)]
struct Policy {
    name: String,
    permissions: Vec<Permission>,
    principals: Vec<Principal>,
}

#[derive(Clone, Debug)]
enum Permission {
    Any,
    And(Vec<Permission>),
    Or(Vec<Permission>),
    Not(Box<Permission>),
    Header(HeaderMatcher),
    UrlPath(StringMatcher),
    DestinationIp(IpNet),
    DestinationPort(u16),
    RequestedServerName(StringMatcher),
}

#[derive(Clone, Debug)]
enum Principal {
    Any,
    And(Vec<Principal>),
    Or(Vec<Principal>),
    Not(Box<Principal>),
    Authenticated(Option<StringMatcher>),
    DirectRemoteIp(IpNet),
    RemoteIp(IpNet),
    Header(HeaderMatcher),
    UrlPath(StringMatcher),
}

/// What policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Whether it may pass.
    pub allowed: bool,
    /// The policy that matched, if one did.
    pub policy: Option<&'a str>,
}

impl RbacFilter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// When a policy holds a regex that is not valid.
    pub fn new(filter: &xds::RbacFilter) -> Result<Self, EngineError> {
        let compile = |rules: &Option<xds::Rbac>, field: &str| {
            rules.as_ref().map(Rbac::new).transpose().map_err(|error| error.within(field))
        };
        Ok(Self {
            rules: compile(&filter.rules, "rules")?,
            shadow_rules: compile(&filter.shadow_rules, "shadow_rules")?,
            shadow_rules_stat_prefix: filter.shadow_rules_stat_prefix.clone(),
            stat_prefix: filter.stat_prefix.clone(),
        })
    }

    /// What the enforced rules say; without rules all may pass.
    pub fn evaluate(&self, input: &RbacInput<'_>) -> Verdict<'_> {
        self.rules
            .as_ref()
            .map_or(Verdict { allowed: true, policy: None }, |rules| rules.evaluate(input))
    }
}

impl Rbac {
    /// Compiles policies.
    ///
    /// # Errors
    /// When a policy holds a regex that is not valid.
    pub fn new(rbac: &xds::Rbac) -> Result<Self, EngineError> {
        let policies = rbac
            .policies
            .iter()
            .map(|(name, policy)| {
                Policy::new(name, policy)
                    .map_err(|error| error.within(&format!("policies[{name:?}]")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { action: rbac.action, policies })
    }

    /// What the policies say.
    pub fn evaluate(&self, input: &RbacInput<'_>) -> Verdict<'_> {
        let matched = self.policies.iter().find(|policy| policy.matches(input));
        let allowed = match self.action {
            xds::RbacAction::Allow => matched.is_some(),
            xds::RbacAction::Deny => matched.is_none(),
            xds::RbacAction::Log => true,
        };
        Verdict { allowed, policy: matched.map(|policy| policy.name.as_str()) }
    }
}

impl Policy {
    fn new(name: &str, policy: &xds::Policy) -> Result<Self, EngineError> {
        Ok(Self {
            name: name.to_owned(),
            permissions: policy
                .permissions
                .iter()
                .map(Permission::new)
                .collect::<Result<_, _>>()?,
            principals: policy.principals.iter().map(Principal::new).collect::<Result<_, _>>()?,
        })
    }

    fn matches(&self, input: &RbacInput<'_>) -> bool {
        self.permissions.iter().any(|permission| permission.matches(input))
            && self.principals.iter().any(|principal| principal.matches(input))
    }
}

impl Permission {
    fn new(permission: &xds::Permission) -> Result<Self, EngineError> {
        let all =
            |list: &[xds::Permission]| list.iter().map(Self::new).collect::<Result<Vec<_>, _>>();
        Ok(match permission {
            xds::Permission::Any => Self::Any,
            xds::Permission::And(list) => Self::And(all(list)?),
            xds::Permission::Or(list) => Self::Or(all(list)?),
            xds::Permission::Not(inner) => Self::Not(Box::new(Self::new(inner)?)),
            xds::Permission::Header(header) => Self::Header(HeaderMatcher::new(header)?),
            xds::Permission::UrlPath(path) => Self::UrlPath(StringMatcher::new(path)?),
            xds::Permission::DestinationIp(range) => Self::DestinationIp(*range),
            xds::Permission::DestinationPort(port) => Self::DestinationPort(*port),
            xds::Permission::RequestedServerName(name) => {
                Self::RequestedServerName(StringMatcher::new(name)?)
            }
        })
    }

    fn matches(&self, input: &RbacInput<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::And(list) => list.iter().all(|one| one.matches(input)),
            Self::Or(list) => list.iter().any(|one| one.matches(input)),
            Self::Not(inner) => !inner.matches(input),
            Self::Header(header) => header_matches(header, input),
            Self::UrlPath(path) => path_matches(path, input),
            Self::DestinationIp(range) => contains(range, input.destination),
            Self::DestinationPort(port) => input.destination.port() == *port,
            Self::RequestedServerName(name) => name.matches(input.server_name.unwrap_or_default()),
        }
    }
}

impl Principal {
    fn new(principal: &xds::Principal) -> Result<Self, EngineError> {
        let all =
            |list: &[xds::Principal]| list.iter().map(Self::new).collect::<Result<Vec<_>, _>>();
        Ok(match principal {
            xds::Principal::Any => Self::Any,
            xds::Principal::And(list) => Self::And(all(list)?),
            xds::Principal::Or(list) => Self::Or(all(list)?),
            xds::Principal::Not(inner) => Self::Not(Box::new(Self::new(inner)?)),
            xds::Principal::Authenticated(name) => {
                Self::Authenticated(name.as_ref().map(StringMatcher::new).transpose()?)
            }
            xds::Principal::DirectRemoteIp(range) => Self::DirectRemoteIp(*range),
            xds::Principal::RemoteIp(range) => Self::RemoteIp(*range),
            xds::Principal::Header(header) => Self::Header(HeaderMatcher::new(header)?),
            xds::Principal::UrlPath(path) => Self::UrlPath(StringMatcher::new(path)?),
        })
    }

    fn matches(&self, input: &RbacInput<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::And(list) => list.iter().all(|one| one.matches(input)),
            Self::Or(list) => list.iter().any(|one| one.matches(input)),
            Self::Not(inner) => !inner.matches(input),
            Self::Authenticated(None) => input.authenticated,
            Self::Authenticated(Some(name)) => {
                input.authenticated && input.principals.iter().any(|one| name.matches(one))
            }
            Self::DirectRemoteIp(range) => contains(range, input.direct_remote),
            Self::RemoteIp(range) => contains(range, input.remote),
            Self::Header(header) => header_matches(header, input),
            Self::UrlPath(path) => path_matches(path, input),
        }
    }
}

fn contains(range: &IpNet, address: SocketAddr) -> bool {
    range.contains(&address.ip().to_canonical())
}

fn header_matches(header: &HeaderMatcher, input: &RbacInput<'_>) -> bool {
    input.request.is_some_and(|request| header.matches(&request, MultiValue::Any))
}

fn path_matches(path: &StringMatcher, input: &RbacInput<'_>) -> bool {
    input.request.is_some_and(|request| path.matches(request.path_only()))
}

#[cfg(test)]
mod tests;
