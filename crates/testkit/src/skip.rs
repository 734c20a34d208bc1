//! Saying that a test did not run.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::thread;

/// Notes that the calling test is skipped because of `reason`; the test then returns.
///
/// Prints `SKIPPED: <test>: <reason>`, and appends `<test>\t<reason>` to the file that
/// `MIZZEN_SKIPS` names, from which `cargo xtask test` makes its summary. To be called on the
/// test's own thread, whose name is the test's.
///
/// ```no_run
/// let Some(envoy) = testkit::peers::envoy() else {
///     return testkit::skip("no stock Envoy");
/// };
/// # drop(envoy);
/// ```
#[track_caller]
#[expect(clippy::print_stdout, reason = "a test's way of speaking")]
#[expect(clippy::panic, reason = "a skip that cannot be recorded must not look like a pass")]
pub fn skip(reason: &str) {
    let thread = thread::current();
    let name = match thread.name() {
        Some(name) if name != "main" && !name.starts_with("tokio-") => name.to_owned(),
        // `--test-threads=1` runs tests on the main thread.
        _ => Location::caller().to_string(),
    };
    println!("SKIPPED: {name}: {reason}");
    let Some(file) = std::env::var_os("MIZZEN_SKIPS").map(PathBuf::from) else { return };
    if let Err(error) = record(&file, &name, reason) {
        panic!("{}: cannot record a skip: {error}", file.display());
    }
}

/// Appends in one write, so that tests on several threads do not mix their lines.
fn record(file: &Path, name: &str, reason: &str) -> std::io::Result<()> {
    let line = format!("{name}\t{}\n", reason.replace('\n', " "));
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_recorded_a_line_each() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("skips");
        record(&file, "a::b", "no\nEnvoy").unwrap();
        record(&file, "a::c", "no namespaces").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "a::b\tno Envoy\na::c\tno namespaces\n");
    }
}
