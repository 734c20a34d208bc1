//! The kinds of resources, and a resource of any kind.

use crate::{Cluster, Listener, LoadAssignment, NameTable, RouteConfiguration, Secret};

/// A resource's type, in the order in which a control plane sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// `envoy.config.cluster.v3.Cluster` (CDS)
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS)
    LoadAssignment,
    /// `envoy.config.listener.v3.Listener` (LDS)
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS)
    RouteConfiguration,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS)
    Secret,
    /// `istio.networking.nds.v1.NameTable` (NDS)
    NameTable,
}

impl ResourceType {
    /// All types, in the order in which a control plane sends them.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::LoadAssignment,
        Self::Listener,
        Self::RouteConfiguration,
        Self::Secret,
        Self::NameTable,
    ];

    /// The type URL on the wire.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::LoadAssignment => {
                "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
            }
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => {
                "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
            }
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::NameTable => "type.googleapis.com/istio.networking.nds.v1.NameTable",
        }
    }

    /// The type of a type URL.
    pub fn from_type_url(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// Whether a client without an explicit subscription gets all resources of the type.
    pub const fn has_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener | Self::NameTable)
    }
}

/// A resource of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// CDS
    Cluster(Box<Cluster>),
    /// EDS
    LoadAssignment(LoadAssignment),
    /// LDS
    Listener(Box<Listener>),
    /// RDS
    RouteConfiguration(RouteConfiguration),
    /// SDS
    Secret(Secret),
    /// NDS
    NameTable(NameTable),
}

impl Resource {
    /// The resource's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster(cluster) => &cluster.name,
            Self::LoadAssignment(assignment) => &assignment.cluster_name,
            Self::Listener(listener) => &listener.name,
            Self::RouteConfiguration(routes) => &routes.name,
            Self::Secret(secret) => &secret.name,
            Self::NameTable(_) => "",
        }
    }

    /// The resource's type.
    pub fn resource_type(&self) -> ResourceType {
        match self {
            Self::Cluster(_) => ResourceType::Cluster,
            Self::LoadAssignment(_) => ResourceType::LoadAssignment,
            Self::Listener(_) => ResourceType::Listener,
            Self::RouteConfiguration(_) => ResourceType::RouteConfiguration,
            Self::Secret(_) => ResourceType::Secret,
            Self::NameTable(_) => ResourceType::NameTable,
        }
    }
}
