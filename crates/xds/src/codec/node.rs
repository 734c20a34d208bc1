//! A proxy's description of itself.

use pb::envoy::{
    config::core::v3::{self as core, BuildVersion, Extension, node::UserAgentVersionType},
    r#type::v3::SemanticVersion,
};

use super::{endpoint, metadata};
use crate::Node;

impl Node {
    /// The node as a message.
    pub fn to_proto(&self) -> core::Node {
        let extension = |name: &String| Extension { name: name.clone(), ..Default::default() };
        let version = (!self.user_agent_version.is_empty())
            .then(|| UserAgentVersionType::UserAgentVersion(self.user_agent_version.clone()));
        core::Node {
            id: self.id.clone(),
            cluster: self.cluster.clone(),
            metadata: (!self.metadata.is_empty()).then(|| metadata::encode_struct(&self.metadata)),
            locality: endpoint::encode_locality(&self.locality),
            user_agent_name: self.user_agent_name.clone(),
            user_agent_version_type: version,
            extensions: self.extensions.iter().map(extension).collect(),
            client_features: self.client_features.clone(),
            ..Default::default()
        }
    }

    /// The node of a message. A build version becomes text; what an extension says of itself
    /// besides its name, dynamic parameters and listening addresses are of no use here.
    pub fn from_proto(node: core::Node) -> Self {
        let user_agent_version = match node.user_agent_version_type {
            Some(UserAgentVersionType::UserAgentVersion(version)) => version,
            Some(UserAgentVersionType::UserAgentBuildVersion(build)) => build_version(build),
            None => String::new(),
        };
        Self {
            id: node.id,
            cluster: node.cluster,
            metadata: metadata::decode_struct(node.metadata.unwrap_or_default()),
            locality: endpoint::decode_locality(node.locality),
            user_agent_name: node.user_agent_name,
            user_agent_version,
            extensions: node.extensions.into_iter().map(|extension| extension.name).collect(),
            client_features: node.client_features,
        }
    }
}

fn build_version(build: BuildVersion) -> String {
    let SemanticVersion { major_number, minor_number, patch } = build.version.unwrap_or_default();
    format!("{major_number}.{minor_number}.{patch}")
}
