//! Extension providers: whom a Telemetry or a policy can name.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::value::{Accepted, Unsupported};

/// A provider with a name; one of its other fields says what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// The name.
    pub name: String,
    /// An access log in a file.
    pub envoy_file_access_log: Option<EnvoyFileAccessLog>,
    /// Istio's metrics for Prometheus.
    pub prometheus: Option<PrometheusProvider>,
    /// Not used.
    pub envoy_ext_authz_http: Option<Unsupported>,
    /// Not used.
    pub envoy_ext_authz_grpc: Option<Unsupported>,
    /// Not used.
    pub zipkin: Option<Unsupported>,
    /// Not used.
    pub lightstep: Option<Unsupported>,
    /// Not used.
    pub datadog: Option<Unsupported>,
    /// Not used.
    pub stackdriver: Option<Unsupported>,
    /// Not used.
    pub opencensus: Option<Unsupported>,
    /// Not used.
    pub skywalking: Option<Unsupported>,
    /// Not used.
    pub opentelemetry: Option<Unsupported>,
    /// Not used.
    pub envoy_http_als: Option<Unsupported>,
    /// Not used.
    pub envoy_tcp_als: Option<Unsupported>,
    /// Not used.
    pub envoy_otel_als: Option<Unsupported>,
    /// Not used.
    pub sds: Option<Unsupported>,
}

/// An access log in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFileAccessLog {
    /// The file, such as `/dev/stdout`.
    pub path: String,
    /// The form of a line; absent: the mesh's.
    pub log_format: Option<LogFormat>,
    /// Not used.
    pub omit_empty_values: Accepted,
}

/// The form of a line of an access log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogFormat {
    /// Text with command operators.
    pub text: Option<String>,
    /// A JSON object with command operators.
    pub labels: Option<BTreeMap<String, serde_json::Value>>,
}

/// Istio's metrics for Prometheus: nothing can be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusProvider {}

/// The providers for those who name none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultProviders {
    /// For traces.
    pub tracing: Option<Unsupported>,
    /// For metrics; empty: `prometheus`.
    pub metrics: Vec<String>,
    /// For access logs; empty: `envoy` where `accessLogFile` is set, else none.
    pub access_logging: Vec<String>,
}
