//! The control plane's own metrics, under Istio's names so that its dashboards fit.

use std::time::SystemTime;

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};
use xds::ResourceType;

/// Buckets in seconds for what takes from a millisecond to half a minute.
const SECONDS: [f64; 10] = [0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 30.0];

/// All metrics of the control plane.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) connected: IntGaugeVec,
    pub(crate) pushes: IntCounterVec,
    pub(crate) push_triggers: IntCounterVec,
    pub(crate) rejects: IntCounterVec,
    pub(crate) internal_errors: IntCounter,
    pub(crate) expired_nonce: IntCounterVec,
    pub(crate) convergence: Histogram,
    pub(crate) debounce: Histogram,
    pub(crate) context_init: Histogram,
    pub(crate) services: IntGauge,
    pub(crate) virtual_services: IntGauge,
    pub(crate) rejected_configs: IntGauge,
    pub(crate) envoy_filter_status: IntGaugeVec,
    pub(crate) csr_count: IntCounter,
    pub(crate) issued: IntCounter,
    pub(crate) authentication_failures: IntCounter,
    pub(crate) csr_errors: IntCounter,
    pub(crate) sign_errors: IntCounterVec,
    pub(crate) root_expiry: Gauge,
    per_type_rejects: [(ResourceType, IntGaugeVec); 4],
}

impl Metrics {
    /// Makes and registers all of them.
    ///
    /// # Errors
    /// When a name is used twice, which is a mistake in this file.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker(&registry);
        let reject =
            |name: &str| make.gauges(name, "Configurations a proxy refuses now", &["node", "err"]);
        let metrics = Self {
            connected: make.gauges("pilot_xds", "Proxies connected over xDS", &["version"])?,
            pushes: make.counters("pilot_xds_pushes", "Pushes by type", &["type"])?,
            push_triggers: make.counters("pilot_push_triggers", "Causes of pushes", &["type"])?,
            rejects: make.counters("pilot_total_xds_rejects", "Refused by proxies", &["type"])?,
            internal_errors: make
                .counter("pilot_total_xds_internal_errors", "Errors inside the xDS server")?,
            expired_nonce: make.counters(
                "pilot_xds_expired_nonce",
                "Answers to what is not newest",
                &["type"],
            )?,
            convergence: make
                .histogram("pilot_proxy_convergence_time", "Seconds from a change to its push")?,
            debounce: make
                .histogram("pilot_debounce_time", "Seconds from a change to its build")?,
            context_init: make
                .histogram("pilot_pushcontext_init_seconds", "Seconds to build a push context")?,
            services: make.gauge("pilot_services", "Services known")?,
            virtual_services: make.gauge("pilot_virt_services", "Virtual services known")?,
            rejected_configs: make
                .gauge("pilot_total_rejected_configs", "Files whose present text is refused")?,
            envoy_filter_status: make.gauges(
                "pilot_envoy_filter_status",
                "EnvoyFilters by what became of their patches",
                &["name", "type", "result"],
            )?,
            csr_count: make.counter("citadel_server_csr_count", "Signing requests received")?,
            issued: make
                .counter("citadel_server_success_cert_issuance_count", "Certificates signed")?,
            authentication_failures: make.counter(
                "citadel_server_authentication_failure_count",
                "Callers that proved no identity",
            )?,
            csr_errors: make
                .counter("citadel_server_csr_parsing_err_count", "Unacceptable requests")?,
            sign_errors: make.counters(
                "citadel_server_csr_sign_err_count",
                "Signing errors",
                &["error"],
            )?,
            root_expiry: make.number(
                "citadel_server_root_cert_expiry_timestamp",
                "End of the CA certificate's life, seconds since 1970",
            )?,
            per_type_rejects: [
                (ResourceType::Cluster, reject("pilot_xds_cds_reject")?),
                (ResourceType::LoadAssignment, reject("pilot_xds_eds_reject")?),
                (ResourceType::Listener, reject("pilot_xds_lds_reject")?),
                (ResourceType::RouteConfiguration, reject("pilot_xds_rds_reject")?),
            ],
            registry: registry.clone(),
        };
        make.gauges("istio_build", "Version of the control plane", &["component", "tag"])?
            .with_label_values(&["pilot", env!("CARGO_PKG_VERSION")])
            .set(1);
        Ok(metrics)
    }

    /// Notes that a proxy refused a type.
    pub(crate) fn rejected(&self, kind: ResourceType, node: &str) {
        self.rejects.with_label_values(&[short_name(kind)]).inc();
        if let Some(gauge) = self.per_type(kind) {
            gauge.with_label_values(&[node, "INVALID_ARGUMENT"]).set(1);
        }
    }

    /// Notes that a proxy accepted a type, or left.
    pub(crate) fn accepted(&self, kind: ResourceType, node: &str) {
        if let Some(gauge) = self.per_type(kind) {
            // Fails when nothing was refused, which is the usual case.
            let _ = gauge.remove_label_values(&[node, "INVALID_ARGUMENT"]);
        }
    }

    pub(crate) fn root_expires(&self, at: SystemTime) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.root_expiry.set(seconds.as_secs_f64());
    }

    fn per_type(&self, kind: ResourceType) -> Option<&IntGaugeVec> {
        self.per_type_rejects.iter().find(|(of, _)| *of == kind).map(|(_, gauge)| gauge)
    }
}

/// Istio's short name of a resource type, as in the label `type`.
pub(crate) fn short_name(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::Cluster => "cds",
        ResourceType::LoadAssignment => "eds",
        ResourceType::Listener => "lds",
        ResourceType::RouteConfiguration => "rds",
        ResourceType::Secret => "sds",
        ResourceType::NameTable => "nds",
    }
}

struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, c: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(c.clone()))?;
        Ok(c)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    fn number(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::new(name, help)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.register(Histogram::with_opts(options)?)
    }
}
