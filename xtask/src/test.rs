//! `cargo xtask test`: peers, one build, every test binary, one summary.
//!
//! Cargo builds; the binaries are run from here, so that a failure or a skip is told with its
//! package, and a test that hangs ends its binary and not the whole run.

mod binary;
mod outcome;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cargo_metadata::Message;

use binary::Binary;
use outcome::Outcome;

use crate::peers;

/// Arguments of `cargo xtask test`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fail when a test was skipped; the default where CI=true
    #[arg(long)]
    deny_skips: bool,

    /// Only the tests of these packages
    #[arg(long, short)]
    package: Vec<String>,

    /// Seconds that one test binary may run
    #[arg(long, default_value_t = 900)]
    timeout: u64,

    /// Run only tests whose name contains one of these
    filter: Vec<String>,
}

impl Args {
    /// The packages to build, as arguments for cargo.
    fn selection(&self) -> Vec<&str> {
        if self.package.is_empty() {
            return vec!["--workspace"];
        }
        self.package.iter().flat_map(|package| ["--package", package]).collect()
    }
}

/// Runs the tests. Fails on a failed test, and on a skipped one where skips are denied.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let envoy = match peers::envoy() {
        Ok(path) => {
            println!("stock Envoy: {}", path.display());
            Some(path)
        }
        Err(error) => {
            println!("stock Envoy: none, its tests will be skipped: {error:#}");
            None
        }
    };
    let binaries = build(args)?;
    println!("{} test binaries built in {:.0?}", binaries.len(), started.elapsed());
    let mut total = Outcome::default();
    for binary in &binaries {
        total.add(binary.run(envoy.as_deref(), &args.filter, Duration::from_secs(args.timeout))?);
    }
    total.add(doc_tests(args)?);
    total.print();
    println!("{:.0?} in all", started.elapsed());
    Ok(total.exit_code(args.deny_skips || std::env::var("CI").is_ok_and(|ci| ci == "true")))
}

/// Builds every test binary of the selection, and says where they are.
fn build(args: &Args) -> anyhow::Result<Vec<Binary>> {
    let mut child = Command::new(crate::cargo())
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .args(args.selection())
        .current_dir(crate::root())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let stdout = child.stdout.take().context("no output from cargo")?;
    let mut binaries = Vec::new();
    for message in Message::parse_stream(std::io::BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message? {
            binaries.extend(Binary::from_artifact(&artifact));
        }
    }
    if !child.wait()?.success() {
        bail!("the tests do not compile");
    }
    binaries.sort_by_key(Binary::order);
    Ok(binaries)
}

/// Tests in documentation, which cargo itself builds and runs.
fn doc_tests(args: &Args) -> anyhow::Result<Outcome> {
    let mut command = Command::new(crate::cargo());
    command.args(["test", "--doc", "--no-fail-fast", "--quiet"]).args(args.selection());
    command.arg("--").args(&args.filter).current_dir(crate::root()).stderr(Stdio::inherit());
    let output = command.output().context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut outcome = Outcome::default();
    text.lines().for_each(|line| outcome.line("doc", line));
    if !output.status.success() {
        print!("{text}");
        outcome.unexplained("doc", "cargo test --doc failed");
    }
    println!("{:<40} {}", "documentation", outcome.brief());
    Ok(outcome)
}
