//! Envoy's counters and gauges, as atomics: workers add, the admin interface reads.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A counter or gauge.
#[derive(Debug, Default)]
pub(crate) struct Value(AtomicU64);

impl Value {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a value only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

macro_rules! values {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $kind:ident = $stat:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(crate) struct $name { $(pub(crate) $field: Value,)* }

        impl $name {
            /// Names (without prefix), kinds and values of the moment.
            pub(crate) fn all(&self) -> Vec<(&'static str, Kind, u64)> {
                vec![$(($stat, Kind::$kind, self.$field.get()),)*]
            }
        }
    };
}

values! {
    /// `cluster.<name>.*`
    ClusterStats {
        cx_total: Counter = "upstream_cx_total",
        cx_active: Gauge = "upstream_cx_active",
        cx_connect_fail: Counter = "upstream_cx_connect_fail",
        cx_connect_timeout: Counter = "upstream_cx_connect_timeout",
        cx_overflow: Counter = "upstream_cx_overflow",
        cx_destroy: Counter = "upstream_cx_destroy",
        cx_rx_bytes: Counter = "upstream_cx_rx_bytes_total",
        cx_tx_bytes: Counter = "upstream_cx_tx_bytes_total",
        cx_none_healthy: Counter = "upstream_cx_none_healthy",
        ssl_handshake: Counter = "ssl.handshake",
        ssl_error: Counter = "ssl.connection_error",
        rq_total: Counter = "upstream_rq_total",
        rq_active: Gauge = "upstream_rq_active",
        rq_completed: Counter = "upstream_rq_completed",
        rq_1xx: Counter = "upstream_rq_1xx",
        rq_2xx: Counter = "upstream_rq_2xx",
        rq_3xx: Counter = "upstream_rq_3xx",
        rq_4xx: Counter = "upstream_rq_4xx",
        rq_5xx: Counter = "upstream_rq_5xx",
        rq_pending_total: Counter = "upstream_rq_pending_total",
        rq_pending_active: Gauge = "upstream_rq_pending_active",
        rq_pending_overflow: Counter = "upstream_rq_pending_overflow",
        rq_pending_failure_eject: Counter = "upstream_rq_pending_failure_eject",
        rq_retry: Counter = "upstream_rq_retry",
        rq_retry_active: Gauge = "circuit_breakers.default.rq_retry_active",
        rq_retry_success: Counter = "upstream_rq_retry_success",
        rq_retry_overflow: Counter = "upstream_rq_retry_overflow",
        rq_retry_limit_exceeded: Counter = "upstream_rq_retry_limit_exceeded",
        rq_timeout: Counter = "upstream_rq_timeout",
        rq_per_try_timeout: Counter = "upstream_rq_per_try_timeout",
        rq_rx_reset: Counter = "upstream_rq_rx_reset",
        rq_tx_reset: Counter = "upstream_rq_tx_reset",
        ejections_active: Gauge = "outlier_detection.ejections_active",
        ejections_total: Counter = "outlier_detection.ejections_enforced_total",
        ejections_5xx: Counter = "outlier_detection.ejections_enforced_consecutive_5xx",
        ejections_gateway: Counter = "outlier_detection.ejections_enforced_consecutive_gateway_failure",
        ejections_local: Counter = "outlier_detection.ejections_enforced_consecutive_local_origin_failure",
        membership_total: Gauge = "membership_total",
        membership_healthy: Gauge = "membership_healthy",
        update_success: Counter = "update_success",
    }
}

impl ClusterStats {
    /// Takes note of an answer's status.
    pub(crate) fn completed(&self, status: u16) {
        self.rq_completed.inc();
        match status / 100 {
            1 => self.rq_1xx.inc(),
            2 => self.rq_2xx.inc(),
            3 => self.rq_3xx.inc(),
            4 => self.rq_4xx.inc(),
            _ => self.rq_5xx.inc(),
        }
    }
}

values! {
    /// `http.<stat_prefix>.*`
    HttpStats {
        cx_total: Counter = "downstream_cx_total",
        cx_active: Gauge = "downstream_cx_active",
        cx_http1: Counter = "downstream_cx_http1_total",
        cx_http2: Counter = "downstream_cx_http2_total",
        cx_protocol_error: Counter = "downstream_cx_protocol_error",
        rq_total: Counter = "downstream_rq_total",
        rq_active: Gauge = "downstream_rq_active",
        rq_2xx: Counter = "downstream_rq_2xx",
        rq_3xx: Counter = "downstream_rq_3xx",
        rq_4xx: Counter = "downstream_rq_4xx",
        rq_5xx: Counter = "downstream_rq_5xx",
        rbac_allowed: Counter = "rbac.allowed",
        rbac_denied: Counter = "rbac.denied",
        rbac_shadow_allowed: Counter = "rbac.shadow_allowed",
        rbac_shadow_denied: Counter = "rbac.shadow_denied",
        fault_aborts: Counter = "fault.aborts_injected",
        fault_delays: Counter = "fault.delays_injected",
        no_route: Counter = "no_route",
        no_cluster: Counter = "no_cluster",
    }
}

