//! What a pod's environment says about the workload, with pilot-agent's variable names.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde_json::{Map, Value};
use thiserror::Error;

/// Prefix of variables that become node metadata: `ISTIO_META_CLUSTER_ID` is `CLUSTER_ID`.
const META: &str = "ISTIO_META_";
/// Prefix of variables that hold JSON objects, each merged into the key that follows.
const META_JSON: &str = "ISTIO_METAJSON_";

/// A variable that is missing or not of its form.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EnvironmentError {
    /// Needed, and absent or empty.
    #[error("environment variable {0} is not set: the workload's identity depends on it")]
    Missing(&'static str),
    /// Present, and unusable.
    #[error("environment variable {name}={value}: {why}")]
    Invalid {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The workload as its pod's environment describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// `POD_NAME`
    pub pod: String,
    /// `POD_NAMESPACE`
    pub namespace: String,
    /// `SERVICE_ACCOUNT`; `default` when unset.
    pub service_account: String,
    /// `INSTANCE_IP`, and what follows after commas.
    pub addresses: Vec<IpAddr>,
    /// `TRUST_DOMAIN`; `cluster.local` when unset.
    pub trust_domain: String,
    /// `SECRET_TTL`: the life to ask for the certificate; 24 h when unset.
    pub certificate_lifetime: Duration,
    /// `ISTIO_META_…` and `ISTIO_METAJSON_…`.
    pub metadata: Map<String, Value>,
    /// `PROXY_CONFIG`: the pod's `proxy.istio.io/config`, YAML.
    pub proxy_config: Map<String, Value>,
    /// Where the application's metrics are.
    pub application_metrics: Option<ApplicationMetrics>,
}

/// Where an application serves Prometheus metrics (`prometheus.io/*` annotations).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationMetrics {
    /// Port on loopback.
    pub port: u16,
    /// Path, with its slash.
    pub path: String,
}

impl Environment {
    /// Reads the variables, for example `std::env::vars()`.
    ///
    /// # Errors
    /// When one that the identity depends on is missing, or one is not of its form.
    pub fn read(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, EnvironmentError> {
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        let get = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        let metadata = metadata(&variables);
        let ttl = get("SECRET_TTL");
        Ok(Self {
            pod: get("POD_NAME").ok_or(EnvironmentError::Missing("POD_NAME"))?,
            namespace: get("POD_NAMESPACE").ok_or(EnvironmentError::Missing("POD_NAMESPACE"))?,
            service_account: get("SERVICE_ACCOUNT").unwrap_or_else(|| "default".to_owned()),
            addresses: addresses(get("INSTANCE_IP"))?,
            trust_domain: get("TRUST_DOMAIN").unwrap_or_else(|| "cluster.local".to_owned()),
            certificate_lifetime: match ttl {
                None => Duration::from_secs(24 * 3600),
                Some(text) => duration(&text).map_err(|why| invalid("SECRET_TTL", &text, why))?,
            },
            application_metrics: application_metrics(
                get("ISTIO_PROMETHEUS_ANNOTATIONS"),
                &metadata,
            )?,
            proxy_config: match get("PROXY_CONFIG") {
                None => Map::new(),
                Some(text) => serde_saphyr::from_str(&text)
                    .map_err(|error| invalid("PROXY_CONFIG", &text, error.to_string()))?,
            },
            metadata,
        })
    }
}

fn invalid(name: &str, value: &str, why: String) -> EnvironmentError {
    EnvironmentError::Invalid { name: name.to_owned(), value: value.to_owned(), why }
}

/// Objects and lists in JSON are taken as such; anything else is text.
fn metadata(variables: &BTreeMap<String, String>) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in variables {
        if let Some(key) = name.strip_prefix(META) {
            let parsed = match value.trim_start().chars().next() {
                Some('{' | '[') => serde_json::from_str(value)
                    .inspect_err(|error| tracing::warn!(name, %error, "not JSON: taken as text"))
                    .ok(),
                _ => None,
            };
            out.insert(key.to_owned(), parsed.unwrap_or_else(|| Value::String(value.clone())));
        }
    }
    for (name, value) in variables {
        if let Some(key) = name.strip_prefix(META_JSON) {
            match serde_json::from_str::<Map<String, Value>>(value) {
                Ok(fields) => {
                    let entry = out.entry(key).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(entry) = entry {
                        entry.extend(fields);
                    }
                }
                Err(error) => tracing::warn!(name, %error, "ignored: not a JSON object"),
            }
        }
    }
    out
}

