//! Inbound clusters: one for each of the workload's ports behind a service. Calls go to where they
//! were going, from a source address that capture lets through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::{InboundTrafficPolicyMode, Protocol};
use xds::{
    Address, BindConfig, Cluster, Discovery, Endpoint, HealthStatus, LbPolicy, LoadAssignment,
    LocalityEndpoints, Metadata, Struct, UpstreamHttpProtocol, Value,
};

use super::{INBOUND_PASSTHROUGH, base, inbound_name, istio_metadata, policy, service_metadata};
use crate::{
    Proxy, PushContext, World,
    listener::{InboundPort, inbound_ports},
};

/// The inbound clusters of a sidecar, by port.
pub(super) fn clusters(push: &PushContext, proxy: &Proxy) -> Vec<Cluster> {
    inbound_ports(push, proxy).values().map(|port| cluster(push, proxy, port)).collect()
}

fn cluster(push: &PushContext, proxy: &Proxy, inbound: &InboundPort<'_>) -> Cluster {
    let name = inbound_name(inbound.target_port);
    let discovery = match push.world.mesh.inbound_traffic_policy.mode {
        InboundTrafficPolicyMode::Passthrough => Discovery::OriginalDst,
        InboundTrafficPolicyMode::Localhost => loopback(&name, inbound.target_port),
    };
    let mut cluster = base(&push.world, name, discovery);
    cluster.lb_policy = match cluster.discovery {
        Discovery::OriginalDst => LbPolicy::ClusterProvided,
        _ => LbPolicy::RoundRobin,
    };
    cluster.bind = Some(source(proxy));
    cluster.http.protocol = match inbound.port.protocol {
        Protocol::Auto => UpstreamHttpProtocol::UseDownstream,
        protocol if protocol.is_http2() => UpstreamHttpProtocol::Http2,
        _ => UpstreamHttpProtocol::Http1,
    };
    let rule = push.destination_rules.find(proxy, inbound.service);
    // A rule with a selector is about clients.
    let rule = rule.filter(|rule| rule.item.spec.workload_selector.is_none());
    let rule_policy = rule.map(|rule| rule.policy(inbound.port.port, None));
    if let Some(pool) = rule_policy.and_then(|policy| policy.connection_pool) {
        let protocol = cluster.http.protocol;
        policy::apply_connection_pool(&mut cluster, pool);
        cluster.http.protocol = protocol;
    }
    let services = inbound.services.iter().map(|service| service_metadata(service)).collect();
    cluster.metadata =
        istio_metadata(Struct::from([("services".to_owned(), Value::List(services))]));
    cluster
}

/// The cluster for ports that no service is behind.
pub(super) fn passthrough(world: &World, proxy: &Proxy) -> Cluster {
    let mut cluster = base(world, INBOUND_PASSTHROUGH.to_owned(), Discovery::OriginalDst);
    cluster.alt_stat_name.clear();
    cluster.bind = Some(source(proxy));
    cluster.http.protocol = UpstreamHttpProtocol::UseDownstream;
    cluster
}

/// The source address by which capture knows the sidecar's calls to its own workload.
fn source(proxy: &Proxy) -> BindConfig {
    let ipv6 = proxy.ips.first().is_some_and(IpAddr::is_ipv6);
    let ip: IpAddr = if ipv6 {
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6).into()
    } else {
        Ipv4Addr::new(127, 0, 0, 6).into()
    };
    BindConfig { source_address: Some(ip), socket_options: Vec::new() }
}

fn loopback(name: &str, port: u16) -> Discovery {
    let endpoint = Endpoint {
        address: Address::socket(Ipv4Addr::LOCALHOST, port),
        health_status: HealthStatus::Unknown,
        load_balancing_weight: None,
        metadata: Metadata::default(),
    };
    let locality = LocalityEndpoints { endpoints: vec![endpoint], ..LocalityEndpoints::default() };
    Discovery::Static(LoadAssignment {
        cluster_name: name.to_owned(),
        localities: vec![locality],
        overprovisioning_factor: None,
    })
}
