//! Route tables: which virtual host has an authority's domain.

use std::{cmp::Reverse, collections::BTreeMap, collections::HashMap};

use super::{Route, VirtualHost};
use crate::{EngineError, RequestInfo};

/// A compiled [`xds::RouteConfiguration`].
#[derive(Debug)]
pub struct RouteTable {
    /// Its name.
    pub name: String,
    virtual_hosts: Vec<VirtualHost>,
    exact: HashMap<String, usize>,
    /// `*.suffix` without the star.
    suffixes: Parts,
    /// `prefix.*` without the star.
    prefixes: Parts,
    any: Option<usize>,
    ignore_port: bool,
}

/// Parts of domains by length, longest first: a look-up costs one hash a length.
type Parts = BTreeMap<Reverse<usize>, HashMap<String, usize>>;

/// What a request gets.
#[derive(Clone, Copy, Debug)]
pub struct RouteDecision<'a> {
    /// The virtual host.
    pub virtual_host: &'a VirtualHost,
    /// The route; none: nothing in the virtual host matches.
    pub route: Option<&'a Route>,
}

impl RouteTable {
    /// Compiles a route configuration.
    ///
    /// # Errors
    /// When a domain stands in two virtual hosts, a regex is not valid, weights sum to nothing, or
    /// a per-filter configuration is not known.
    pub fn new(config: &xds::RouteConfiguration) -> Result<Self, EngineError> {
        let mut table = Self {
            name: config.name.clone(),
            virtual_hosts: Vec::with_capacity(config.virtual_hosts.len()),
            exact: HashMap::new(),
            suffixes: Parts::new(),
            prefixes: Parts::new(),
            any: None,
            ignore_port: config.ignore_port_in_host_matching,
        };
        for (index, host) in config.virtual_hosts.iter().enumerate() {
            let path = format!("virtual_hosts[{index}]");
            for (at, domain) in host.domains.iter().enumerate() {
                if !table.add_domain(domain, index) {
                    return Err(EngineError::new(
                        format!("{path}.domains[{at}]"),
                        format!("the domain {domain:?} stands in two virtual hosts"),
                    ));
                }
            }
            table.virtual_hosts.push(VirtualHost::new(host).map_err(|error| error.within(&path))?);
        }
        Ok(table)
    }

    /// Registers a domain; false when it is taken.
    fn add_domain(&mut self, domain: &str, index: usize) -> bool {
        let domain = domain.to_ascii_lowercase();
        if domain == "*" {
            return self.any.replace(index).is_none();
        }
        let add = |parts: &mut Parts, part: &str| {
            let same_length = parts.entry(Reverse(part.len())).or_default();
            same_length.insert(part.to_owned(), index).is_none()
        };
        if let Some(suffix) = domain.strip_prefix('*') {
            add(&mut self.suffixes, suffix)
        } else if let Some(prefix) = domain.strip_suffix('*') {
            add(&mut self.prefixes, prefix)
        } else {
            self.exact.insert(domain, index).is_none()
        }
    }

    /// The virtual host and route of a request; none: no virtual host has its domain.
    pub fn route(&self, request: &RequestInfo<'_>, random: u64) -> Option<RouteDecision<'_>> {
        let virtual_host = self.virtual_host(request.authority)?;
        Some(RouteDecision { virtual_host, route: virtual_host.route(request, random) })
    }

    /// The virtual host of an authority: the same domain, else the longest suffix, else the longest
    /// prefix, else the one for all.
    pub fn virtual_host(&self, authority: &str) -> Option<&VirtualHost> {
        let host = if self.ignore_port { without_port(authority) } else { authority };
        let lower;
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            lower.as_str()
        } else {
            host
        };
        let by_suffix =
            || longest(&self.suffixes, |length| host.get(host.len().checked_sub(length)?..), host);
        let by_prefix = || longest(&self.prefixes, |length| host.get(..length), host);
        let index =
            self.exact.get(host).copied().or_else(by_suffix).or_else(by_prefix).or(self.any)?;
        self.virtual_hosts.get(index)
    }

    /// All virtual hosts, in order.
    pub fn virtual_hosts(&self) -> &[VirtualHost] {
        &self.virtual_hosts
    }
}

/// The entry of the longest part that `cut` finds in `host`; the star stands for something.
fn longest<'a>(parts: &Parts, cut: impl Fn(usize) -> Option<&'a str>, host: &str) -> Option<usize> {
    parts
        .iter()
        .filter(|(Reverse(length), _)| *length < host.len())
        .find_map(|(Reverse(length), same_length)| same_length.get(cut(*length)?).copied())
}

/// An authority without its port.
pub(super) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}
