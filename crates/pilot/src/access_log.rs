//! Access logs as MeshConfig asks for them: none, unless `accessLogFile` names a file.

use std::collections::BTreeMap;

use config::{AccessLogEncoding, LogFormat, MeshConfig};
use xds::{AccessLog, AccessLogFilter, AccessLogFormat, Struct, Value};

/// Istio's text format.
const TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);

/// The same as JSON: key and operator.
const JSON: [(&str, &str); 24] = [
    ("authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

/// The logs of requests and connections.
pub(crate) fn access_logs(mesh: &MeshConfig) -> Vec<AccessLog> {
    if mesh.access_log_file.is_empty() {
        return Vec::new();
    }
    let path = mesh.access_log_file.clone();
    vec![AccessLog { path, format: format(mesh), filter: None }]
}

/// The log of a provider by its name; none when there is no such provider of access logs.
pub(crate) fn provider(mesh: &MeshConfig, name: &str) -> Option<AccessLog> {
    let stdout = |path: &str| if path.is_empty() { "/dev/stdout" } else { path }.to_owned();
    let named = mesh.extension_providers.iter().find(|provider| provider.name == name);
    match named.and_then(|provider| provider.envoy_file_access_log.as_ref()) {
        Some(file) => {
            let format = match file.log_format.clone() {
                Some(LogFormat { labels: Some(fields), .. }) => AccessLogFormat::Json(
                    fields.into_iter().map(|(name, field)| (name, value(field))).collect(),
                ),
                Some(LogFormat { text: Some(text), .. }) if !text.is_empty() => line(&text),
                _ => format(mesh),
            };
            Some(AccessLog { path: stdout(&file.path), format, filter: None })
        }
        None if name == "envoy" => Some(AccessLog {
            path: stdout(&mesh.access_log_file),
            format: format(mesh),
            filter: None,
        }),
        None => None,
    }
}

fn line(text: &str) -> AccessLogFormat {
    AccessLogFormat::Text(format!("{}\n", text.trim_end_matches('\n')))
}

/// The logs of a listener itself: only connections that found no filter chain.
pub(crate) fn listener_logs(mesh: &MeshConfig) -> Vec<AccessLog> {
    let mut logs = access_logs(mesh);
    for log in &mut logs {
        log.filter = Some(AccessLogFilter::ResponseFlags(vec!["NR".to_owned()]));
    }
    logs
}

fn format(mesh: &MeshConfig) -> AccessLogFormat {
    let written = mesh.access_log_format.as_str();
    match mesh.access_log_encoding {
        AccessLogEncoding::Text if written.is_empty() => AccessLogFormat::Text(TEXT.to_owned()),
        AccessLogEncoding::Text if written.ends_with('\n') => {
            AccessLogFormat::Text(written.to_owned())
        }
        AccessLogEncoding::Text => AccessLogFormat::Text(format!("{written}\n")),
        AccessLogEncoding::Json => {
            AccessLogFormat::Json(json_fields(written).unwrap_or_else(default_json))
        }
    }
}

fn default_json() -> Struct {
    JSON.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect()
}

/// The fields of a JSON object, or none when the text is not one.
fn json_fields(text: &str) -> Option<Struct> {
    match value(serde_json::from_str(text).ok()?) {
        Value::Struct(fields) => Some(fields),
        _ => None,
    }
}

fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(flag),
        serde_json::Value::Number(number) => Value::number(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(value).collect()),
        serde_json::Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.into_iter().map(|(k, v)| (k, value(v))).collect();
            Value::Struct(fields)
        }
    }
}
