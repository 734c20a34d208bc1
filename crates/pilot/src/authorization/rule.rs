//! One rule as an RBAC policy: its sources become principals, its operations permissions, and each
//! condition goes to one of the two.

use config::security::{Condition, Operation, Rule, Source};
use xds::{Permission, Policy, Principal};

use super::{Attribute, Transport, matcher};
use crate::network;

/// The rule must not be enforced on this transport, or cannot be expressed.
pub(super) struct Skipped;

/// How rules of one policy are compiled.
pub(super) struct Compiler<'a> {
    /// The policy's namespace.
    pub(super) namespace: &'a str,
    pub(super) transport: Transport,
    /// In doubt match less (ALLOW), not more (DENY).
    pub(super) narrow: bool,
    pub(super) trust_domains: &'a [&'a str],
}

/// What of a request an attribute needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// A connection.
    Nothing,
    /// HTTP.
    Http,
    /// A verified identity.
    Identity,
    /// Something that is not there.
    Unsupported,
}

/// Values and values that must not be.
type Lists<'a> = (&'a [String], &'a [String]);

impl Compiler<'_> {
    /// The rule's policy.
    pub(super) fn policy(&self, rule: &Rule) -> Result<Policy, Skipped> {
        let (when_principals, when_permissions) = self.conditions(&rule.when)?;
        let mut principals = Vec::new();
        for from in &rule.from {
            principals.push(all(self.source(&from.source)?, &when_principals));
        }
        if principals.is_empty() {
            principals.push(all(Vec::new(), &when_principals));
        }
        let mut permissions = Vec::new();
        for to in &rule.to {
            permissions.push(all(self.operation(&to.operation)?, &when_permissions));
        }
        if permissions.is_empty() {
            permissions.push(all(Vec::new(), &when_permissions));
        }
        Ok(Policy { permissions, principals })
    }

    fn source(&self, source: &Source) -> Result<Vec<Principal>, Skipped> {
        use Needs::{Identity, Nothing, Unsupported};
        let direct = |value: &str| network::parse(value).map(Principal::DirectRemoteIp);
        let remote = |value: &str| network::parse(value).map(Principal::RemoteIp);
        let s = source;
        let mut parts = self.one_of((&s.principals, &s.not_principals), Identity, |value| {
            Some(self.principal(value))
        })?;
        let requests = (&*s.request_principals, &*s.not_request_principals);
        parts.extend(self.one_of(requests, Unsupported, |_| None)?);
        parts.extend(self.one_of((&s.namespaces, &s.not_namespaces), Identity, |value| {
            Some(authenticated(matcher::namespace(value)))
        })?);
        let accounts = (&*s.service_accounts, &*s.not_service_accounts);
        parts.extend(self.one_of(accounts, Identity, |value| Some(self.service_account(value)))?);
        parts.extend(self.one_of((&s.trust_domains, &s.not_trust_domains), Identity, |value| {
            Some(authenticated(matcher::trust_domain(value)))
        })?);
        parts.extend(self.one_of((&s.ip_blocks, &s.not_ip_blocks), Nothing, direct)?);
        let remotes = (&*s.remote_ip_blocks, &*s.not_remote_ip_blocks);
        parts.extend(self.one_of(remotes, Nothing, remote)?);
        Ok(parts)
    }

    fn operation(&self, operation: &Operation) -> Result<Vec<Permission>, Skipped> {
        use Needs::{Http, Nothing};
        let o = operation;
        let mut parts = self.one_of((&o.hosts, &o.not_hosts), Http, |value| {
            Some(Permission::Header(matcher::host(value)))
        })?;
        parts.extend(self.one_of((&o.methods, &o.not_methods), Http, |value| {
            Some(Permission::Header(matcher::header(":method", value)))
        })?);
        parts.extend(self.one_of((&o.paths, &o.not_paths), Http, |value| {
            Some(Permission::UrlPath(matcher::path(value)))
        })?);
        parts.extend(self.one_of((&o.ports, &o.not_ports), Nothing, destination_port)?);
        Ok(parts)
    }

    fn conditions(
        &self,
        conditions: &[Condition],
    ) -> Result<(Vec<Principal>, Vec<Permission>), Skipped> {
        let (mut principals, mut permissions) = (Vec::new(), Vec::new());
        for condition in conditions {
            match Attribute::parse(&condition.key) {
                Attribute::DestinationIp
                | Attribute::DestinationPort
                | Attribute::ConnectionSni => {
                    permissions.extend(self.permission_condition(condition)?);
                }
                _ => principals.extend(self.principal_condition(condition)?),
            }
        }
        Ok((principals, permissions))
    }

    fn permission_condition(&self, condition: &Condition) -> Result<Vec<Permission>, Skipped> {
        let lists = (&*condition.values, &*condition.not_values);
        let attribute = Attribute::parse(&condition.key);
        self.one_of(lists, Needs::Nothing, |value| match attribute {
            Attribute::DestinationIp => network::parse(value).map(Permission::DestinationIp),
            Attribute::DestinationPort => destination_port(value),
            _ => Some(Permission::RequestedServerName(matcher::plain(value))),
        })
    }

    fn principal_condition(&self, condition: &Condition) -> Result<Vec<Principal>, Skipped> {
        let lists = (&*condition.values, &*condition.not_values);
        let attribute = Attribute::parse(&condition.key);
        let needs = match attribute {
            Attribute::RequestHeader(_) => Needs::Http,
            Attribute::SourceIp | Attribute::RemoteIp => Needs::Nothing,
            Attribute::SourceNamespace
            | Attribute::SourcePrincipal
            | Attribute::SourceServiceAccount
            | Attribute::SourceTrustDomain => Needs::Identity,
            _ => Needs::Unsupported,
        };
        self.one_of(lists, needs, |value| match attribute {
            Attribute::RequestHeader(name) => Some(Principal::Header(matcher::header(name, value))),
            Attribute::SourceIp => network::parse(value).map(Principal::DirectRemoteIp),
            Attribute::RemoteIp => network::parse(value).map(Principal::RemoteIp),
            Attribute::SourceNamespace => Some(authenticated(matcher::namespace(value))),
            Attribute::SourcePrincipal => Some(self.principal(value)),
            Attribute::SourceServiceAccount => Some(self.service_account(value)),
            Attribute::SourceTrustDomain => Some(authenticated(matcher::trust_domain(value))),
            _ => None,
        })
    }

    fn principal(&self, value: &str) -> Principal {
        let names = matcher::principals(value, self.trust_domains);
        or(names.into_iter().map(authenticated).collect())
    }

    fn service_account(&self, value: &str) -> Principal {
        authenticated(matcher::service_account(value, self.namespace))
    }

    /// One attribute: one of the values, and none of the others. In doubt (an attribute that is not
    /// there on this transport, a value that cannot be read) an ALLOW rule matches less and a DENY
    /// rule more.
    fn one_of<T: Term>(
        &self,
        (values, not_values): Lists<'_>,
        needs: Needs,
        make: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Skipped> {
        let mut parts = Vec::new();
        if values.is_empty() && not_values.is_empty() {
            return Ok(parts);
        }
        let missing = needs == Needs::Unsupported
            || (needs == Needs::Http && self.transport == Transport::Tcp);
        if missing {
            return if self.narrow { Err(Skipped) } else { Ok(parts) };
        }
        let make_all = |values: &[String]| -> (Vec<T>, bool) {
            let terms: Vec<T> = values.iter().filter_map(|value| make(value)).collect();
            let complete = terms.len() == values.len();
            (terms, complete)
        };
        if !values.is_empty() {
            let (terms, complete) = make_all(values);
            match (complete, self.narrow) {
                (false, true) if terms.is_empty() => return Err(Skipped),
                (false, false) => {}
                _ => parts.push(or(terms)),
            }
        }
        if !not_values.is_empty() {
            let (terms, complete) = make_all(not_values);
            if !complete && self.narrow {
                return Err(Skipped);
            }
            if !terms.is_empty() {
                parts.push(T::not(or(terms)));
            }
            // COMPAT: in Istio a peer without an identity is "not" any principal or namespace, so
            // that such an ALLOW rule opens the workload to plaintext. Here it needs an identity.
            if needs == Needs::Identity && self.narrow {
                parts.extend(T::identified());
            }
        }
        Ok(parts)
    }
}

