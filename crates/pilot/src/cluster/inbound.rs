//! Inbound clusters: one for each of the workload's ports behind a service or in its Sidecar. Calls
//! go to where they were going or to where the Sidecar says, from a source address that capture
//! lets through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::{InboundTrafficPolicyMode, Protocol, networking::ConnectionPoolSettings};
use xds::{
    Address, BindConfig, Cluster, Discovery, Endpoint, HealthStatus, LbPolicy, LoadAssignment,
    LocalityEndpoints, Metadata, Struct, UpstreamHttpProtocol, Value,
};

use super::{INBOUND_PASSTHROUGH, base, inbound_name, istio_metadata, policy, service_metadata};
use crate::{
    Proxy, PushContext, World,
    listener::{InboundPort, inbound_ports},
};

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix://";

/// The inbound clusters of a sidecar, by port.
pub(super) fn clusters(push: &PushContext, proxy: &Proxy) -> Vec<Cluster> {
    inbound_ports(push, proxy).values().map(|port| cluster(push, proxy, port)).collect()
}

fn cluster(push: &PushContext, proxy: &Proxy, inbound: &InboundPort<'_>) -> Cluster {
    let name = inbound_name(inbound.target_port);
    let mut cluster = base(&push.world, name.clone(), discovery(push, proxy, inbound, &name));
    cluster.lb_policy = match cluster.discovery {
        Discovery::OriginalDst => LbPolicy::ClusterProvided,
        _ => LbPolicy::RoundRobin,
    };
    if !inbound.ingress.is_some_and(|ingress| ingress.default_endpoint.starts_with(UNIX)) {
        cluster.bind = Some(source(proxy));
    }
    cluster.http.protocol = match inbound.protocol {
        Protocol::Auto => UpstreamHttpProtocol::UseDownstream,
        protocol if protocol.is_http2() => UpstreamHttpProtocol::Http2,
        _ => UpstreamHttpProtocol::Http1,
    };
    if let Some(pool) = connection_pool(push, proxy, inbound) {
        let protocol = cluster.http.protocol;
        policy::apply_connection_pool(&mut cluster, pool);
        cluster.http.protocol = protocol;
    }
    let services = inbound.services.iter().map(|service| service_metadata(service)).collect();
    cluster.metadata =
        istio_metadata(Struct::from([("services".to_owned(), Value::List(services))]));
    cluster
}

/// The limits of connections to the workload: the Sidecar's for the port, then its own for all, then
/// those of the service's rule.
fn connection_pool<'a>(
    push: &'a PushContext,
    proxy: &'a Proxy,
    inbound: &InboundPort<'a>,
) -> Option<&'a ConnectionPoolSettings> {
    let by_port = inbound.ingress.and_then(|ingress| ingress.connection_pool.as_ref());
    let sidecar = push.scope(proxy).sidecar.as_deref();
    let by_sidecar = sidecar.and_then(|item| item.spec.inbound_connection_pool.as_ref());
    let by_rule = || {
        let (service, port) = inbound.owner?;
        let rule = push.destination_rules.find(proxy, service)?;
        // A rule with a selector is about clients.
        let general = rule.item.spec.workload_selector.is_none();
        general.then(|| rule.policy(port.port, None).connection_pool).flatten()
    };
    by_port.or(by_sidecar).or_else(by_rule)
}

/// Where the application is.
fn discovery(
    push: &PushContext,
    proxy: &Proxy,
    inbound: &InboundPort<'_>,
    name: &str,
) -> Discovery {
    let text = inbound.ingress.map_or("", |ingress| ingress.default_endpoint.as_str());
    if let Some(path) = text.strip_prefix(UNIX) {
        return at(name, Address::Pipe(path.to_owned()));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => {
            let own = proxy.ips.first().copied().filter(|_| address.ip().is_unspecified());
            at(name, Address::socket(own.unwrap_or(address.ip()), address.port()))
        }
        // The listener has the workload's address: the application has the loopback.
        Err(_) if inbound.is_bound() => loopback(name, inbound.target_port),
        Err(_) => match push.world.mesh.inbound_traffic_policy.mode {
            InboundTrafficPolicyMode::Passthrough => Discovery::OriginalDst,
            InboundTrafficPolicyMode::Localhost => loopback(name, inbound.target_port),
        },
    }
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
    at(name, Address::socket(Ipv4Addr::LOCALHOST, port))
}

fn at(name: &str, address: Address) -> Discovery {
    let endpoint = Endpoint {
        address,
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
