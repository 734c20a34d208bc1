//! Route tables: which virtual host, route and cluster a request gets.

use std::collections::{BTreeMap, HashMap};

use regex::Regex;

use crate::{
    EngineError, Fault, HeaderMatcher, MultiValue, QueryParameterMatcher, RbacFilter, RequestInfo,
    RetryPolicy,
    fault::hits,
    listener::weighted_index,
    matcher::{full_match, partial_match},
};

/// A compiled [`xds::RouteConfiguration`].
#[derive(Debug)]
pub struct RouteTable {
    /// Its name.
    pub name: String,
    virtual_hosts: Vec<VirtualHost>,
    exact: HashMap<String, usize>,
    /// `*.suffix` without the star, longest first.
    suffixes: Vec<(String, usize)>,
    /// `prefix.*` without the star, longest first.
    prefixes: Vec<(String, usize)>,
    any: Option<usize>,
    ignore_port: bool,
}

/// A compiled [`xds::VirtualHost`].
#[derive(Debug)]
pub struct VirtualHost {
    /// Its name.
    pub name: String,
    /// Answer plaintext requests with a redirect to HTTPS.
    pub require_tls: bool,
    /// Send `x-envoy-attempt-count` upstream.
    pub include_request_attempt_count: bool,
    /// Per-filter configuration by the filter's name.
    pub per_filter: BTreeMap<String, PerFilterConfig>,
    routes: Vec<Route>,
}

/// A compiled [`xds::Route`].
#[derive(Debug)]
pub struct Route {
    /// As it came.
    pub config: xds::Route,
    /// Per-filter configuration by the filter's name.
    pub per_filter: BTreeMap<String, PerFilterConfig>,
    /// When attempts are repeated.
    pub retry_policy: Option<RetryPolicy>,
    path: PathMatcher,
    headers: Vec<HeaderMatcher>,
    query_parameters: Vec<QueryParameterMatcher>,
    regex_rewrite: Option<(Regex, String)>,
    total_weight: u64,
}

#[derive(Debug)]
enum PathMatcher {
    Prefix(String),
    PathSeparatedPrefix(String),
    Path(String),
    Regex(Regex),
}

/// A compiled [`xds::PerFilterConfig`].
#[derive(Debug)]
pub enum PerFilterConfig {
    /// For the fault filter.
    Fault(Fault),
    /// For the RBAC filter; none: it is off here.
    Rbac(Option<RbacFilter>),
    /// For the CORS filter.
    Cors(xds::CorsPolicy),
}

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
            suffixes: Vec::new(),
            prefixes: Vec::new(),
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
        table.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        table.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(table)
    }

    /// Registers a domain; false when it is taken.
    fn add_domain(&mut self, domain: &str, index: usize) -> bool {
        let domain = domain.to_ascii_lowercase();
        if domain == "*" {
            return self.any.replace(index).is_none();
        }
        if let Some(suffix) = domain.strip_prefix('*') {
            let taken = self.suffixes.iter().any(|(other, _)| other == suffix);
            self.suffixes.push((suffix.to_owned(), index));
            return !taken;
        }
        if let Some(prefix) = domain.strip_suffix('*') {
            let taken = self.prefixes.iter().any(|(other, _)| other == prefix);
            self.prefixes.push((prefix.to_owned(), index));
            return !taken;
        }
        self.exact.insert(domain, index).is_none()
    }

    /// The virtual host and route of a request; none: no virtual host has its domain.
    pub fn route(&self, request: &RequestInfo<'_>, random: u64) -> Option<RouteDecision<'_>> {
        let virtual_host = self.virtual_host(request.authority)?;
        let route = virtual_host.routes.iter().find(|route| route.matches(request, random));
        Some(RouteDecision { virtual_host, route })
    }

    /// The virtual host of an authority.
    pub fn virtual_host(&self, authority: &str) -> Option<&VirtualHost> {
        let host = if self.ignore_port { without_port(authority) } else { authority };
        let lower;
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            lower.as_str()
        } else {
            host
        };
        let longer = |part: &str| host.len() > part.len();
        let index = self
            .exact
            .get(host)
            .or_else(|| {
                let hit = self.suffixes.iter().find(|(end, _)| longer(end) && host.ends_with(end));
                hit.map(|(_, index)| index)
            })
            .or_else(|| {
                let hit = self
                    .prefixes
                    .iter()
                    .find(|(start, _)| longer(start) && host.starts_with(start));
                hit.map(|(_, index)| index)
            })
            .or(self.any.as_ref())?;
        self.virtual_hosts.get(*index)
    }

    /// All virtual hosts, in order.
    pub fn virtual_hosts(&self) -> &[VirtualHost] {
        &self.virtual_hosts
    }
}

