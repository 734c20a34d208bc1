//! From a traffic policy's blocks to a cluster's fields.

use std::time::Duration;

use config::networking::{
    ConnectionPoolSettings, HttpSettings, LoadBalancerSettings, OutlierDetection, RetryBudget,
    SimpleLb, TcpKeepalive, TcpSettings,
};
use config::value::Percentage;
use xds::{Cluster, Discovery, HashPolicy, Http2Keepalive, LbPolicy, UpstreamHttpProtocol};

/// Sets limits and timeouts.
pub(super) fn apply_connection_pool(cluster: &mut Cluster, pool: &ConnectionPoolSettings) {
    if let Some(tcp) = &pool.tcp {
        apply_tcp(cluster, tcp);
    }
    if let Some(http) = &pool.http {
        apply_http(cluster, http);
    }
    let http_idle = pool.http.as_ref().and_then(|http| http.idle_timeout);
    let tcp_idle = pool.tcp.as_ref().and_then(|tcp| tcp.idle_timeout);
    cluster.http.idle_timeout = http_idle.or(tcp_idle);
}

fn apply_tcp(cluster: &mut Cluster, tcp: &TcpSettings) {
    if let Some(limit) = positive(tcp.max_connections) {
        cluster.circuit_breakers.max_connections = Some(limit);
    }
    if let Some(timeout) = tcp.connect_timeout.filter(|timeout| !timeout.is_zero()) {
        cluster.connect_timeout = timeout;
    }
    if let Some(probes) = &tcp.tcp_keepalive {
        cluster.tcp_keepalive = Some(keepalive(probes));
    }
    cluster.http.max_connection_duration = tcp.max_connection_duration;
}

fn apply_http(cluster: &mut Cluster, http: &HttpSettings) {
    let limits = &mut cluster.circuit_breakers;
    if let Some(limit) = positive(http.http1_max_pending_requests) {
        limits.max_pending_requests = Some(limit);
    }
    if let Some(limit) = positive(http.http2_max_requests) {
        limits.max_requests = Some(limit);
    }
    if let Some(limit) = positive(http.max_retries) {
        limits.max_retries = Some(limit);
    }
    cluster.http.max_requests_per_connection = positive(http.max_requests_per_connection);
    // HTTP/1.1 has neither streams nor pings.
    if cluster.http.protocol != UpstreamHttpProtocol::Http1 {
        cluster.http.max_concurrent_streams = positive(http.max_concurrent_streams);
        cluster.http.keepalive = http.http2_keep_alive.as_ref().and_then(|keepalive| {
            Some(Http2Keepalive { interval: keepalive.interval?, timeout: keepalive.timeout? })
        });
    }
}

fn positive(limit: Option<u32>) -> Option<u32> {
    limit.filter(|limit| *limit > 0)
}

/// Keep-alive in whole seconds.
pub(super) fn keepalive(settings: &TcpKeepalive) -> xds::TcpKeepalive {
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    xds::TcpKeepalive {
        probes: settings.probes,
        time: settings.time.map(seconds),
        interval: settings.interval.map(seconds),
    }
}

/// Sets how an endpoint is chosen.
pub(super) fn apply_load_balancer(cluster: &mut Cluster, settings: Option<&LoadBalancerSettings>) {
    if cluster.discovery == Discovery::OriginalDst {
        return;
    }
    let Some(settings) = settings else { return };
    if let Some(hash) = &settings.consistent_hash {
        cluster.lb_policy = match (&hash.maglev, &hash.ring_hash) {
            (Some(maglev), _) => LbPolicy::Maglev { table_size: nonzero(maglev.table_size) },
            (None, ring) => {
                let size = ring.as_ref().and_then(|ring| nonzero(ring.minimum_ring_size));
                let size = size.or(nonzero(hash.minimum_ring_size));
                LbPolicy::RingHash { minimum_ring_size: size }
            }
        };
        return;
    }
    cluster.lb_policy = match settings.simple.unwrap_or_default() {
        SimpleLb::RoundRobin => LbPolicy::RoundRobin,
        SimpleLb::Random => LbPolicy::Random,
        SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest => {
            LbPolicy::LeastRequest { choice_count: None }
        }
        SimpleLb::Passthrough => LbPolicy::ClusterProvided,
    };
}

