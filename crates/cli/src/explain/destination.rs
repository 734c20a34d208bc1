//! Clusters and their endpoints: which there are, which are used, and what becomes of a call there.

use std::net::SocketAddr;

use engine::{Balancer, Cluster, Pick};

use super::arrive::{Delivery, Wire};
use super::call::Request;
use super::hop::{Forward, Share};
use super::journey::{Answer, Destination, Endpoint, Step};
use super::travel::{FOLLOWED, Sender, Travel};
use super::{describe, http};

impl Travel<'_> {
    /// To all clusters that a proxy may choose.
    pub(super) fn send(
        &self,
        sender: &Sender<'_>,
        forward: &Forward,
    ) -> anyhow::Result<Vec<Destination>> {
        let total: u32 = forward.clusters.iter().map(|share| share.weight).sum();
        let shares = forward.clusters.iter().filter(|share| share.weight > 0);
        shares
            .map(|share| {
                let percent = f64::from(share.weight) * 100.0 / f64::from(total.max(1));
                self.cluster(sender, forward, share)
                    .map(|destination| Destination { percent, ..destination })
            })
            .collect()
    }

    fn cluster(
        &self,
        sender: &Sender<'_>,
        forward: &Forward,
        share: &Share,
    ) -> anyhow::Result<Destination> {
        let mut destination = Destination {
            cluster: share.cluster.clone(),
            subset: subset(&share.cluster),
            percent: 100.0,
            endpoints: Vec::new(),
            answer: Answer::refused(None, "-", ""),
            steps: Vec::new(),
        };
        let Some(cluster) = sender.configured.snapshot.clusters.get(&share.cluster) else {
            destination.answer = self.no_cluster(forward, &share.cluster);
            destination.steps.push(Step::new("cluster", &*share.cluster).detail("it is not there"));
            return Ok(destination);
        };
        let mut step =
            Step::new("cluster", &*share.cluster).from(self.origins().of_cluster(&cluster.config));
        step.details = describe::cluster(&cluster.config);
        destination.steps.push(step);
        let mut request = forward.request.clone();
        http::apply(&share.headers, &mut request);
        destination.endpoints = match cluster.config.discovery {
            xds::Discovery::OriginalDst => {
                vec![self.original(sender, forward, cluster, &request)?]
            }
            _ => self.endpoints(sender, forward, cluster, &request)?,
        };
        destination.answer = match destination.endpoints.iter().find(|one| one.is_used()) {
            Some(used) => {
                let mut answer = used.answer.clone();
                let alike = |one: &Endpoint| one.answer.served == answer.served;
                if !destination.endpoints.iter().filter(|one| one.is_used()).all(alike) {
                    answer.reason += "; other endpoints of the cluster answer differently";
                }
                answer
            }
            None => {
                let status = forward.http.then_some(503);
                Answer::refused(status, "UH", self.no_endpoint(cluster, &share.cluster))
            }
        };
        Ok(destination)
    }

    fn no_cluster(&self, forward: &Forward, cluster: &str) -> Answer {
        let parts: Vec<&str> = cluster.split('|').collect();
        let why = match parts[..] {
            [_, port, "", host] => {
                format!("there is no cluster {cluster}: no Service {host} has a port {port}")
            }
            [_, _, subset, host] => format!(
                "there is no cluster {cluster}: no DestinationRule of {host} has a subset {subset}"
            ),
            _ => format!("there is no cluster {cluster}"),
        };
        Answer::refused(forward.http.then_some(forward.not_found), "NC", why)
    }

    fn no_endpoint(&self, cluster: &Cluster, name: &str) -> String {
        if name == "BlackHoleCluster" {
            return "nobody declared this destination, and REGISTRY_ONLY lets no others pass"
                .to_owned();
        }
        match (cluster.hosts.hosts().count(), subset(name)) {
            (0, Some(subset)) => format!("no pod has the labels of the subset {subset}"),
            (0, None) => "the cluster has no endpoints".to_owned(),
            (count, _) => format!("none of the {count} endpoints is healthy"),
        }
    }

    /// The endpoints of a cluster, each followed to its end.
    fn endpoints(
        &self,
        sender: &Sender<'_>,
        forward: &Forward,
        cluster: &Cluster,
        request: &Request,
    ) -> anyhow::Result<Vec<Endpoint>> {
        let mut random = || 0;
        let mut pick = Pick { random: &mut random, hash: None, avoid: &|_| false, attempts: 0 };
        let chosen = Balancer::new(&cluster.config).pick(&cluster.hosts, &mut pick);
        // Where too few are healthy, those that are not are used all the same.
        let panics = chosen.as_ref().is_some_and(|host| !host.is_healthy());
        let mut followed = 0;
        let hosts = cluster.hosts.hosts();
        hosts
            .map(|host| {
                let address = match host.endpoint.address {
                    xds::Address::Socket { ip, port } => Some(SocketAddr::new(ip, port)),
                    _ => None,
                };
                let used = chosen.is_some() && (host.is_healthy() || panics);
                let tls = cluster.transport(Some(host)).tls;
                let wire = self.wire(forward, cluster, tls);
                let mut delivery = Delivery {
                    source: sender.party,
                    address,
                    shown: host.endpoint.address.to_string(),
                    health: health(host.endpoint.health_status),
                    wire,
                    request,
                    http: forward.http,
                    not_used: None,
                };
                if !used {
                    delivery.not_used = Some("it is not healthy");
                } else if followed >= FOLLOWED {
                    delivery.not_used = Some("not followed");
                }
                followed += 1;
                self.deliver(delivery)
            })
            .collect()
    }

    /// The place that the client meant.
    fn original(
        &self,
        sender: &Sender<'_>,
        forward: &Forward,
        cluster: &Cluster,
        request: &Request,
    ) -> anyhow::Result<Endpoint> {
        let tls = cluster.transport(None).tls;
        let delivery = Delivery {
            source: sender.party,
            address: Some(sender.destination),
            shown: sender.destination.to_string(),
            health: "unknown",
            wire: self.wire(forward, cluster, tls),
            request,
            http: forward.http,
            not_used: None,
        };
        if let Some(service) = sender.service.as_deref()
            && self.mesh.at(sender.destination.ip()).is_none()
        {
            let why = self.dead_address(service);
            let mut endpoint =
                self.deliver(Delivery { not_used: Some("a virtual address"), ..delivery })?;
            endpoint.answer = Answer::refused(forward.http.then_some(503), "UF", why);
            endpoint.health = "unreachable".to_owned();
            return Ok(endpoint);
        }
        self.deliver(delivery)
    }

    fn wire(&self, forward: &Forward, cluster: &Cluster, tls: Option<&xds::UpstreamTls>) -> Wire {
        let http2 = cluster.config.http.protocol == xds::UpstreamHttpProtocol::Http2;
        let overridden = cluster.config.metadata.get("istio", "alpn_override").is_none();
        let alpn = forward.alpn.as_deref().filter(|_| overridden);
        Wire::new(self.call, tls, alpn, http2)
    }
}

impl Endpoint {
    fn is_used(&self) -> bool {
        self.health != NOT_USED
    }
}

/// How an endpoint is called that calls do not go to.
pub(super) const NOT_USED: &str = "not used";

fn health(status: xds::HealthStatus) -> &'static str {
    match status {
        xds::HealthStatus::Unknown | xds::HealthStatus::Healthy => "healthy",
        xds::HealthStatus::Unhealthy => "unhealthy",
        xds::HealthStatus::Draining => "draining",
        xds::HealthStatus::Degraded => "degraded",
    }
}

/// The subset in a cluster's name.
fn subset(cluster: &str) -> Option<String> {
    let subset = cluster.split('|').nth(2)?;
    (!subset.is_empty()).then(|| subset.to_owned())
}
