//! `mizzen control`: the control plane, until SIGTERM or SIGINT.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use daemon::{LogFormat, LogOptions};

/// Run the control plane: configuration for proxies over xDS, certificates for workloads
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of Kubernetes and Istio YAML, watched; may be given several times
    #[arg(long = "config", value_name = "DIR", required = true)]
    config: Vec<PathBuf>,
    /// Directory of the certificate authority (Istio's file names); made when it is empty
    #[arg(long, value_name = "DIR")]
    ca_dir: PathBuf,
    /// Public key (PEM, ECDSA P-256) that workloads' tokens are verified with
    #[arg(long, value_name = "FILE")]
    token_key: Option<PathBuf>,
    /// Address to listen on; the plaintext port is on loopback in any case
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    grpc_address: IpAddr,
    /// Unix socket that serves the debug pages too
    #[arg(long, value_name = "PATH")]
    debug_socket: Option<PathBuf>,
    /// Life of workload certificates when none is asked for, such as 24h or 20s
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    workload_cert_ttl: Duration,
    /// Trust domain of the mesh
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    trust_domain: String,
    /// Wait until no file changed for this long
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = duration,
          env = "PILOT_DEBOUNCE_AFTER")]
    debounce_after: Duration,
    /// Act on changes at the latest after this long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration,
          env = "PILOT_DEBOUNCE_MAX")]
    debounce_max: Duration,
    /// Port of plaintext gRPC
    #[arg(long, value_name = "PORT", default_value_t = 15010, help_heading = "Ports")]
    plaintext_port: u16,
    /// Port of gRPC over TLS
    #[arg(long, value_name = "PORT", default_value_t = 15012, help_heading = "Ports")]
    tls_port: u16,
    /// Port of /metrics
    #[arg(long, value_name = "PORT", default_value_t = 15014, help_heading = "Ports")]
    monitoring_port: u16,
    /// Port of /ready and /debug
    #[arg(long, value_name = "PORT", default_value_t = 8080, help_heading = "Ports")]
    http_port: u16,
    /// What is logged: a level, or target=level,…
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Log JSON lines
    #[arg(long)]
    log_as_json: bool,
}

/// A positive duration in the mesh's own notation: `20s`, `1h30m`, `100ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration =
        text.parse().map_err(|error| format!("{error}; write it like 24h, 20s or 100ms"))?;
    match Duration::try_from(signed) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be more than zero".into()),
    }
}

/// Runs until it is told to stop.
///
/// # Errors
/// When it cannot start; the message says what is missing or taken.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let format = if args.log_as_json { LogFormat::Json } else { LogFormat::Text };
    daemon::init_logging(&LogOptions { filter: args.log_level.clone(), format })
        .map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = daemon::on_signals().context("cannot handle signals")?;
        let plane = ::control::ControlPlane::start(options(args), stop)
            .await
            .context("the control plane cannot start")?;
        plane.wait().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn options(args: Args) -> ::control::Options {
    ::control::Options {
        token_key: args.token_key,
        address: args.grpc_address,
        ports: ::control::Ports {
            plaintext: args.plaintext_port,
            tls: args.tls_port,
            monitoring: args.monitoring_port,
            http: args.http_port,
        },
        debug_socket: args.debug_socket,
        workload_cert_ttl: args.workload_cert_ttl,
        trust_domain: args.trust_domain,
        debounce: ::control::Debounce { quiet: args.debounce_after, cap: args.debounce_max },
        ..::control::Options::new(args.config, args.ca_dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, millis) in
            [("24h", 86_400_000), ("20s", 20_000), ("100ms", 100), ("1m30s", 90_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "0s", "-1s", "x", "5"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
