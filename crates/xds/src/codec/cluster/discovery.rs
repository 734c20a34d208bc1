//! Where a cluster's endpoints come from.

use pb::envoy::config::{
    cluster::v3::{
        self as cluster,
        cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig},
    },
    endpoint::v3::ClusterLoadAssignment,
};

use crate::{
    Discovery, LoadAssignment,
    codec::{
        any,
        context::{Context, Result},
        endpoint,
    },
};

pub(super) fn encode(value: &Discovery, message: &mut cluster::Cluster) {
    let kind = match value {
        Discovery::Static(assignment) => {
            message.load_assignment = Some(endpoint::encode(assignment));
            DiscoveryType::Static
        }
        Discovery::Eds { service_name } => {
            message.eds_cluster_config = Some(EdsClusterConfig {
                eds_config: Some(any::ads()),
                service_name: service_name.clone(),
            });
            DiscoveryType::Eds
        }
        Discovery::StrictDns(assignment) => {
            encode_dns(assignment, message);
            DiscoveryType::StrictDns
        }
        Discovery::LogicalDns(assignment) => {
            encode_dns(assignment, message);
            DiscoveryType::LogicalDns
        }
        Discovery::OriginalDst => DiscoveryType::OriginalDst,
    };
    message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
}

/// IPv4 where there is some: a machine without a way to IPv6 often still gets AAAA records.
fn encode_dns(assignment: &LoadAssignment, message: &mut cluster::Cluster) {
    message.load_assignment = Some(endpoint::encode(assignment));
    message.dns_lookup_family = DnsLookupFamily::V4Preferred.into();
}

/// Names are always resolved as [`encode_dns`] asks for, and their time to live respected; other
/// wishes are reported.
pub(super) fn note_dns(family: i32, cx: &mut Context) -> Result<()> {
    let family: DnsLookupFamily = cx.enumeration("dns_lookup_family", family)?;
    if !matches!(family, DnsLookupFamily::Auto | DnsLookupFamily::V4Preferred) {
        cx.ignore("dns_lookup_family");
    }
    Ok(())
}

/// The fields that say where endpoints come from.
pub(super) struct Messages<'a> {
    pub(super) name: &'a str,
    pub(super) discovery_type: Option<ClusterDiscoveryType>,
    pub(super) eds: Option<EdsClusterConfig>,
    pub(super) load_assignment: Option<ClusterLoadAssignment>,
}

impl Messages<'_> {
    pub(super) fn decode(self, cx: &mut Context) -> Result<Discovery> {
        let kind = match self.discovery_type {
            None => DiscoveryType::Static,
            Some(ClusterDiscoveryType::Type(kind)) => cx.enumeration("type", kind)?,
            Some(ClusterDiscoveryType::ClusterType(custom)) => {
                return cx.fail_at("cluster_type", format!("{} is not supported", custom.name));
            }
        };
        if kind != DiscoveryType::Eds {
            cx.ignored("eds_cluster_config", &self.eds);
        }
        match kind {
            DiscoveryType::Static => Ok(Discovery::Static(self.assignment(cx)?)),
            DiscoveryType::StrictDns => Ok(Discovery::StrictDns(self.assignment(cx)?)),
            DiscoveryType::LogicalDns => Ok(Discovery::LogicalDns(self.assignment(cx)?)),
            DiscoveryType::Eds => {
                cx.unsupported("load_assignment", &self.load_assignment)?;
                let service_name = cx.required("eds_cluster_config", self.eds, decode_eds)?;
                Ok(Discovery::Eds { service_name })
            }
            DiscoveryType::OriginalDst => {
                cx.unsupported("load_assignment", &self.load_assignment)?;
                Ok(Discovery::OriginalDst)
            }
        }
    }

    /// Endpoints that stand in the cluster; there may be none.
    fn assignment(self, cx: &mut Context) -> Result<LoadAssignment> {
        match self.load_assignment {
            Some(assignment) => cx.at("load_assignment", |cx| endpoint::decode(assignment, cx)),
            None => Ok(LoadAssignment { cluster_name: self.name.to_owned(), ..Default::default() }),
        }
    }
}

fn decode_eds(message: EdsClusterConfig, cx: &mut Context) -> Result<String> {
    let EdsClusterConfig { eds_config, service_name } = message;
    cx.required("eds_config", eds_config, any::decode_ads)?;
    Ok(service_name)
}
