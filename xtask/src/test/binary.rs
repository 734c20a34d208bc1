//! One test binary: how it is run, and what it said.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cargo_metadata::{Artifact, TargetKind};

use super::outcome::Outcome;

/// A test binary that cargo built.
#[derive(Debug)]
pub(crate) struct Binary {
    /// The package and, for an integration test, the file: `proxy` or `proxy::http2`.
    name: String,
    package: String,
    path: PathBuf,
    /// Where the package is; tests run there, as cargo runs them.
    folder: PathBuf,
    integration: bool,
}

impl Binary {
    /// The binary of `artifact`, when it is a test's.
    pub(crate) fn from_artifact(artifact: &Artifact) -> Option<Self> {
        let path = artifact.executable.as_ref().filter(|_| artifact.profile.test)?;
        let folder = artifact.manifest_path.parent()?.as_std_path().to_owned();
        let package = package_name(&folder, &artifact.package_id.repr);
        let integration = artifact.target.kind.contains(&TargetKind::Test);
        let name = if integration {
            format!("{package}::{}", artifact.target.name)
        } else {
            package.clone()
        };
        Some(Self { name, package, path: path.as_std_path().to_owned(), folder, integration })
    }

    /// Quick tests first: those of libraries, then integration tests, by name.
    pub(crate) fn order(&self) -> (bool, String) {
        (self.integration, self.name.clone())
    }

    /// Runs the binary, for `timeout` at most. Its output is shown when something failed.
    pub(crate) fn run(
        &self,
        envoy: Option<&Path>,
        filter: &[String],
        timeout: Duration,
    ) -> anyhow::Result<Outcome> {
        let skips = self.path.with_extension("skips");
        let _ = fs::remove_file(&skips);
        let started = Instant::now();
        let mut command = Command::new(&self.path);
        command
            .args(filter)
            .current_dir(&self.folder)
            .env("CARGO", crate::cargo())
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("CARGO_PKG_NAME", &self.package)
            .env("MIZZEN_SKIPS", &skips)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(envoy) = envoy {
            command.env("MIZZEN_ENVOY", envoy);
        }
        let (lines, end) = converse(&mut command, started + timeout)
            .with_context(|| format!("cannot run {}", self.path.display()))?;
        let mut outcome = Outcome::default();
        lines.iter().for_each(|line| outcome.line(&self.name, line));
        if let Some(problem) = end {
            outcome.unexplained(&self.name, &problem);
        }
        outcome.skips(&self.name, &fs::read_to_string(&skips).unwrap_or_default());
        let _ = fs::remove_file(&skips);
        if !outcome.is_success() {
            lines.iter().for_each(|line| println!("{line}"));
        }
        println!("{:<40} {} in {:.1?}", self.name, outcome.brief(), started.elapsed());
        Ok(outcome)
    }
}

/// The name in the id `path+file:///w/crates/proxy#0.1.0` or `…/app#bookinfo@0.1.0`.
fn package_name(folder: &Path, id: &str) -> String {
    let after = id.rsplit('#').next().unwrap_or_default();
    match after.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

/// Runs `command` and collects its output by line; passes on at once what libtest says about slow
/// tests. The second value says how it ended when that was not well.
fn converse(
    command: &mut Command,
    deadline: Instant,
) -> std::io::Result<(Vec<String>, Option<String>)> {
    let mut child = command.spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    let mut lines = Vec::new();
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if line.contains("has been running for over") {
                    eprintln!("{line}");
                }
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                return Ok((lines, Some("stopped: it ran too long".to_owned())));
            }
        }
    }
    let status = child.wait()?;
    Ok((lines, (!status.success()).then(|| status.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_by_id_or_by_folder() {
        let folder = Path::new("/w/examples/bookinfo/app");
        assert_eq!(package_name(folder, "path+file:///w/app#bookinfo@0.1.0"), "bookinfo");
        assert_eq!(package_name(Path::new("/w/crates/xds"), "path+file:///w/xds#0.1.0"), "xds");
    }

    #[test]
    fn a_program_that_hangs_is_stopped() {
        let mut command = Command::new("sleep");
        command.arg("60").stdout(Stdio::piped());
        let (_, end) = converse(&mut command, Instant::now() + Duration::from_millis(50)).unwrap();
        assert!(end.unwrap().contains("too long"));
    }
}
