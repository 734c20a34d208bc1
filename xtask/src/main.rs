//! `cargo xtask`: the project's development tasks.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> anyhow::Result<ExitCode> {
    xtask::Cli::parse().run()
}
