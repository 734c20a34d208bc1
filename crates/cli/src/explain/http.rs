//! HTTP at one proxy: path, virtual host, route, filters in their order, and the route's action.

use std::sync::Arc;

use engine::{HttpConnectionManager, HttpFilter, Route, RouteTable, Routes, VirtualHost};
use http::{HeaderName, HeaderValue};

use super::call::Request;
use super::hop::{Forward, Hop, Record, Share};
use super::journey::{Answer, Miss, Step};
use super::policy::{self, Asked};
use super::{describe, fault, miss};

/// How many routes and hosts that did not match are told.
const MISSES: usize = 12;

/// A connection manager at work.
pub(super) struct Manager<'a> {
    pub(super) hop: &'a Hop<'a>,
    pub(super) manager: &'a HttpConnectionManager,
    pub(super) config: &'a xds::HttpConnectionManager,
    pub(super) principals: &'a [String],
    /// Whether this proxy terminated TLS.
    pub(super) terminated: bool,
}

/// The virtual host and route of a request, compiled and as they came.
struct Decision<'a> {
    host: &'a VirtualHost,
    host_config: &'a xds::VirtualHost,
    route: Option<&'a Route>,
}

impl Manager<'_> {
    /// Where the request goes, or how it ends.
    pub(super) fn run(&self, record: &mut Record) -> Result<Forward, Answer> {
        let mut request = self.hop.arrival.request.clone();
        self.normalize(&mut request, record)?;
        let (table, routes) = self.table(record)?;
        let decision = self.decide(&table, &routes, &request, record);
        if let Some(decision) = &decision
            && decision.host.require_tls
            && !self.terminated
        {
            let to = format!("https://{}{}", request.authority, request.path);
            record.steps.push(Step::new("answer", format!("301 to {to}")));
            return Err(Answer::refused(301, "-", format!("redirected to {to}")));
        }
        let alpn = self.filters(decision.as_ref(), &request, record)?;
        let Some(decision) = decision else {
            let why = format!("no virtual host of {} has {}", table.name, request.authority);
            return Err(Answer::refused(404, "NR", why));
        };
        let Some(route) = decision.route else {
            let why = format!("no route of the virtual host {} matches", decision.host.name);
            return Err(Answer::refused(404, "NR", why));
        };
        self.act(route, request, record).map(|forward| Forward { alpn, ..forward })
    }

    fn normalize(&self, request: &mut Request, record: &mut Record) -> Result<(), Answer> {
        let normal = match engine::path::normalize(&request.path, self.manager.normalization) {
            Err(_) => return Err(Answer::refused(400, "-", "the path cannot be normalised")),
            Ok(engine::path::Normalized::Redirect(to)) => {
                return Err(Answer::refused(307, "-", format!("redirected to {to}")));
            }
            Ok(engine::path::Normalized::Path(path)) => path.into_owned(),
        };
        if normal != request.path {
            record.steps.push(Step::new("path", format!("{} is taken as {normal}", request.path)));
            request.path = normal;
        }
        Ok(())
    }

    fn table(
        &self,
        record: &mut Record,
    ) -> Result<(Arc<RouteTable>, xds::RouteConfiguration), Answer> {
        let configured = self.hop.configured;
        let found = match (&self.manager.routes, &self.config.route_specifier) {
            (Routes::Inline(table), xds::RouteSpecifier::Inline(config)) => {
                Some((Arc::clone(table), (**config).clone()))
            }
            (Routes::Rds(name), _) => configured
                .snapshot
                .routes
                .get(name)
                .zip(configured.routes.get(name))
                .map(|(table, config)| (Arc::clone(table), config.clone())),
            _ => None,
        };
        let Some((table, config)) = found else {
            let name = match &self.manager.routes {
                Routes::Rds(name) => name.as_str(),
                Routes::Inline(table) => &table.name,
            };
            record.steps.push(Step::new("route_config", name).detail("it is not there"));
            let why = format!("there is no route configuration {name}");
            return Err(Answer::refused(404, "NR", why));
        };
        record.path.route_config = Some(table.name.clone());
        record.steps.push(Step::new("route_config", table.name.clone()));
        Ok((table, config))
    }

    fn decide<'b>(
        &self,
        table: &'b RouteTable,
        routes: &'b xds::RouteConfiguration,
        request: &Request,
        record: &mut Record,
    ) -> Option<Decision<'b>> {
        let info = request.info();
        let found = table.route(&info, 0);
        let position = found.and_then(|found| {
            let is = |host: &VirtualHost| std::ptr::eq(host, found.virtual_host);
            table.virtual_hosts().iter().position(is)
        });
        let host_config = position.and_then(|position| routes.virtual_hosts.get(position));
        let (Some(found), Some(host_config)) = (found, host_config) else {
            let misses = self.hosts(routes, None, request);
            record.steps.push(Step::new("virtual_host", "none").past(misses));
            return None;
        };
        let host = found.virtual_host;
        let mut step = Step::new("virtual_host", host.name.clone())
            .detail(format!("its names are {}", describe::some(&host_config.domains, 3)));
        if host_config.domains.iter().any(|domain| domain == "*") {
            step = step.past(self.hosts(routes, Some(&host.name), request));
        }
        record.path.virtual_host = Some(host.name.clone());
        record.steps.push(step);
        let chosen = found.route;
        let misses = self.passed(host, chosen, request);
        match chosen {
            Some(route) => {
                let name = describe::route_name(&route.config);
                record.path.route = Some(name.clone());
                let mut step =
                    Step::new("route", name).from(self.hop.origins.of_route(&route.config));
                step.details = describe::route(&route.config);
                record.steps.push(step.past(misses));
            }
            None => record.steps.push(Step::new("route", "none").past(misses)),
        }
        Some(Decision { host, host_config, route: chosen })
    }

    /// The routes before the chosen one.
    fn passed(&self, host: &VirtualHost, chosen: Option<&Route>, request: &Request) -> Vec<Miss> {
        host.routes()
            .iter()
            .take_while(|route| chosen.is_none_or(|chosen| !std::ptr::eq(*route, chosen)))
            .take(MISSES)
            .map(|route| Miss {
                name: describe::route_name(&route.config),
                why: miss::route(&route.config.route_match, request),
                origin: self.hop.origins.of_route(&route.config),
            })
            .collect()
    }

    /// The virtual hosts whose names are nearest to the one asked for; all, when they are few.
    fn hosts(
        &self,
        routes: &xds::RouteConfiguration,
        chosen: Option<&str>,
        request: &Request,
    ) -> Vec<Miss> {
        let asked = request.authority.split(':').next().unwrap_or_default();
        let others = || routes.virtual_hosts.iter().filter(|host| chosen != Some(&host.name));
        let names = others().flat_map(|host| host.domains.iter().map(String::as_str));
        let near = miss::nearest(asked, names);
        let few = others().count() <= 3;
        others()
            .filter(|host| few || host.domains.iter().any(|name| near.contains(&name.as_str())))
            .map(|host| Miss {
                name: host.name.clone(),
                why: vec![format!(
                    "the host {asked} is none of {}",
                    describe::some(&host.domains, 3)
                )],
                origin: None,
            })
            .collect()
    }

    /// Runs the filters before the router.
    fn filters(
        &self,
        decision: Option<&Decision<'_>>,
        request: &Request,
        record: &mut Record,
    ) -> Result<Option<Arc<[xds::AlpnOverride]>>, Answer> {
        let mut alpn = None;
        let mut policies = false;
        for (filter, config) in self.manager.filters.iter().zip(&self.config.http_filters) {
            let own = decision.and_then(|decision| decision.per_filter(&config.name));
            match (&config.config, own) {
                (xds::HttpFilterConfig::Rbac(_), Some(xds::PerFilterConfig::Rbac(None))) => {}
                (xds::HttpFilterConfig::Rbac(_), Some(xds::PerFilterConfig::Rbac(Some(rbac))))
                | (xds::HttpFilterConfig::Rbac(rbac), _) => {
                    policies = true;
                    self.authorize(rbac, request, record)?;
                }
                (xds::HttpFilterConfig::Fault(fault), own) => {
                    let fault = match own {
                        Some(xds::PerFilterConfig::Fault(fault)) => fault,
                        _ => fault,
                    };
                    fault::inject(fault, request, record)?;
                }
                (xds::HttpFilterConfig::Cors, Some(xds::PerFilterConfig::Cors(policy))) => {
                    fault::preflight(policy, request, record)?;
                }
                _ => {}
            }
            if let HttpFilter::Alpn(overrides) = filter {
                alpn = Some(Arc::clone(overrides));
            }
        }
        if !policies && !self.principals.is_empty() {
            record.steps.push(Step::new("policy", "no AuthorizationPolicy applies: allowed"));
        }
        Ok(alpn)
    }

    fn authorize(
        &self,
        rbac: &xds::RbacFilter,
        request: &Request,
        record: &mut Record,
    ) -> Result<(), Answer> {
        let mut input = self.hop.input(self.principals);
        input.request = Some(request.info());
        let asked = Asked { input, request: Some(request) };
        match policy::check(rbac, &asked, self.hop.origins, &mut record.steps) {
            Some(answer) => Err(answer),
            None => Ok(()),
        }
    }

    fn act(
        &self,
        route: &Route,
        mut request: Request,
        record: &mut Record,
    ) -> Result<Forward, Answer> {
        let action = match &route.config.action {
            xds::Action::Route(action) => action,
            xds::Action::DirectResponse(response) => {
                record.steps.push(Step::new("answer", format!("{} at once", response.status)));
                let why = match response.status {
                    502 if route.config.name == "block_all" => {
                        "nobody declared this host, and REGISTRY_ONLY lets no others pass"
                    }
                    _ => "the route answers by itself",
                };
                return Err(Answer::refused(response.status, "-", why));
            }
            xds::Action::Redirect(redirect) => {
                let to = describe::location(route, redirect, &request);
                let status = redirect.response_code;
                record.steps.push(Step::new("answer", format!("{status} to {to}")));
                return Err(Answer::refused(status, "-", format!("redirected to {to}")));
            }
            xds::Action::NonForwarding => {
                return Err(Answer::refused(None, "-", "the route forwards nothing"));
            }
        };
        if let Some(path) = route.rewrite_path(&request.path) {
            record.steps.push(Step::new("rewrite", format!("{} becomes {path}", request.path)));
            request.path = path;
        }
        if let xds::HostRewrite::Literal(host) = &action.host_rewrite {
            record.steps.push(Step::new("rewrite", format!("the host becomes {host}")));
            request.authority.clone_from(host);
        }
        apply(&route.config.headers, &mut request);
        let clusters = match &action.cluster {
            xds::ClusterSpecifier::Cluster(name) => vec![Share {
                cluster: name.clone(),
                weight: 1,
                headers: xds::HeaderMutations::default(),
            }],
            xds::ClusterSpecifier::Weighted(list) => list
                .iter()
                .map(|one| Share {
                    cluster: one.name.clone(),
                    weight: one.weight,
                    headers: one.headers.clone(),
                })
                .collect(),
        };
        let not_found = action.cluster_not_found_response_code.unwrap_or(503);
        Ok(Forward { clusters, request, http: true, alpn: None, not_found })
    }
}

impl<'a> Decision<'a> {
    /// A filter's configuration on the route, else on the virtual host.
    fn per_filter(&self, name: &str) -> Option<&'a xds::PerFilterConfig> {
        let route = self.route.and_then(|route| route.config.typed_per_filter_config.get(name));
        route.or_else(|| self.host_config.typed_per_filter_config.get(name))
    }
}

/// Changes a request's headers. Values with operators stay as they are written.
pub(super) fn apply(mutations: &xds::HeaderMutations, request: &mut Request) {
    for name in &mutations.request_remove {
        request.headers.remove(name.as_str());
    }
    for option in &mutations.request_add {
        let name = option.name.parse::<HeaderName>();
        let value = HeaderValue::from_str(&option.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            if option.overwrite {
                request.headers.insert(name, value);
            } else {
                request.headers.append(name, value);
            }
        }
    }
}
