//! The agent's own metrics, with the names that Istio's agent gives them (`istio_agent_…`).

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry,
    core::Collector,
};

/// Counters and gauges of one agent. Clones share the values.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Calls to the CA, and those that failed.
    pub(crate) outgoing: IntCounterVec,
    pub(crate) outgoing_failed: IntCounterVec,
    /// Seconds until the certificate in use expires, by resource; negative when it has.
    pub(crate) certificate_expiry: GaugeVec,
    pub(crate) upstream_failures: IntCounter,
    pub(crate) upstream_terminations: IntCounter,
    pub(crate) downstream_terminations: IntCounter,
    pub(crate) relayed_requests: IntCounter,
    pub(crate) relayed_responses: IntCounter,
    pub(crate) secret_pushes: IntCounterVec,
    pub(crate) secret_rejections: IntCounterVec,
    pub(crate) dns_requests: IntCounter,
    pub(crate) dns_forwarded: IntCounter,
    pub(crate) dns_forward_failures: IntCounter,
    pub(crate) dns_forward_seconds: Histogram,
    pub(crate) scrapes: IntCounter,
    pub(crate) scrape_failures: IntCounterVec,
    pub(crate) startup_seconds: Gauge,
}

impl Metrics {
    /// Makes and registers all of them.
    ///
    /// # Errors
    /// Only if two had the same name.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("istio_agent".to_owned()), None)?;
        let r = &registry;
        let count = |name, help| add(r, IntCounter::new(name, help)?);
        let counts =
            |name, help, label| add(r, IntCounterVec::new(Opts::new(name, help), &[label])?);
        let buckets = vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
        let dns_seconds = HistogramOpts::new(
            "dns_upstream_request_duration_seconds",
            "Time that upstream resolvers took",
        )
        .buckets(buckets);
        Ok(Self {
            outgoing: counts("num_outgoing_requests", "Calls of the CA", "request_type")?,
            outgoing_failed: counts(
                "num_failed_outgoing_requests",
                "Calls of the CA that failed",
                "request_type",
            )?,
            certificate_expiry: add(
                r,
                GaugeVec::new(
                    Opts::new("cert_expiry_seconds", "Seconds until the certificate expires"),
                    &["resource_name"],
                )?,
            )?,
            upstream_failures: count(
                "istiod_connection_failures",
                "Streams to the control plane that could not be opened",
            )?,
            upstream_terminations: count(
                "istiod_connection_terminations",
                "Streams that the control plane ended",
            )?,
            downstream_terminations: count(
                "envoy_connection_terminations",
                "Streams that the proxy ended",
            )?,
            relayed_requests: count("xds_proxy_requests", "xDS requests of the proxy")?,
            relayed_responses: count("xds_proxy_responses", "xDS responses to the proxy")?,
            secret_pushes: counts(
                "sds_pushes_total",
                "Secrets sent to the proxy",
                "resource_name",
            )?,
            secret_rejections: counts(
                "sds_rejections_total",
                "Secrets that the proxy rejected",
                "resource_name",
            )?,
            dns_requests: count("dns_requests_total", "DNS queries")?,
            dns_forwarded: count("dns_upstream_requests_total", "DNS queries forwarded")?,
            dns_forward_failures: count(
                "dns_upstream_failures_total",
                "Forwarded DNS queries that no resolver answered",
            )?,
            dns_forward_seconds: add(r, Histogram::with_opts(dns_seconds)?)?,
            scrapes: count("scrapes_total", "Scrapes of the merged metrics")?,
            scrape_failures: counts("scrape_failures_total", "Failed scrapes by source", "type")?,
            startup_seconds: add(
                r,
                Gauge::new("startup_duration_seconds", "Time until the agent was ready")?,
            )?,
            registry,
        })
    }

    /// All of them in Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        daemon::metrics_text(&self.registry)
    }
}

fn add<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