fn nonzero(size: Option<u64>) -> Option<u64> {
    size.filter(|size| *size > 0)
}

/// What a route to a cluster with consistent hashing must hash on.
pub(crate) fn hash_policy(settings: Option<&LoadBalancerSettings>) -> Option<HashPolicy> {
    let hash = settings?.consistent_hash.as_ref()?;
    if let Some(name) = &hash.http_header_name {
        return Some(HashPolicy::Header(name.to_ascii_lowercase()));
    }
    if let Some(cookie) = &hash.http_cookie {
        return Some(HashPolicy::Cookie {
            name: cookie.name.clone(),
            path: cookie.path.clone(),
            ttl: cookie.ttl,
            attributes: cookie
                .attributes
                .iter()
                .map(|attribute| (attribute.name.clone(), attribute.value.clone()))
                .collect(),
        });
    }
    if let Some(name) = &hash.http_query_parameter_name {
        return Some(HashPolicy::QueryParameter(name.clone()));
    }
    hash.use_source_ip.filter(|use_it| *use_it).map(|_| HashPolicy::SourceIp)
}

/// Bounds retries by what is open, in place of the fixed limit.
pub(super) fn apply_retry_budget(cluster: &mut Cluster, budget: Option<&RetryBudget>) {
    let Some(budget) = budget else { return };
    let percent = budget.percent.unwrap_or(Percentage::from_whole(20));
    cluster.circuit_breakers.retry_budget = Some(xds::RetryBudget {
        share: percent.millionths(),
        min_retry_concurrency: Some(budget.min_retry_concurrency.unwrap_or(3)),
    });
}

/// Sets whether localities share the load by their weights: where a rule gives them shares, or names
/// the region to fail over to.
pub(super) fn apply_locality(
    cluster: &mut Cluster,
    settings: Option<&LoadBalancerSettings>,
    has_outlier_detection: bool,
) {
    let Some(locality) = settings.and_then(|lb| lb.locality_lb_setting.as_ref()) else { return };
    let fails_over = has_outlier_detection && !locality.failover.is_empty();
    let is_eds = matches!(cluster.discovery, Discovery::Eds { .. });
    cluster.locality_weighted = is_eds
        && locality.enabled.unwrap_or(true)
        && (fails_over || !locality.distribute.is_empty());
}

/// Sets when endpoints are ejected.
pub(super) fn apply_outlier_detection(cluster: &mut Cluster, settings: Option<&OutlierDetection>) {
    let Some(settings) = settings else { return };
    let enforcing = |count: u32| if count > 0 { 100 } else { 0 };
    let consecutive_5xx = settings.consecutive_5xx_errors.or(settings.consecutive_errors);
    let local = settings.consecutive_local_origin_failures;
    cluster.outlier_detection = Some(xds::OutlierDetection {
        consecutive_5xx: consecutive_5xx.filter(|count| *count > 0),
        enforcing_consecutive_5xx: consecutive_5xx.map(enforcing),
        consecutive_gateway_failure: positive(settings.consecutive_gateway_errors),
        enforcing_consecutive_gateway_failure: settings.consecutive_gateway_errors.map(enforcing),
        consecutive_local_origin_failure: positive(local),
        enforcing_consecutive_local_origin_failure: local.map(enforcing),
        split_external_local_origin_errors: settings.split_external_local_origin_errors,
        interval: settings.interval,
        base_ejection_time: settings.base_ejection_time,
        max_ejection_time: None,
        max_ejection_percent: positive(Some(settings.max_ejection_percent)),
    });
    cluster.healthy_panic_threshold = Some(settings.min_health_percent.min(100));
}