/// An authority without its port.
pub(crate) fn without_port(authority: &str) -> &str {
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

impl VirtualHost {
    fn new(host: &xds::VirtualHost) -> Result<Self, EngineError> {
        let routes = host
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| {
                Route::new(route).map_err(|error| error.within(&format!("routes[{index}]")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: host.name.clone(),
            require_tls: host.require_tls,
            include_request_attempt_count: host.include_request_attempt_count,
            per_filter: per_filter(&host.typed_per_filter_config)?,
            routes,
        })
    }

    /// Its routes, in order.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

fn per_filter(
    configs: &BTreeMap<String, xds::PerFilterConfig>,
) -> Result<BTreeMap<String, PerFilterConfig>, EngineError> {
    let compile = |name: &String, config: &xds::PerFilterConfig| {
        Ok(match config {
            xds::PerFilterConfig::Fault(fault) => PerFilterConfig::Fault(Fault::new(fault)?),
            xds::PerFilterConfig::Rbac(rbac) => {
                PerFilterConfig::Rbac(rbac.as_ref().map(RbacFilter::new).transpose()?)
            }
            xds::PerFilterConfig::Cors(cors) => PerFilterConfig::Cors(cors.clone()),
            xds::PerFilterConfig::Opaque(opaque) => {
                return Err(EngineError::new(
                    format!("typed_per_filter_config[{name:?}]"),
                    format!("{} is not supported", opaque.type_url),
                ));
            }
        })
    };
    configs.iter().map(|(name, config)| Ok((name.clone(), compile(name, config)?))).collect()
}

impl Route {
    fn new(route: &xds::Route) -> Result<Self, EngineError> {
        let criteria = &route.route_match;
        let fold = |text: &String| {
            if criteria.case_sensitive { text.clone() } else { text.to_ascii_lowercase() }
        };
        let path = match &criteria.path {
            xds::PathMatch::Prefix(text) => PathMatcher::Prefix(fold(text)),
            xds::PathMatch::PathSeparatedPrefix(text) => {
                PathMatcher::PathSeparatedPrefix(fold(text))
            }
            xds::PathMatch::Path(text) => PathMatcher::Path(fold(text)),
            xds::PathMatch::Regex(text) => PathMatcher::Regex(
                full_match(text).map_err(|error| error.within("match.safe_regex"))?,
            ),
        };
        let headers = criteria.headers.iter().map(HeaderMatcher::new).collect::<Result<_, _>>();
        let query = &criteria.query_parameters;
        let (total_weight, retry_policy, regex_rewrite) = match &route.action {
            xds::Action::Route(action) => compile_action(action)?,
            _ => (0, None, None),
        };
        Ok(Self {
            per_filter: per_filter(&route.typed_per_filter_config)?,
            retry_policy,
            path,
            headers: headers.map_err(|error: EngineError| error.within("match.headers"))?,
            query_parameters: query
                .iter()
                .map(QueryParameterMatcher::new)
                .collect::<Result<_, _>>()
                .map_err(|error: EngineError| error.within("match.query_parameters"))?,
            regex_rewrite,
            total_weight,
            config: route.clone(),
        })
    }

    fn matches(&self, request: &RequestInfo<'_>, random: u64) -> bool {
        self.matches_path(request.path_only())
            && self.headers.iter().all(|header| header.matches(request, MultiValue::Joined))
            && self.query_parameters.iter().all(|query| query.matches(request.query()))
            && self.config.route_match.runtime_fraction.is_none_or(|share| hits(share, random))
    }

    fn matches_path(&self, path: &str) -> bool {
        let case_sensitive = self.config.route_match.case_sensitive;
        match &self.path {
            PathMatcher::Regex(regex) => regex.is_match(path),
            PathMatcher::Path(wanted) => equal(path, wanted, case_sensitive),
            PathMatcher::Prefix(wanted) => starts_with(path, wanted, case_sensitive),
            PathMatcher::PathSeparatedPrefix(wanted) => {
                starts_with(path, wanted, case_sensitive)
                    && matches!(path.as_bytes().get(wanted.len()), None | Some(b'/'))
            }
        }
    }

    /// The action, if the route sends requests on.
    pub fn action(&self) -> Option<&xds::RouteAction> {
        match &self.config.action {
            xds::Action::Route(action) => Some(action),
            _ => None,
        }
    }

    /// The cluster of a request; with weights, also the entry that `random` fell on.
    pub fn cluster(&self, random: u64) -> Option<(&str, Option<&xds::ClusterWeight>)> {
        match &self.action()?.cluster {
            xds::ClusterSpecifier::Cluster(name) => Some((name, None)),
            xds::ClusterSpecifier::Weighted(list) => {
                let weights = list.iter().map(|one| one.weight);
                let index = weighted_index(weights, self.total_weight, random)?;
                list.get(index).map(|one| (one.name.as_str(), Some(one)))
            }
        }
    }

    /// The path with query after the route's rewrite; none: it stays.
    pub fn rewrite_path(&self, path_and_query: &str) -> Option<String> {
        let action = self.action()?;
        let (path, rest) = split_query(path_and_query);
        if let Some((regex, substitution)) = &self.regex_rewrite {
            return Some(format!("{}{rest}", regex.replace_all(path, substitution.as_str())));
        }
        let rewrite = action.prefix_rewrite.as_deref()?;
        Some(self.replace_matched(path, rewrite) + rest)
    }

    /// A path with what this route matched of it (its prefix, or all) replaced.
    pub fn replace_matched(&self, path: &str, replacement: &str) -> String {
        match &self.path {
            PathMatcher::Prefix(prefix) | PathMatcher::PathSeparatedPrefix(prefix) => {
                format!("{replacement}{}", path.get(prefix.len()..).unwrap_or_default())
            }
            PathMatcher::Path(_) | PathMatcher::Regex(_) => replacement.to_owned(),
        }
    }
}

type CompiledAction = (u64, Option<RetryPolicy>, Option<(Regex, String)>);

fn compile_action(action: &xds::RouteAction) -> Result<CompiledAction, EngineError> {
    let total_weight = match &action.cluster {
        xds::ClusterSpecifier::Cluster(_) => 0,
        xds::ClusterSpecifier::Weighted(list) => {
            let total = list.iter().map(|one| u64::from(one.weight)).sum();
            if total == 0 {
                return Err(EngineError::new("route.weighted_clusters", "the weights sum to 0"));
            }
            total
        }
    };
    let retry_policy = action
        .retry_policy
        .as_ref()
        .map(RetryPolicy::new)
        .transpose()
        .map_err(|error| error.within("route"))?;
    let regex_rewrite = action
        .regex_rewrite
        .as_ref()
        .map(|rewrite| {
            let regex = partial_match(&rewrite.regex)
                .map_err(|error| error.within("route.regex_rewrite"))?;
            Ok((regex, substitution(&rewrite.substitution)))
        })
        .transpose()?;
    Ok((total_weight, retry_policy, regex_rewrite))
}

/// RE2's `\1` as `${1}`; `$` stands for itself.
fn substitution(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '$' => out.push_str("$$"),
            '\\' => match characters.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    out.push_str("${");
                    out.push(digit);
                    out.push('}');
                }
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

fn split_query(path_and_query: &str) -> (&str, &str) {
    let at = path_and_query.find(['?', '#']).unwrap_or(path_and_query.len());
    path_and_query.split_at(at)
}

fn equal(text: &str, wanted: &str, case_sensitive: bool) -> bool {
    if case_sensitive { text == wanted } else { text.eq_ignore_ascii_case(wanted) }
}

fn starts_with(text: &str, wanted: &str, case_sensitive: bool) -> bool {
    text.get(..wanted.len()).is_some_and(|start| equal(start, wanted, case_sensitive))
}

#[cfg(test)]
mod tests;
