//! Service: a name, virtual address and ports for a set of pods.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    Protocol,
    value::{Accepted, IntOrString, Unsupported},
};

/// `v1` Service (its spec).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// The type.
    #[serde(rename = "type")]
    pub service_type: ServiceType,
    /// An address, `None` for a headless Service; empty: chosen by [`crate::assign_cluster_ips`].
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// More addresses; the first is `cluster_ip`.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// The ports.
    pub ports: Vec<ServicePort>,
    /// Labels of its pods; empty: its endpoints are managed by hand.
    pub selector: BTreeMap<String, String>,
    /// The DNS name that an ExternalName Service stands for.
    pub external_name: String,
    /// Publish endpoints before they are ready.
    pub publish_not_ready_addresses: bool,
    /// `PreferClose` and the like.
    pub traffic_distribution: Option<Unsupported>,
    /// `Local`: only endpoints of the same node.
    pub internal_traffic_policy: Accepted,
    /// Read and not used: of no effect on one machine.
    pub external_traffic_policy: Accepted,
    /// `None` or `ClientIP`, which has no effect: Istio does not use it.
    pub session_affinity: String,
    /// Read and not used: not used by Istio.
    pub session_affinity_config: Option<Unsupported>,
    /// Read and not used: not used.
    #[serde(rename = "externalIPs")]
    pub external_ips: Option<Unsupported>,
    /// Read and not used: a cloud's business.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: Accepted,
    /// Read and not used: a cloud's business.
    pub load_balancer_source_ranges: Option<Unsupported>,
    /// Read and not used: a cloud's business.
    pub load_balancer_class: Accepted,
    /// Read and not used: a cloud's business.
    pub allocate_load_balancer_node_ports: Accepted,
    /// Read and not used: a cloud's business.
    pub health_check_node_port: Accepted,
    /// IPv4 only for now.
    pub ip_families: Accepted,
    /// IPv4 only for now.
    pub ip_family_policy: Accepted,
}

impl Service {
    /// Whether it has no virtual address by choice.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.service_type != ServiceType::ExternalName && self.cluster_ip == "None"
    }

    /// The port with this number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.port == number)
    }
}

/// A Service's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum ServiceType {
    /// A virtual address.
    #[default]
    ClusterIP,
    /// Also a port of each node.
    NodePort,
    /// Also a cloud's load balancer.
    LoadBalancer,
    /// An alias for a DNS name.
    ExternalName,
}

/// One port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// The name, which also says the protocol (`http-web`).
    pub name: String,
    /// The number that clients use.
    pub port: u16,
    /// The pods' port, by number or by name; absent: `port`.
    pub target_port: Option<IntOrString>,
    /// TCP, UDP or SCTP.
    pub protocol: Transport,
    /// The application protocol; beats the name.
    pub app_protocol: Option<String>,
    /// The node's port; there are no nodes here.
    pub node_port: Accepted,
}

impl ServicePort {
    /// The protocol that Istio sees on it.
    #[must_use]
    pub fn application_protocol(&self) -> Protocol {
        Protocol::of_port(self.port, &self.name, self.app_protocol.as_deref(), self.protocol)
    }
}

/// The transport of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP: passes the mesh by.
    Udp,
    /// SCTP: passes the mesh by.
    Sctp,
}