values! {
    /// `listener.<address>.*`
    ListenerStats {
        cx_total: Counter = "downstream_cx_total",
        cx_active: Gauge = "downstream_cx_active",
        no_filter_chain_match: Counter = "no_filter_chain_match",
        pre_cx_timeout: Counter = "downstream_pre_cx_timeout",
        ssl_handshake: Counter = "ssl.handshake",
        ssl_error: Counter = "ssl.connection_error",
        ssl_fail_verify_error: Counter = "ssl.fail_verify_error",
        network_rbac_denied: Counter = "rbac.denied",
        network_rbac_allowed: Counter = "rbac.allowed",
        accept_error: Counter = "downstream_cx_accept_error",
    }
}

values! {
    /// Of the process as a whole; the names are complete.
    ServerStats {
        live: Gauge = "server.live",
        state: Gauge = "server.state",
        concurrency: Gauge = "server.concurrency",
        uptime: Gauge = "server.uptime",
        cds_update_success: Counter = "cluster_manager.cds.update_success",
        cds_update_rejected: Counter = "cluster_manager.cds.update_rejected",
        clusters_active: Gauge = "cluster_manager.active_clusters",
        clusters_warming: Gauge = "cluster_manager.warming_clusters",
        clusters_added: Counter = "cluster_manager.cluster_added",
        clusters_modified: Counter = "cluster_manager.cluster_modified",
        clusters_removed: Counter = "cluster_manager.cluster_removed",
        lds_update_success: Counter = "listener_manager.lds.update_success",
        lds_update_rejected: Counter = "listener_manager.lds.update_rejected",
        listeners_active: Gauge = "listener_manager.total_listeners_active",
        listeners_warming: Gauge = "listener_manager.total_listeners_warming",
        listeners_added: Counter = "listener_manager.listener_added",
        listeners_modified: Counter = "listener_manager.listener_modified",
        listeners_removed: Counter = "listener_manager.listener_removed",
        listener_create_failure: Counter = "listener_manager.listener_create_failure",
        workers_started: Gauge = "listener_manager.workers_started",
        rds_update_success: Counter = "http.rds.update_success",
        rds_update_rejected: Counter = "http.rds.update_rejected",
        eds_update_success: Counter = "cluster_manager.eds.update_success",
        eds_update_rejected: Counter = "cluster_manager.eds.update_rejected",
        sds_update_success: Counter = "sds.update_success",
        sds_update_rejected: Counter = "sds.update_rejected",
        control_plane_connected: Gauge = "control_plane.connected_state",
        control_plane_failures: Counter = "cluster.xds-grpc.upstream_cx_connect_fail",
        access_log_dropped: Counter = "access_log_file.write_dropped",
    }
}

/// All groups of values by their prefix; a group is looked up when configuration arrives.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) server: ServerStats,
    clusters: Mutex<BTreeMap<String, Arc<ClusterStats>>>,
    http: Mutex<BTreeMap<String, Arc<HttpStats>>>,
    listeners: Mutex<BTreeMap<String, Arc<ListenerStats>>>,
}

impl Registry {
    /// The values of a cluster.
    pub(crate) fn cluster(&self, name: &str) -> Arc<ClusterStats> {
        group(&self.clusters, name)
    }

    /// Forgets a cluster that is gone.
    pub(crate) fn remove_cluster(&self, name: &str) {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The values of connection managers with a prefix.
    pub(crate) fn http(&self, prefix: &str) -> Arc<HttpStats> {
        group(&self.http, prefix)
    }

    /// The values of a listener.
    pub(crate) fn listener(&self, name: &str) -> Arc<ListenerStats> {
        group(&self.listeners, name)
    }

    /// Every group: its kind, its name, its values.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let mut all = vec![("", String::new(), self.server.all())];
        for (name, stats) in &*self.clusters.lock().unwrap_or_else(PoisonError::into_inner) {
            all.push(("cluster", name.clone(), stats.all()));
        }
        for (name, stats) in &*self.http.lock().unwrap_or_else(PoisonError::into_inner) {
            all.push(("http", name.clone(), stats.all()));
        }
        for (name, stats) in &*self.listeners.lock().unwrap_or_else(PoisonError::into_inner) {
            all.push(("listener", name.clone(), stats.all()));
        }
        all
    }
}

/// A group's kind (`cluster`, `http`, `listener`, or nothing for the server), name and values.
pub(crate) type Group = (&'static str, String, Vec<(&'static str, Kind, u64)>);

fn group<T: Default>(groups: &Mutex<BTreeMap<String, Arc<T>>>, name: &str) -> Arc<T> {
    let mut groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = groups.get(name) {
        return Arc::clone(found);
    }
    Arc::clone(groups.entry(name.to_owned()).or_default())
}
