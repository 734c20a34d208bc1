//! The tools that answer from files alone, by their command lines.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod tools {
    pub(crate) mod analyze;
    pub(crate) mod explain;
    pub(crate) mod proxy_config;
    pub(crate) mod routes;
}

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// The repository's root: paths in answers are relative to it.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `mizzen` with arguments, at the repository's root.
fn mizzen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mizzen"));
    command.current_dir(root()).args(arguments).env_remove("MIZZEN_STATE_DIR");
    command
}

/// What a successful command prints, as JSON.
fn json(arguments: &[&str]) -> Value {
    let output = mizzen(arguments).assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).expect("JSON")
}

/// A directory with one file.
fn directory(text: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("directory");
    std::fs::write(directory.path().join("mesh.yaml"), text).expect("written");
    directory
}

/// A call of bookinfo, explained.
fn bookinfo(arguments: &[&str]) -> Value {
    let mut all = vec!["explain", "-f", "examples/bookinfo", "-o", "json"];
    all.extend(arguments);
    json(&all)
}

/// A call in a mesh of one file, explained.
fn explained(mesh: &TempDir, arguments: &[&str]) -> Value {
    let path = mesh.path().display().to_string();
    let mut all = vec!["explain", "-f", &path, "-o", "json"];
    all.extend(arguments);
    json(&all)
}

/// Status and response flags.
fn end(journey: &Value) -> (Option<u64>, &str) {
    (journey["status"].as_u64(), journey["response_flags"].as_str().unwrap_or_default())
}

fn reason(journey: &Value) -> &str {
    journey["reason"].as_str().unwrap_or_default()
}
