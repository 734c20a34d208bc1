//! Clusters and load assignments.

use super::{Arbitrary, Entropy, arbitrary_enum, arbitrary_struct};
use crate::{
    CircuitBreakers, Cluster, Discovery, Endpoint, HealthStatus, Http2Keepalive, LbPolicy,
    LoadAssignment, LocalityEndpoints, OutlierDetection, RetryBudget, TransportSocketMatch,
    UpstreamHttp, UpstreamHttpProtocol,
};

arbitrary_struct! { Cluster {
    name, alt_stat_name, discovery, connect_timeout, lb_policy,
    healthy_panic_threshold = |e| {
        let percent = u32::try_from(e.index(101)).unwrap_or_default();
        e.any::<bool>().then_some(percent)
    },
    locality_weighted, circuit_breakers, outlier_detection, transport_socket, transport_socket_matches, http, bind,
    tcp_keepalive, filters, metadata,
} }
arbitrary_enum! { Discovery:
    |e| Discovery::Eds { service_name: e.any() },
    |e| Discovery::Static(e.any()),
    |e| Discovery::StrictDns(e.any()),
    |e| Discovery::LogicalDns(e.any()),
    |_| Discovery::OriginalDst,
}
arbitrary_enum! { LbPolicy:
    |_| LbPolicy::RoundRobin,
    |e| LbPolicy::LeastRequest { choice_count: e.any() },
    |_| LbPolicy::Random,
    |e| LbPolicy::RingHash { minimum_ring_size: e.any() },
    |e| LbPolicy::Maglev { table_size: e.any() },
    |_| LbPolicy::ClusterProvided,
}
arbitrary_struct! { CircuitBreakers {
    max_connections, max_pending_requests, max_requests, max_retries, retry_budget,
} }
arbitrary_struct! { RetryBudget {
    share = |e| u32::try_from(e.index(1_000_001)).unwrap_or_default(),
    min_retry_concurrency,
} }
arbitrary_struct! { OutlierDetection {
    consecutive_5xx, enforcing_consecutive_5xx, consecutive_gateway_failure,
    enforcing_consecutive_gateway_failure, consecutive_local_origin_failure,
    enforcing_consecutive_local_origin_failure, split_external_local_origin_errors, interval,
    base_ejection_time, max_ejection_time, max_ejection_percent,
} }
arbitrary_struct! { TransportSocketMatch { name, criteria, transport_socket } }
arbitrary_enum! { UpstreamHttpProtocol:
    |_| UpstreamHttpProtocol::Http1,
    |_| UpstreamHttpProtocol::Http2,
    |_| UpstreamHttpProtocol::UseDownstream,
    |_| UpstreamHttpProtocol::Auto,
}
arbitrary_struct! { Http2Keepalive { interval, timeout } }

impl Arbitrary for UpstreamHttp {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        let mut http = Self {
            protocol: entropy.any(),
            idle_timeout: entropy.any(),
            max_connection_duration: entropy.any(),
            max_requests_per_connection: entropy.any(),
            max_concurrent_streams: entropy.any(),
            keepalive: entropy.any(),
            auto_sni: entropy.any(),
            auto_san_validation: entropy.any(),
        };
        if http.protocol == UpstreamHttpProtocol::Http1 {
            http.max_concurrent_streams = None;
            http.keepalive = None;
        }
        http
    }
}

arbitrary_struct! { LoadAssignment { cluster_name, localities, overprovisioning_factor } }
arbitrary_struct! { LocalityEndpoints { locality, priority, load_balancing_weight, endpoints } }
arbitrary_struct! { Endpoint { address, health_status, load_balancing_weight, metadata } }
arbitrary_enum! { HealthStatus:
    |_| HealthStatus::Unknown,
    |_| HealthStatus::Healthy,
    |_| HealthStatus::Unhealthy,
    |_| HealthStatus::Draining,
    |_| HealthStatus::Degraded,
}
