//! Outbound clusters: one for each port of each service, and one more for each subset.

use config::{MeshConfig, Protocol, networking::H2UpgradePolicy, networking::SimpleLb};
use xds::{
    Cluster, Discovery, NetworkFilter, NetworkFilterConfig, Struct, UpstreamHttpProtocol, Value,
};

use super::{OutboundName, base, istio_metadata, policy, service_metadata, transport};
use crate::{
    Proxy, PushContext,
    destination_rule::{MergedRule, Policy},
    endpoint::{self, Endpoints},
    gateway::{ServedServer, auto_passthrough},
    tls::PEER_EXCHANGE,
    world::{Resolution, Service, ServicePort},
};

/// The outbound clusters of a proxy, by service (oldest first), port and subset.
pub(super) fn clusters(push: &PushContext, proxy: &Proxy) -> Vec<Cluster> {
    let mut clusters = Vec::new();
    for scoped in push.scope(proxy).services() {
        let service = &scoped.service;
        let rule = push.destination_rules.find(proxy, service);
        for port in scoped.ports().filter(|port| port.protocol != Protocol::Udp) {
            let target = Target { push, proxy, service, port, rule };
            clusters.extend(target.cluster(None));
            for subset in rule.into_iter().flat_map(|rule| &rule.subsets) {
                clusters.extend(target.cluster(Some(&subset.name)));
            }
        }
    }
    clusters
}

/// The clusters behind a gateway that forwards mesh TLS by server name, called by that name: the
/// TLS that passes through is the client's, so they have none of their own.
pub(super) fn sni_clusters(push: &PushContext, proxy: &Proxy) -> Vec<Cluster> {
    let servers = auto_passthrough(push, proxy);
    if servers.is_empty() {
        return Vec::new();
    }
    let mut clusters = Vec::new();
    for service in push.services(proxy) {
        let wanted = |server: &ServedServer<'_>| {
            server.common_hosts(&service.namespace, &service.hostname).next().is_some()
        };
        if !servers.iter().any(wanted) {
            continue;
        }
        for name in sni_names(push, proxy, service) {
            let Some(parts) = OutboundName::parse_sni(&name) else { continue };
            let Some(port) = service.port(parts.port) else { continue };
            let rule = push.destination_rules.find(proxy, service);
            let target = Target { push, proxy, service, port, rule };
            let subset = Some(parts.subset).filter(|subset| !subset.is_empty());
            let Some(mut cluster) = target.cluster(subset) else { continue };
            cluster.name.clone_from(&name);
            cluster.alt_stat_name = format!("{name};");
            cluster.discovery = Discovery::Eds { service_name: name.clone() };
            cluster.transport_socket = None;
            cluster.transport_socket_matches.clear();
            cluster.filters.clear();
            clusters.push(cluster);
        }
    }
    clusters
}

/// The mesh's server names of a service's ports and subsets, those whose endpoints are known.
pub(crate) fn sni_names(push: &PushContext, proxy: &Proxy, service: &Service) -> Vec<String> {
    let rule = push.destination_rules.find(proxy, service);
    let subsets = rule.into_iter().flat_map(|rule| &rule.subsets);
    let subsets: Vec<&str> =
        std::iter::once("").chain(subsets.map(|subset| subset.name.as_str())).collect();
    let ports = service.ports.iter().filter(|port| port.protocol != Protocol::Udp);
    let mut names = Vec::new();
    for port in ports {
        let target = Target { push, proxy, service, port, rule };
        for subset in &subsets {
            let policy = target.policy(Some(*subset).filter(|subset| !subset.is_empty()));
            if is_eds(service, proxy, policy) {
                let name = OutboundName { port: port.port, subset, host: &service.hostname };
                names.push(name.sni());
            }
        }
    }
    names
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
    /// The cluster; none where its names are to be resolved and there are none.
    fn cluster(self, subset: Option<&str>) -> Option<Cluster> {
        let name = OutboundName {
            port: self.port.port,
            subset: subset.unwrap_or_default(),
            host: &self.service.hostname,
        };
        let policy = self.policy(subset);
        let discovery = self.discovery(&name.to_string(), subset, policy)?;
        let mut cluster = base(&self.push.world, name.to_string(), discovery);
        cluster.http.protocol = http_protocol(&self.push.world.mesh, self.port.protocol, policy);
        if let Some(pool) = policy.connection_pool {
            policy::apply_connection_pool(&mut cluster, pool);
        }
        policy::apply_load_balancer(&mut cluster, policy.load_balancer);
        let outliers = policy.outlier_detection;
        policy::apply_locality(&mut cluster, policy.load_balancer, outliers.is_some());
        policy::apply_outlier_detection(&mut cluster, outliers);
        policy::apply_retry_budget(&mut cluster, policy.retry_budget);
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
        Some(cluster)
    }

    fn discovery(self, name: &str, subset: Option<&str>, policy: Policy<'_>) -> Option<Discovery> {
        if is_eds(self.service, self.proxy, policy) {
            return Some(Discovery::Eds { service_name: name.to_owned() });
        }
        if is_passthrough(policy) {
            return Some(Discovery::OriginalDst);
        }
        let single = match self.service.resolution {
            Resolution::StrictDns => false,
            Resolution::LogicalDns => true,
            Resolution::Endpoints | Resolution::OriginalDst => return Some(Discovery::OriginalDst),
        };
        let subset = subset.and_then(|name| self.rule?.subset(name));
        let wanted =
            Endpoints { service: self.service, port: self.port, subset, policy, only_mtls: false };
        let mut hosts = endpoint::assignment(self.push, self.proxy, name, &wanted);
        if single {
            // A LOGICAL_DNS cluster has exactly one.
            hosts.localities.truncate(1);
            hosts.localities.iter_mut().for_each(|locality| locality.endpoints.truncate(1));
        }
        let empty = hosts.localities.iter().all(|locality| locality.endpoints.is_empty());
        match (empty, single) {
            (true, _) => None,
            (false, true) => Some(Discovery::LogicalDns(hosts)),
            (false, false) => Some(Discovery::StrictDns(hosts)),
        }
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
        if self.service.external {
            fields.insert("external".to_owned(), Value::Bool(true));
        }
        if user_tls {
            fields.insert("alpn_override".to_owned(), Value::from("false"));
        }
        fields
    }
}

fn is_passthrough(policy: Policy<'_>) -> bool {
    policy.load_balancer.and_then(|lb| lb.simple) == Some(SimpleLb::Passthrough)
}

/// Whether a service's endpoints come over EDS: all but those of headless services (whose clients
/// choose a pod by themselves, except behind a gateway) and of PASSTHROUGH load balancing.
pub(crate) fn is_eds(service: &Service, proxy: &Proxy, policy: Policy<'_>) -> bool {
    !is_passthrough(policy)
        && service.resolution == Resolution::Endpoints
        && (!service.is_headless() || proxy.is_router())
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
