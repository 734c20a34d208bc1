//! `mizzen internal …`: the processes that `mizzen up` starts for itself.

use std::process::ExitCode;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Enters the namespaces
    Boot,
}

pub(crate) fn run(_command: &Command) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not there yet")
}
