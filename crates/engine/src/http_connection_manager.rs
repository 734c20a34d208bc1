//! HTTP connection managers and their filters, compiled.

use std::sync::Arc;

use crate::{EngineError, Fault, RbacFilter, RouteTable, path::Normalization};

/// A compiled [`xds::HttpConnectionManager`].
#[derive(Debug)]
pub struct HttpConnectionManager {
    /// As it came.
    pub config: xds::HttpConnectionManager,
    /// Where routes come from.
    pub routes: Routes,
    /// HTTP filters in order; the last one is the router.
    pub filters: Vec<HttpFilter>,
    /// How paths are normalised.
    pub normalization: Normalization,
}

/// Where routes come from.
#[derive(Clone, Debug)]
pub enum Routes {
    /// The route configuration of this name in the snapshot.
    Rds(String),
    /// Given with the connection manager.
    Inline(Arc<RouteTable>),
}

/// A compiled [`xds::HttpFilter`].
#[derive(Clone, Debug)]
pub enum HttpFilter {
    /// Sends the request upstream.
    Router(xds::Router),
    /// Delays and aborts.
    Fault {
        /// The name that per-route configurations refer to.
        name: String,
        /// The policy where a route has none.
        fault: Arc<Fault>,
    },
    /// Cross-origin resource sharing, configured by routes.
    Cors {
        /// The name that per-route configurations refer to.
        name: String,
    },
    /// Allows or denies.
    Rbac {
        /// The name that per-route configurations refer to.
        name: String,
        /// The policy where a route has none.
        rbac: Arc<RbacFilter>,
    },
    /// Counts gRPC messages.
    GrpcStats,
    /// Chooses upstream ALPN names.
    Alpn(Arc<[xds::AlpnOverride]>),
    /// Istio's metrics.
    Stats(xds::StatsConfig),
    /// Istio's exchange of peer metadata.
    PeerMetadata(xds::PeerMetadata),
}

impl HttpConnectionManager {
    /// Compiles a connection manager.
    ///
    /// # Errors
    /// When a filter is not known, the router is missing or not last, or a regex is not valid.
    pub fn new(manager: &xds::HttpConnectionManager) -> Result<Self, EngineError> {
        let filters = manager
            .http_filters
            .iter()
            .enumerate()
            .map(|(index, filter)| {
                HttpFilter::new(filter)
                    .map_err(|error| error.within(&format!("http_filters[{index}]")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let routers = filters.iter().filter(|filter| matches!(filter, HttpFilter::Router(_)));
        if routers.count() != 1 || !matches!(filters.last(), Some(HttpFilter::Router(_))) {
            return Err(EngineError::new(
                "http_filters",
                "the router must be there once, and last",
            ));
        }
        let routes = match &manager.route_specifier {
            xds::RouteSpecifier::Rds(name) => Routes::Rds(name.clone()),
            xds::RouteSpecifier::Inline(routes) => Routes::Inline(Arc::new(
                RouteTable::new(routes).map_err(|error| error.within("route_config"))?,
            )),
        };
        let normalization = Normalization {
            normalize: manager.normalize_path,
            merge_slashes: manager.merge_slashes,
            escaped_slashes: manager.escaped_slashes,
        };
        Ok(Self { config: manager.clone(), routes, filters, normalization })
    }
}

impl HttpFilter {
    fn new(filter: &xds::HttpFilter) -> Result<Self, EngineError> {
        let name = filter.name.clone();
        Ok(match &filter.config {
            xds::HttpFilterConfig::Router(router) => Self::Router(*router),
            xds::HttpFilterConfig::Fault(fault) => {
                Self::Fault { name, fault: Arc::new(Fault::new(fault)?) }
            }
            xds::HttpFilterConfig::Cors => Self::Cors { name },
            xds::HttpFilterConfig::Rbac(rbac) => {
                Self::Rbac { name, rbac: Arc::new(RbacFilter::new(rbac)?) }
            }
            xds::HttpFilterConfig::GrpcStats { .. } => Self::GrpcStats,
            xds::HttpFilterConfig::Alpn(overrides) => Self::Alpn(overrides.clone().into()),
            xds::HttpFilterConfig::Stats(stats) => Self::Stats(stats.clone()),
            xds::HttpFilterConfig::PeerMetadata(peer) => Self::PeerMetadata(*peer),
            xds::HttpFilterConfig::Opaque(opaque) => {
                return Err(EngineError::new(
                    "typed_config",
                    format!("HTTP filter {name:?} ({}) is not supported", opaque.type_url),
                ));
            }
        })
    }
}
