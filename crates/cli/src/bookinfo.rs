//! `mizzen bookinfo`: the services of the bookinfo example, linked in so that one binary is enough
//! to try the mesh. Not a tool of the mesh itself.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

/// Run one service of the bookinfo example
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    options: ::bookinfo::Options,

    /// What to log: a level, or a list of target=level
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
}

/// Runs the service until SIGTERM or SIGINT.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let logging = daemon::LogOptions { filter: args.log_level, ..Default::default() };
    daemon::init_logging(&logging).map_err(|reason| anyhow!(reason))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(::bookinfo::run(args.options))?;
    Ok(ExitCode::SUCCESS)
}
