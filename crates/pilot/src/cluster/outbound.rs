//! Outbound clusters: one for each port of each service, and one more for each subset.

use config::{MeshConfig, Protocol, networking::H2UpgradePolicy, networking::SimpleLb};
use xds::{
    Cluster, Discovery, NetworkFilter, NetworkFilterConfig, Struct, UpstreamHttpProtocol, Value,
};

use super::{OutboundName, base, istio_metadata, policy, service_metadata, transport};
use crate::{
    Proxy, PushContext,
    destination_rule::{MergedRule, Policy},
    tls::PEER_EXCHANGE,
    world::{Service, ServicePort},
};

/// The outbound clusters of a proxy, by service (oldest first), port and subset.
pub(super) fn clusters(push: &PushContext, proxy: &Proxy) -> Vec<Cluster> {
    let mut clusters = Vec::new();
    for service in push.services(proxy) {
        let rule = push.destination_rules.find(proxy, service);
        for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            let target = Target { push, proxy, service, port, rule };
            clusters.push(target.cluster(None));
            for subset in rule.into_iter().flat_map(|rule| &rule.subsets) {
                clusters.push(target.cluster(Some(&subset.name)));
            }
        }
    }
    clusters
}

/// One port of a service, called by one proxy.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) push: &'a PushContext,
    pub(super) proxy: &'a Proxy,
    pub(super) service: &'a Service,
    pub(super) port: &'a ServicePort,
    pub(super) rule: Option<&'a MergedRule>,
}

impl<'a> Target<'a> {
    fn cluster(self, subset: Option<&str>) -> Cluster {
        let name = OutboundName {
            port: self.port.port,
            subset: subset.unwrap_or_default(),
            host: &self.service.hostname,
        };
        let policy = self.policy(subset);
        let discovery = if is_eds(self.service, self.proxy, policy) {
            Discovery::Eds { service_name: name.to_string() }
        } else {
            Discovery::OriginalDst
        };
        let mut cluster = base(&self.push.world, name.to_string(), discovery);
        cluster.http.protocol = http_protocol(&self.push.world.mesh, self.port.protocol, policy);
        if let Some(pool) = policy.connection_pool {
            policy::apply_connection_pool(&mut cluster, pool);
        }
        policy::apply_load_balancer(&mut cluster, policy.load_balancer);
        policy::apply_outlier_detection(&mut cluster, policy.outlier_detection);
        let user_tls = transport::apply(&mut cluster, self, name, policy.tls);
        cluster.metadata = istio_metadata(self.metadata(subset, user_tls));
        if self.proxy.has_metadata_exchange() {
            cluster.filters.push(NetworkFilter {
                name: "istio.metadata_exchange".to_owned(),
                config: NetworkFilterConfig::MetadataExchange {
                    protocol: PEER_EXCHANGE.to_owned(),
                },
            });
        }
        cluster
    }

    fn policy(self, subset: Option<&str>) -> Policy<'a> {
        let Some(rule) = self.rule else { return Policy::default() };
        rule.policy(self.port.port, subset.and_then(|name| rule.subset(name)))
    }

    fn metadata(self, subset: Option<&str>, user_tls: bool) -> Struct {
        let mut fields = Struct::from([
            ("default_original_port".to_owned(), Value::number(f64::from(self.port.port))),
            ("services".to_owned(), Value::List(vec![service_metadata(self.service)])),
        ]);
        if let Some(rule) = self.rule {
            fields.insert("config".to_owned(), rule.item.config_path());
        }
        if let Some(subset) = subset {
            fields.insert("subset".to_owned(), Value::from(subset));
        }
        if user_tls {
            fields.insert("alpn_override".to_owned(), Value::from("false"));
        }
        fields
    }
}

/// Whether a service's endpoints come over EDS: all but those of headless services (whose clients
/// choose a pod by themselves, except behind a gateway) and of PASSTHROUGH load balancing.
pub(crate) fn is_eds(service: &Service, proxy: &Proxy, policy: Policy<'_>) -> bool {
    let passthrough = policy.load_balancer.and_then(|lb| lb.simple) == Some(SimpleLb::Passthrough);
    !passthrough && (!service.is_headless() || proxy.is_router())
}

fn http_protocol(
    mesh: &MeshConfig,
    protocol: Protocol,
    policy: Policy<'_>,
) -> UpstreamHttpProtocol {
    let http = policy.connection_pool.and_then(|pool| pool.http.as_ref());
    if http.is_some_and(|http| http.use_client_protocol) {
        return UpstreamHttpProtocol::UseDownstream;
    }
    let upgrade = match http.map(|http| http.h2_upgrade_policy).unwrap_or_default() {
        H2UpgradePolicy::Default => mesh.h2_upgrade_policy == H2UpgradePolicy::Upgrade,
        H2UpgradePolicy::DoNotUpgrade => false,
        H2UpgradePolicy::Upgrade => true,
    };
    match protocol {
        Protocol::Auto => UpstreamHttpProtocol::UseDownstream,
        protocol if protocol.is_http2() => UpstreamHttpProtocol::Http2,
        Protocol::Http if upgrade => UpstreamHttpProtocol::Http2,
        _ => UpstreamHttpProtocol::Http1,
    }
}
