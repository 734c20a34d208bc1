//! Clusters, compiled: the resource, its hosts and its detector.

use std::sync::Arc;

use crate::{EngineError, Host, HostSet, OutlierDetection};

/// A compiled [`xds::Cluster`].
#[derive(Clone, Debug)]
pub struct Cluster {
    /// As it came.
    pub config: Arc<xds::Cluster>,
    /// Its hosts now.
    pub hosts: Arc<HostSet>,
    /// When hosts are ejected.
    pub outlier_detection: Option<Arc<OutlierDetection>>,
}

/// The transport to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport<'a> {
    /// The match that chose it; empty: the cluster's own transport socket.
    pub name: &'a str,
    /// TLS; none: plaintext.
    pub tls: Option<&'a xds::UpstreamTls>,
}

impl Cluster {
    /// Compiles a cluster, with the hosts that it brings along; hosts of EDS come by
    /// [`Cluster::with_hosts`].
    ///
    /// # Errors
    /// When the load balancer does not fit the discovery, or the Maglev table's size is no prime.
    pub fn new(cluster: xds::Cluster) -> Result<Self, EngineError> {
        let original_dst = cluster.discovery == xds::Discovery::OriginalDst;
        if original_dst != (cluster.lb_policy == xds::LbPolicy::ClusterProvided) {
            return Err(EngineError::new(
                "lb_policy",
                "ORIGINAL_DST clusters and only they have the policy CLUSTER_PROVIDED",
            ));
        }
        if let xds::LbPolicy::Maglev { table_size: Some(size) } = cluster.lb_policy
            && !(size <= 5_000_011 && is_prime(size))
        {
            return Err(EngineError::new(
                "maglev_lb_config.table_size",
                format!("{size} is not a prime of at most 5000011"),
            ));
        }
        let hosts = match &cluster.discovery {
            xds::Discovery::Static(assignment) => HostSet::new(assignment, &HostSet::default()),
            _ => HostSet::default(),
        };
        let outlier_detection = cluster
            .outlier_detection
            .as_ref()
            .map(|config| Arc::new(OutlierDetection::new(config)));
        Ok(Self { config: Arc::new(cluster), hosts: Arc::new(hosts), outlier_detection })
    }

    /// The same cluster with the hosts of a load assignment; hosts keep what was learned of them.
    #[must_use]
    pub fn with_hosts(&self, assignment: &xds::LoadAssignment) -> Self {
        Self { hosts: Arc::new(HostSet::new(assignment, &self.hosts)), ..self.clone() }
    }

    /// The name under which EDS serves its hosts; none: they do not come from EDS.
    pub fn eds_name(&self) -> Option<&str> {
        match &self.config.discovery {
            xds::Discovery::Eds { service_name } if service_name.is_empty() => {
                Some(&self.config.name)
            }
            xds::Discovery::Eds { service_name } => Some(service_name),
            _ => None,
        }
    }

    /// The transport to a host: the first match on its metadata, else the cluster's own. Without a
    /// host (original destination) only matches without criteria count.
    pub fn transport(&self, host: Option<&Host>) -> Transport<'_> {
        let fields =
            host.and_then(|host| host.endpoint.metadata.0.get("envoy.transport_socket_match"));
        let chosen = self.config.transport_socket_matches.iter().find(|candidate| {
            candidate.criteria.iter().all(|(key, wanted)| {
                let value = fields.and_then(|fields| fields.get(key)).and_then(xds::Value::as_str);
                value == Some(wanted)
            })
        });
        match chosen {
            Some(chosen) => Transport { name: &chosen.name, tls: chosen.transport_socket.as_ref() },
            None => Transport { name: "", tls: self.config.transport_socket.as_ref() },
        }
    }
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..).take_while(|factor| factor * factor <= number).all(|f| !number.is_multiple_of(f))
}
