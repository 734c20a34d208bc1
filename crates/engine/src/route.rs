//! Routes: which one of a virtual host takes a request, and what becomes of it there.

mod table;

use std::collections::BTreeMap;

use regex::Regex;

use crate::{
    Cors, EngineError, Fault, HeaderMatcher, MultiValue, QueryParameterMatcher, RbacFilter,
    RequestInfo, RetryPolicy,
    fault::hits,
    listener::weighted_index,
    matcher::{equal, full_match, partial_match, starts_with},
};

pub use table::{RouteDecision, RouteTable};

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
    Cors(Cors),
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

    /// The first route that takes a request.
    fn route(&self, request: &RequestInfo<'_>, random: u64) -> Option<&Route> {
        let path = request.path_only();
        self.routes.iter().find(|route| route.matches(request, path, random))
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
            xds::PerFilterConfig::Cors(cors) => PerFilterConfig::Cors(Cors::new(cors)?),
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

    /// Whether the route takes a request with this path and query.
    fn matches(&self, request: &RequestInfo<'_>, path: &str, random: u64) -> bool {
        self.matches_path(path)
            && self.headers.iter().all(|header| header.matches(request, MultiValue::Joined))
            && (self.query_parameters.is_empty() || self.matches_query(request.query()))
            && self.config.route_match.runtime_fraction.is_none_or(|share| hits(share, random))
    }

    fn matches_query(&self, query: Option<&str>) -> bool {
        self.query_parameters.iter().all(|parameter| parameter.matches(query))
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

#[cfg(test)]
mod tests;
