//! The merged metrics page: the agent's own, the proxy's, the application's. A source that fails
//! costs its part only.

use std::{net::Ipv4Addr, time::Duration};

use http::{Method, StatusCode};
use tokio::net::TcpStream;

use super::Status;
use crate::envoy::admin::request;

/// How long one source may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// All sources' metrics in Prometheus' text format.
pub(super) async fn merged(status: &Status) -> String {
    status.metrics.scrapes.inc();
    // A page is held in memory whole. Those who ask at the same time wait for each other.
    let _turn = status.scraping.lock().await;
    let application = async {
        let target = status.application.as_ref()?;
        Some(fetch(target.port, &target.path).await)
    };
    let (proxy, application) =
        tokio::join!(fetch(status.prometheus_port, "/stats/prometheus"), application);
    let mut page = String::new();
    let sources = [("envoy", Some(proxy)), ("application", application)];
    for (source, text) in sources.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        match text {
            Ok(text) => append(&mut page, &text),
            Err(why) => {
                status.metrics.scrape_failures.with_label_values(&[source]).inc();
                tracing::debug!(source, why, "scrape failed");
            }
        }
    }
    match status.metrics.text() {
        Ok(text) => append(&mut page, &text),
        Err(error) => tracing::error!(%error, "the agent's metrics cannot be written"),
    }
    page
}

/// Adds whole lines; an `OpenMetrics` end mark in the middle would end the page.
fn append(page: &mut String, text: &str) {
    for line in text.lines().filter(|line| line.trim_end() != "# EOF") {
        page.push_str(line);
        page.push('\n');
    }
}

async fn fetch(port: u16, path: &str) -> Result<String, String> {
    let fetched = async {
        let stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(|e| e.to_string())?;
        request(stream, Method::GET, "localhost", path).await
    };
    match tokio::time::timeout(TIMEOUT, fetched).await {
        Ok(Ok((StatusCode::OK, text))) => Ok(text),
        Ok(Ok((status, _))) => Err(format!("port {port}{path} answered {status}")),
        Ok(Err(why)) => Err(format!("port {port}{path}: {why}")),
        Err(_) => Err(format!("port {port}{path}: no answer within {} s", TIMEOUT.as_secs())),
    }
}