fn addresses(text: Option<String>) -> Result<Vec<IpAddr>, EnvironmentError> {
    let text = text.ok_or(EnvironmentError::Missing("INSTANCE_IP"))?;
    text.split(',')
        .map(|item| item.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| invalid("INSTANCE_IP", &text, "not an IP address".to_owned()))
}

/// From the injector's variable, or from the pod's annotations in the node metadata.
fn application_metrics(
    variable: Option<String>,
    metadata: &Map<String, Value>,
) -> Result<Option<ApplicationMetrics>, EnvironmentError> {
    const NAME: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
    let (fields, prefix) = match &variable {
        Some(text) => {
            let fields: Map<String, Value> = serde_json::from_str(text)
                .map_err(|error| invalid(NAME, text, error.to_string()))?;
            (fields, "")
        }
        None => match metadata.get("ANNOTATIONS").and_then(Value::as_object) {
            Some(annotations) => (annotations.clone(), "prometheus.io/"),
            None => return Ok(None),
        },
    };
    let get = |key: &str| fields.get(&format!("{prefix}{key}")).and_then(Value::as_str);
    if get("scrape") != Some("true") {
        return Ok(None);
    }
    let port = get("port").unwrap_or("80");
    let port = port
        .parse()
        .map_err(|_| invalid(NAME, port, "the port to scrape is no port number".to_owned()))?;
    let path = get("path").unwrap_or("/metrics");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Some(ApplicationMetrics { port, path }))
}

/// A duration as Go writes it: `24h`, `1h30m`, `20s`, `250ms`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration: write for example 24h, 1h30m, 20s or 500ms");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let number: f64 = number.parse().map_err(|_| bad())?;
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(bad()),
        };
        let part = Duration::try_from_secs_f64(number * scale).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = after;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variables(more: &[(&str, &str)]) -> Vec<(String, String)> {
        [("POD_NAME", "a-1"), ("POD_NAMESPACE", "shop"), ("INSTANCE_IP", "10.244.0.5")]
            .iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn metadata_is_text_unless_it_is_an_object_or_a_list() {
        let environment = Environment::read(variables(&[
            ("ISTIO_META_LABELS", r#"{"app":"a"}"#),
            ("ISTIO_METAJSON_LABELS", r#"{"version":"v1"}"#),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            ("ISTIO_META_BROKEN", "{no json"),
            ("ISTIO_META_DNS_CAPTURE", "true"),
        ]))
        .expect("read");
        assert_eq!(
            Value::Object(environment.metadata),
            json!({
                "LABELS": {"app": "a", "version": "v1"}, "CLUSTER_ID": "Kubernetes",
                "BROKEN": "{no json", "DNS_CAPTURE": "true",
            })
        );
        assert_eq!(environment.service_account, "default");
        assert_eq!(environment.certificate_lifetime, Duration::from_secs(86400));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = Environment::read(Vec::new()).expect_err("incomplete");
        assert!(error.to_string().contains("POD_NAME"), "{error}");
        let error = Environment::read(variables(&[("SECRET_TTL", "soon")])).expect_err("bad");
        assert!(error.to_string().contains("SECRET_TTL=soon"), "{error}");
    }

    #[test]
    fn application_metrics_from_either_place() {
        let injected = r#"{"scrape":"true","port":"9100","path":"stats"}"#;
        let annotated = r#"{"prometheus.io/scrape":"true","prometheus.io/port":"9100","prometheus.io/path":"/stats"}"#;
        for variable in
            [("ISTIO_PROMETHEUS_ANNOTATIONS", injected), ("ISTIO_META_ANNOTATIONS", annotated)]
        {
            let environment = Environment::read(variables(&[variable])).expect("read");
            let expected = ApplicationMetrics { port: 9100, path: "/stats".into() };
            assert_eq!(environment.application_metrics, Some(expected));
        }
        assert_eq!(Environment::read(variables(&[])).expect("read").application_metrics, None);
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        for bad in ["", "20", "h", "1d", "-1s", "99999999999999999999h", "1.2.3s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