fn authenticated(name: xds::StringMatcher) -> Principal {
    Principal::Authenticated(Some(name))
}

fn destination_port(value: &str) -> Option<Permission> {
    value.parse().ok().map(Permission::DestinationPort)
}

/// Permissions and principals, as far as they are alike.
trait Term: Clone {
    fn any() -> Self;
    fn and(terms: Vec<Self>) -> Self;
    fn or(terms: Vec<Self>) -> Self;
    fn not(term: Self) -> Self;
    /// A peer with an identity, where that can be asked.
    fn identified() -> Option<Self>;
}

impl Term for Permission {
    fn any() -> Self {
        Self::Any
    }
    fn and(terms: Vec<Self>) -> Self {
        Self::And(terms)
    }
    fn or(terms: Vec<Self>) -> Self {
        Self::Or(terms)
    }
    fn not(term: Self) -> Self {
        Self::Not(Box::new(term))
    }
    fn identified() -> Option<Self> {
        None
    }
}

impl Term for Principal {
    fn any() -> Self {
        Self::Any
    }
    fn and(terms: Vec<Self>) -> Self {
        Self::And(terms)
    }
    fn or(terms: Vec<Self>) -> Self {
        Self::Or(terms)
    }
    fn not(term: Self) -> Self {
        Self::Not(Box::new(term))
    }
    fn identified() -> Option<Self> {
        Some(authenticated(matcher::any_identity()))
    }
}

fn or<T: Term>(terms: Vec<T>) -> T {
    T::or(terms)
}

/// All of `own` and `shared`; none at all matches everything.
fn all<T: Term>(mut own: Vec<T>, shared: &[T]) -> T {
    own.extend_from_slice(shared);
    if own.is_empty() { T::any() } else { T::and(own) }
}
