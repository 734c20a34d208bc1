//! Development tasks, run as `cargo xtask <task>`. A library so that tests can hold the workspace
//! against the tidy checks. Depends on no crate of the workspace: it builds in seconds.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks")]

mod peers;
mod test;
pub mod tidy;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Development tasks of the workspace
#[derive(Debug, clap::Parser)]
#[command(name = "cargo xtask")]
pub struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Fetch the real peers, run every test, say what was skipped and why
    Test(test::Args),
    /// Check the workspace's own rules: arrows between crates, purity, names, file sizes
    Tidy,
    /// Fetch the real peers that tests run against, and say where they are
    Peers,
}

impl Cli {
    /// Runs the task.
    ///
    /// # Errors
    /// When the task could not be carried out; that it found something bad is the exit code.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.task {
            Task::Test(args) => test::run(&args),
            Task::Tidy => run_tidy(),
            Task::Peers => run_peers(),
        }
    }
}

/// The workspace's root folder.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The cargo that started this task, else the one on the path.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn run_tidy() -> anyhow::Result<ExitCode> {
    let report = tidy::check(&root())?;
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    for error in &report.errors {
        println!("error: {error}");
    }
    println!("tidy: {} errors, {} warnings", report.errors.len(), report.warnings.len());
    Ok(if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_peers() -> anyhow::Result<ExitCode> {
    match peers::envoy() {
        Ok(path) => {
            println!("envoy: {}", path.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("envoy: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}
