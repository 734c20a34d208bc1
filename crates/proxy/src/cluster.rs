//! Clusters, with what is needed to connect to their hosts and what all workers count together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::{
    net::socket::ConnectOptions,
    stats::{ClusterStats, Destination, Registry},
    tls::{SecretSlot, SecretStore, TlsError, UpstreamTls},
};

/// A cluster at one moment: its hosts change with each load assignment, the rest stays.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) engine: engine::Cluster,
    pub(crate) shared: Arc<ClusterShared>,
}

/// What lives as long as the cluster's resource does not change.
#[derive(Debug)]
pub(crate) struct ClusterShared {
    /// Never used twice.
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<xds::Cluster>,
    /// The cluster's own transport first, then those of its matches.
    transports: Vec<Transport>,
    pub(crate) stats: Arc<ClusterStats>,
    pub(crate) limits: Limits,
    /// The service that Istio's metrics name.
    pub(crate) destination: Destination,
    pub(crate) options: ConnectOptions,
    /// Whether `istio.alpn` may choose the ALPN names.
    pub(crate) alpn_override: bool,
}

/// How bytes are carried to a host.
#[derive(Debug)]
pub(crate) struct Transport {
    name: String,
    pub(crate) tls: Option<UpstreamTls>,
}

/// Circuit breakers with defaults filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: u64,
    pub(crate) pending: u64,
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    retry_budget: Option<xds::RetryBudget>,
}

impl Limits {
    fn new(breakers: &xds::CircuitBreakers) -> Self {
        let or = |value: Option<u32>, default: u32| u64::from(value.unwrap_or(default));
        Self {
            connections: or(breakers.max_connections, 1024),
            pending: or(breakers.max_pending_requests, 1024),
            requests: or(breakers.max_requests, 1024),
            retries: or(breakers.max_retries, 3),
            retry_budget: breakers.retry_budget,
        }
    }

    /// How many retries may be open while so many requests are (RetryBudget: a share of them, and
    /// never less than its minimum).
    pub(crate) fn retries(&self, open: u64) -> u64 {
        let Some(budget) = &self.retry_budget else { return self.retries };
        let share = open.saturating_mul(u64::from(budget.share)) / 1_000_000;
        share.max(u64::from(budget.min_retry_concurrency.unwrap_or(3)))
    }
}

/// A cluster cannot be put to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    #[error("{field}: {source}")]
    Tls { field: String, source: TlsError },
}

impl Cluster {
    /// Compiles a cluster.
    pub(crate) fn new(
        config: xds::Cluster,
        secrets: &SecretStore,
        registry: &Registry,
        mark: Option<u32>,
    ) -> Result<Self, ClusterError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let engine = engine::Cluster::new(config)?;
        let config = Arc::clone(&engine.config);
        let bind = config.bind.as_ref();
        let shared = ClusterShared {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: config.name.as_str().into(),
            transports: transports(&config, secrets)?,
            stats: registry.cluster(&config.name),
            limits: Limits::new(&config.circuit_breakers),
            destination: destination(&config),
            options: ConnectOptions {
                mark: bind.and_then(mark_of).or(mark),
                source: bind.and_then(|bind| bind.source_address),
                keepalive: config.tcp_keepalive.clone(),
            },
            alpn_override: alpn_override(&config.metadata),
            config,
        };
        Ok(Self { engine, shared: Arc::new(shared) })
    }

    /// The same cluster with other hosts.
    #[must_use]
    pub(crate) fn with_hosts(&self, assignment: &xds::LoadAssignment) -> Self {
        let next =
            Self { engine: self.engine.with_hosts(assignment), shared: Arc::clone(&self.shared) };
        next.count_members();
        next
    }

    /// The transport to a host, and its number within the cluster.
    pub(crate) fn transport(&self, host: Option<&engine::Host>) -> (usize, &Transport) {
        let chosen = self.engine.transport(host);
        let transports = &self.shared.transports;
        let index = if chosen.name.is_empty() {
            0
        } else {
            transports.iter().position(|transport| transport.name == chosen.name).unwrap_or(0)
        };
        (index, &transports[index])
    }

    /// Updates the gauges of members.
    pub(crate) fn count_members(&self) {
        let (total, healthy) = self.engine.hosts.hosts().fold((0, 0), |(total, healthy), host| {
            (total + 1, healthy + u64::from(host.is_healthy()))
        });
        self.shared.stats.membership_total.set(total);
        self.shared.stats.membership_healthy.set(healthy);
    }

    /// Tells the detector how a request to a host ended.
    pub(crate) fn record(&self, host: &Arc<engine::Host>, outcome: engine::Outcome, random: u64) {
        let Some(detector) = &self.engine.outlier_detection else { return };
        let hosts = &self.engine.hosts;
        let Some(ejection) =
            detector.record(hosts, host, outcome, engine::Moment { ms: now_ms(), random })
        else {
            return;
        };
        let stats = &self.shared.stats;
        stats.ejections_total.inc();
        stats.ejections_active.inc();
        match ejection {
            engine::Ejection::Consecutive5xx => stats.ejections_5xx.inc(),
            engine::Ejection::ConsecutiveGatewayFailure => stats.ejections_gateway.inc(),
            engine::Ejection::ConsecutiveLocalOriginFailure => stats.ejections_local.inc(),
        }
        self.count_members();
        tracing::info!(
            cluster = %self.shared.name, host = %host.endpoint.address, reason = ?ejection,
            "ejected a host"
        );
    }

    /// Lets hosts back in whose ejection has ended.
    pub(crate) fn sweep(&self) {
        let Some(detector) = &self.engine.outlier_detection else { return };
        let back = detector.sweep(&self.engine.hosts, now_ms());
        for host in &back {
            self.shared.stats.ejections_active.dec();
            tracing::info!(
                cluster = %self.shared.name, host = %host.endpoint.address, "let a host back in"
            );
        }
        if !back.is_empty() {
            self.count_members();
        }
    }

    /// Secrets that it cannot do without.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Arc<SecretSlot>> {
        let contexts = self.shared.transports.iter().filter_map(|transport| transport.tls.as_ref());
        contexts.flat_map(UpstreamTls::secrets)
    }
}

