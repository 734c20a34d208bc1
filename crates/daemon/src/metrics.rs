//! The page that Prometheus reads.

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus::{Encoder as _, Registry, TextEncoder};

/// The media type of Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of a registry in Prometheus' text format.
///
/// # Errors
/// When a metric cannot be written, which means a bug in how it was registered.
pub fn metrics_text(registry: &Registry) -> Result<String, prometheus::Error> {
    let mut buffer = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer).into_owned())
}

/// Serves `GET path` with the registry's metrics.
pub fn metrics_router(path: &str, registry: Registry) -> Router {
    let answer = move || {
        let registry = registry.clone();
        async move {
            let (status, text) = match metrics_text(&registry) {
                Ok(text) => (StatusCode::OK, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            };
            (status, [(CONTENT_TYPE, TEXT_FORMAT)], text)
        }
    };
    Router::new().route(path, get(answer))
}
