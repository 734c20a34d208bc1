//! The codec between xds values and Envoy's v3 protobuf.
//!
//! Encoding writes what a stock Envoy accepts. Decoding looks at every field of every message: a
//! field is used, ignored and reported, or rejected with its path; never dropped in silence.
//! Defaults are Envoy's, so that what another control plane sends means here what it means there.

mod access_log;
mod address;
mod any;
mod cluster;
mod context;
mod endpoint;
mod http_connection_manager;
mod http_filter;
mod json;
mod listener;
mod matcher;
mod metadata;
mod name_table;
mod network_filter;
mod node;
mod rbac;
mod route;
mod secret;
mod tls;
mod upstream_http;

#[cfg(test)]
mod tests;

pub use json::{JsonError, message_to_json, to_json};

use self::{any::pack, context::Context};
use crate::{Resource, ResourceType};

/// A decoded resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The resource.
    pub resource: Resource,
    /// Paths of fields that are set and have no effect here.
    pub ignored: Vec<String>,
}

/// A resource that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {field}{}{problem}", if field.is_empty() { "" } else { ": " })]
pub struct DecodeError {
    /// The kind and name, such as `listener 0.0.0.0_9080`.
    pub resource: String,
    /// The path of the field, such as `filter_chains[0].filters[1]`; empty: the resource itself.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Encodes a resource as a stock Envoy (or the agent) takes it.
///
/// A value that the protocol cannot express loses that part: a redirect's or missing cluster's
/// status that Envoy's enumerations lack, a host rewrite to the endpoint's name for one cluster of
/// several, options of HTTP/2 for HTTP/1.1, `skip_external_clusters` without propagation, and
/// empty text where empty means unset.
pub fn encode(resource: &Resource) -> pb::Any {
    match resource {
        Resource::Cluster(value) => pack(&cluster::encode(value)),
        Resource::LoadAssignment(value) => pack(&endpoint::encode(value)),
        Resource::Listener(value) => pack(&listener::encode(value)),
        Resource::RouteConfiguration(value) => pack(&route::encode(value)),
        Resource::Secret(value) => pack(&secret::encode(value)),
        Resource::NameTable(value) => pack(&name_table::encode(value)),
    }
}

/// Decodes a resource.
///
/// # Errors
/// When the bytes are not what the type URL says, or when a field is set that would change the
/// meaning and that Mizzen does not know.
pub fn decode(any: &pb::Any) -> Result<Decoded, DecodeError> {
    let Some(kind) = ResourceType::from_type_url(&any.type_url) else {
        return Err(DecodeError {
            resource: "resource".to_owned(),
            field: String::new(),
            problem: format!("type {:?} is not known", any.type_url),
        });
    };
    let cx = &mut Context::new(match kind {
        ResourceType::Cluster => "cluster",
        ResourceType::LoadAssignment => "load assignment",
        ResourceType::Listener => "listener",
        ResourceType::RouteConfiguration => "route configuration",
        ResourceType::Secret => "secret",
        ResourceType::NameTable => "name table",
    });
    let resource = match kind {
        ResourceType::Cluster => Resource::Cluster(Box::new(cluster::decode(cx.open(any)?, cx)?)),
        ResourceType::LoadAssignment => {
            let message: pb::envoy::config::endpoint::v3::ClusterLoadAssignment = cx.open(any)?;
            cx.named(&message.cluster_name);
            Resource::LoadAssignment(endpoint::decode(message, cx)?)
        }
        ResourceType::Listener => {
            Resource::Listener(Box::new(listener::decode(cx.open(any)?, cx)?))
        }
        ResourceType::RouteConfiguration => {
            let message: pb::envoy::config::route::v3::RouteConfiguration = cx.open(any)?;
            cx.named(&message.name);
            Resource::RouteConfiguration(route::decode(message, cx)?)
        }
        ResourceType::Secret => Resource::Secret(secret::decode(cx.open(any)?, cx)?),
        ResourceType::NameTable => Resource::NameTable(name_table::decode(cx.open(any)?, cx)?),
    };
    Ok(Decoded { resource, ignored: std::mem::take(&mut cx.ignored) })
}
