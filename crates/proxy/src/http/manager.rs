//! A connection manager with what serving needs besides the engine's decisions.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::{
    access_log::AccessLog,
    snapshot::{ListenerError, Snapshot, compile_logs},
    stats::{HttpStats, Registry},
};

/// Envoy's default of `max_request_headers_kb`.
const DEFAULT_HEADERS_KB: u32 = 60;

/// A connection manager.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(super) engine: Arc<engine::HttpConnectionManager>,
    pub(super) stats: Arc<HttpStats>,
    pub(super) access_logs: Vec<AccessLog>,
    pub(super) log_request_headers: Vec<HeaderName>,
    pub(super) log_response_headers: Vec<HeaderName>,
    /// The `server` header.
    pub(super) server: HeaderValue,
    /// The most header bytes of a request.
    pub(super) max_header_bytes: usize,
    /// Istio's metrics, if their filter is there.
    pub(super) istio: Option<xds::StatsConfig>,
}

/// The `server` header. The usual names are static: cloning them touches no counter that workers
/// share.
fn server_header(name: &str) -> HeaderValue {
    match name {
        "istio-envoy" => HeaderValue::from_static("istio-envoy"),
        "envoy" => HeaderValue::from_static("envoy"),
        other => HeaderValue::from_str(other).unwrap_or_else(|_| HeaderValue::from_static("envoy")),
    }
}

impl Manager {
    /// Compiles a connection manager.
    pub(crate) fn new(
        engine: &Arc<engine::HttpConnectionManager>,
        registry: &Registry,
    ) -> Result<Self, ListenerError> {
        let config = &engine.config;
        let access_logs = compile_logs(&config.access_log)?;
        let unique = |mut names: Vec<HeaderName>| {
            names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            names.dedup();
            names
        };
        let server = if config.server_name.is_empty() { "envoy" } else { &config.server_name };
        let kilobytes = config.max_request_headers_kb.unwrap_or(DEFAULT_HEADERS_KB);
        Ok(Self {
            stats: registry.http(&config.stat_prefix),
            log_request_headers: unique(
                access_logs.iter().flat_map(AccessLog::request_headers).collect(),
            ),
            log_response_headers: unique(
                access_logs.iter().flat_map(AccessLog::response_headers).collect(),
            ),
            access_logs,
            server: server_header(server),
            max_header_bytes: usize::try_from(kilobytes).unwrap_or(60).saturating_mul(1024),
            istio: engine.filters.iter().find_map(|filter| match filter {
                engine::HttpFilter::Stats(config) => Some(config.clone()),
                _ => None,
            }),
            engine: Arc::clone(engine),
        })
    }

    /// The route configuration that it takes from RDS.
    pub(crate) fn rds_name(&self) -> Option<&str> {
        match &self.engine.routes {
            engine::Routes::Rds(name) => Some(name),
            engine::Routes::Inline(_) => None,
        }
    }

    /// The routes that it brings along.
    pub(crate) fn inline_routes(&self) -> Option<&engine::RouteTable> {
        match &self.engine.routes {
            engine::Routes::Rds(_) => None,
            engine::Routes::Inline(table) => Some(table),
        }
    }

    /// The routes of the moment; none: they have not arrived.
    pub(super) fn routes<'a>(&'a self, snapshot: &'a Snapshot) -> Option<&'a engine::RouteTable> {
        match &self.engine.routes {
            engine::Routes::Rds(name) => snapshot.engine.routes.get(name).map(Arc::as_ref),
            engine::Routes::Inline(table) => Some(table),
        }
    }
}
