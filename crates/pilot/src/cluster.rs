//! The clusters of one proxy, in Istio's names and shapes.

mod inbound;
mod name;
mod outbound;
mod policy;
mod transport;

use std::{collections::BTreeMap, time::Duration};

use xds::{
    BindConfig, CircuitBreakers, Cluster, Discovery, LbPolicy, LoadAssignment, Metadata,
    SocketOption, Struct, UpstreamHttp, UpstreamHttpProtocol, Value,
};

pub(crate) use name::{OutboundName, inbound_name};
pub(crate) use outbound::{is_eds, sni_names};
pub(crate) use policy::hash_policy;

use crate::{Proxy, PushContext, World, world::Service};

/// Where an outbound sidecar sends what it does not know.
pub(crate) const PASSTHROUGH: &str = "PassthroughCluster";
/// Where connections end that must not go anywhere.
pub(crate) const BLACK_HOLE: &str = "BlackHoleCluster";
/// Where an inbound sidecar sends what no service is behind.
pub(crate) const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

/// All clusters of a proxy: outbound ones by service, then inbound ones by port, then fixed ones.
pub(crate) fn clusters(push: &PushContext, proxy: &Proxy) -> Vec<Cluster> {
    let mut clusters = outbound::clusters(push, proxy);
    if proxy.is_router() {
        clusters.extend(outbound::sni_clusters(push, proxy));
        clusters.push(black_hole(&push.world));
    } else {
        clusters.extend(inbound::clusters(push, proxy));
        clusters.push(black_hole(&push.world));
        clusters.push(passthrough(&push.world));
        clusters.push(inbound::passthrough(&push.world, proxy));
    }
    if let Some(mark) = proxy.socket_mark {
        for cluster in &mut clusters {
            set_mark(cluster, mark);
        }
    }
    clusters
}

/// A cluster with Istio's defaults: no limits, health always regarded, two choices.
fn base(world: &World, name: String, discovery: Discovery) -> Cluster {
    let lb_policy = match discovery {
        Discovery::OriginalDst => LbPolicy::ClusterProvided,
        _ => LbPolicy::LeastRequest { choice_count: None },
    };
    Cluster {
        alt_stat_name: format!("{name};"),
        name,
        discovery,
        connect_timeout: world.mesh.connect_timeout(),
        lb_policy,
        healthy_panic_threshold: Some(0),
        locality_weighted: false,
        circuit_breakers: unlimited(),
        outlier_detection: None,
        transport_socket: None,
        transport_socket_matches: Vec::new(),
        http: UpstreamHttp::default(),
        bind: None,
        tcp_keepalive: world.mesh.tcp_keepalive.as_ref().map(policy::keepalive),
        filters: Vec::new(),
        metadata: Metadata::default(),
    }
}

fn unlimited() -> CircuitBreakers {
    CircuitBreakers {
        max_connections: Some(u32::MAX),
        max_pending_requests: Some(u32::MAX),
        max_requests: Some(u32::MAX),
        max_retries: Some(u32::MAX),
        retry_budget: None,
    }
}

fn black_hole(world: &World) -> Cluster {
    let assignment =
        LoadAssignment { cluster_name: BLACK_HOLE.to_owned(), ..LoadAssignment::default() };
    let mut cluster = base(world, BLACK_HOLE.to_owned(), Discovery::Static(assignment));
    cluster.alt_stat_name.clear();
    cluster
}

fn passthrough(world: &World) -> Cluster {
    let mut cluster = base(world, PASSTHROUGH.to_owned(), Discovery::OriginalDst);
    cluster.alt_stat_name.clear();
    cluster.http.protocol = UpstreamHttpProtocol::UseDownstream;
    // Names of hosts outside are not known here: idle connections must not pile up for ever.
    cluster.http.idle_timeout = Some(Duration::from_secs(300));
    cluster
}

/// Marks the proxy's own sockets, so that capture lets them pass.
fn set_mark(cluster: &mut Cluster, mark: u32) {
    const SOL_SOCKET: i64 = 1;
    const SO_MARK: i64 = 36;
    let bind = cluster.bind.get_or_insert_with(BindConfig::default);
    bind.socket_options.push(SocketOption {
        description: "exempt from capture".to_owned(),
        level: SOL_SOCKET,
        name: SO_MARK,
        value: i64::from(mark),
    });
}

/// `{host, name, namespace}` of a service, as metrics read it.
fn service_metadata(service: &Service) -> Value {
    let fields: BTreeMap<String, Value> = [
        ("host", service.hostname.as_str()),
        ("name", service.name.as_str()),
        ("namespace", service.namespace.as_str()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), Value::from(value)))
    .collect();
    Value::Struct(fields)
}

/// The owner's name for Istio's own metadata.
pub(crate) const ISTIO: &str = "istio";

/// Metadata under `istio`.
pub(crate) fn istio_metadata(fields: Struct) -> Metadata {
    Metadata(BTreeMap::from([(ISTIO.to_owned(), fields)]))
}
