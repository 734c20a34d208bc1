//! `mizzen internal …`: the processes that `mizzen up` starts for itself.

use std::process::ExitCode;

use anyhow::Context as _;

/// The processes behind `mizzen up`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Enters the namespaces
    Boot(Args),
    /// The first process inside
    Init(Args),
    /// Starts and keeps everything else
    Runtime(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the process before it wants, as JSON
    #[arg(long)]
    options: String,
}

/// Becomes one of the processes. Their log is their standard error, which `up` leads to
/// `logs/runtime.log`.
pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let log = daemon::LogOptions { filter, ..daemon::LogOptions::default() };
    daemon::init_logging(&log).map_err(anyhow::Error::msg)?;
    let code = match command {
        Command::Boot(args) => local::boot::boot(&args.options),
        Command::Init(args) => local::boot::init(&args.options),
        Command::Runtime(args) => {
            let options = serde_json::from_str(&args.options).context("--options")?;
            local::runtime::run(options)
        }
    };
    Ok(ExitCode::from(code))
}