/// Milliseconds since the process began to measure.
pub(crate) fn now_ms() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn transports(
    config: &xds::Cluster,
    secrets: &SecretStore,
) -> Result<Vec<Transport>, ClusterError> {
    let compile = |tls: &Option<xds::UpstreamTls>, field: String| {
        tls.as_ref()
            .map(|tls| UpstreamTls::new(tls, &config.http, secrets))
            .transpose()
            .map_err(|source| ClusterError::Tls { field, source })
    };
    let mut all = vec![Transport {
        name: String::new(),
        tls: compile(&config.transport_socket, "transport_socket".into())?,
    }];
    for (index, candidate) in config.transport_socket_matches.iter().enumerate() {
        let field = format!("transport_socket_matches[{index}].transport_socket");
        let tls = compile(&candidate.transport_socket, field)?;
        all.push(Transport { name: candidate.name.clone(), tls });
    }
    Ok(all)
}

/// The value of `SO_MARK` among a bind's socket options.
fn mark_of(bind: &xds::BindConfig) -> Option<u32> {
    const SOL_SOCKET: i64 = 1;
    const SO_MARK: i64 = 36;
    let mark = bind.socket_options.iter().find(|o| o.level == SOL_SOCKET && o.name == SO_MARK)?;
    u32::try_from(mark.value).ok()
}

/// The service that a cluster stands for: `istio`/`services` of its metadata, else what its name
/// says.
fn destination(config: &xds::Cluster) -> Destination {
    if let Some(xds::Value::List(services)) = config.metadata.get("istio", "services")
        && let Some(fields) = services.first().and_then(xds::Value::as_struct)
    {
        let text =
            |key: &str| fields.get(key).and_then(xds::Value::as_str).unwrap_or_default().to_owned();
        return Destination {
            service: text("host"),
            name: text("name"),
            namespace: text("namespace"),
        };
    }
    let mut parts = config.name.split('|');
    match (parts.next(), parts.nth(2)) {
        (Some("outbound"), Some(host)) => Destination {
            service: host.to_owned(),
            name: host.split('.').next().unwrap_or_default().to_owned(),
            namespace: host.split('.').nth(1).unwrap_or_default().to_owned(),
        },
        (Some("inbound"), _) => Destination::default(),
        _ => Destination {
            service: String::new(),
            name: config.name.clone(),
            namespace: String::new(),
        },
    }
}

fn alpn_override(metadata: &xds::Metadata) -> bool {
    metadata.get("istio", "alpn_override").and_then(xds::Value::as_str) != Some("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_budget_grows_with_what_is_open() {
        let mut breakers = xds::CircuitBreakers { max_retries: Some(9), ..Default::default() };
        assert_eq!(Limits::new(&breakers).retries(1_000), 9);
        let budget = xds::RetryBudget { share: 125_000, min_retry_concurrency: None };
        breakers.retry_budget = Some(budget);
        let limits = Limits::new(&breakers);
        for (open, allowed) in [(0, 3), (24, 3), (32, 4), (1_000, 125)] {
            assert_eq!(limits.retries(open), allowed, "{open}");
        }
    }
}
