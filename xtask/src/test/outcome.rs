//! What came of the tests: counted from libtest's lines and from the skips that tests recorded.

use std::process::ExitCode;

/// Counts and names over one or more test binaries.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    passed: usize,
    failed: Vec<String>,
    /// Test and reason.
    skipped: Vec<(String, String)>,
}

impl Outcome {
    /// Reads one line of libtest's output: `test NAME ... RESULT`, or the summary where cargo ran
    /// several binaries quietly.
    pub(crate) fn line(&mut self, binary: &str, line: &str) {
        if binary == "doc" {
            return self.summary_line(line);
        }
        let Some((name, result)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        else {
            return;
        };
        let name = name.trim_end_matches(" - should panic");
        if result == "ok" {
            self.passed += 1;
        } else if let Some(reason) = result.strip_prefix("ignored") {
            let reason = reason.trim_start_matches([',', ' ']);
            let reason =
                if reason.is_empty() { "marked #[ignore] without a reason" } else { reason };
            self.skipped.push((format!("{binary}::{name}"), reason.to_owned()));
        } else {
            self.failed.push(format!("{binary}::{name}"));
        }
    }

    /// `test result: ok. 3 passed; 0 failed; …`
    fn summary_line(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let count = |word: &str| {
            rest.split([';', '.'])
                .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
                .unwrap_or(0usize)
        };
        self.passed += count("passed");
        for _ in 0..count("failed") {
            self.failed.push("a documentation test, see above".to_owned());
        }
    }

    /// Notes that `binary` ended badly, when no failed test explains it.
    pub(crate) fn unexplained(&mut self, binary: &str, problem: &str) {
        if self.failed.is_empty() {
            self.failed.push(format!("{binary}: {problem}"));
        }
    }

    /// Reads what tests wrote to `MIZZEN_SKIPS`. Libtest counts a skipped test as passed.
    pub(crate) fn skips(&mut self, binary: &str, recorded: &str) {
        for line in recorded.lines() {
            let (name, reason) = line.split_once('\t').unwrap_or((line, "no reason given"));
            self.skipped.push((format!("{binary}::{name}"), reason.to_owned()));
            self.passed = self.passed.saturating_sub(1);
        }
    }

    /// Joins another outcome to this one.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }

    /// Whether nothing failed.
    pub(crate) fn is_success(&self) -> bool {
        self.failed.is_empty()
    }

    /// `3 passed`, with failures and skips where there are any.
    pub(crate) fn brief(&self) -> String {
        let mut text = format!("{} passed", self.passed);
        if !self.failed.is_empty() {
            text.push_str(&format!(", {} FAILED", self.failed.len()));
        }
        if !self.skipped.is_empty() {
            text.push_str(&format!(", {} skipped", self.skipped.len()));
        }
        text
    }

    /// Prints names and counts.
    pub(crate) fn print(&self) {
        println!();
        for (name, reason) in &self.skipped {
            println!("SKIPPED: {name}: {reason}");
        }
        for name in &self.failed {
            println!("FAILED: {name}");
        }
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        println!("{} passed, {failed} failed, {skipped} skipped", self.passed);
    }

    /// Failure for a failed test, for a run without tests, and for a skip where they are denied.
    pub(crate) fn exit_code(&self, deny_skips: bool) -> ExitCode {
        if !self.is_success() {
            return ExitCode::FAILURE;
        }
        if self.passed == 0 && self.skipped.is_empty() {
            println!("failing because no test ran");
            return ExitCode::FAILURE;
        }
        if deny_skips && !self.skipped.is_empty() {
            println!("failing because tests were skipped");
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[&str]) -> Outcome {
        let mut outcome = Outcome::default();
        lines.iter().for_each(|line| outcome.line("xds", line));
        outcome
    }

    #[test]
    fn results_are_counted_and_named() {
        let outcome = outcome(&[
            "running 4 tests",
            "test a::b ... ok",
            "test a::panics - should panic ... ok",
            "test a::c ... FAILED",
            "test a::d ... ignored, takes an hour",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(outcome.passed, 2);
        assert_eq!(outcome.failed, ["xds::a::c"]);
        assert_eq!(outcome.skipped, [("xds::a::d".to_owned(), "takes an hour".to_owned())]);
        assert_eq!(outcome.brief(), "2 passed, 1 FAILED, 1 skipped");
    }

    #[test]
    fn a_recorded_skip_is_no_pass() {
        let mut outcome = outcome(&["test a::b ... ok", "test a::c ... ok"]);
        outcome.skips("xds", "a::c\tno stock Envoy\n");
        assert_eq!(outcome.passed, 1);
        assert_eq!(outcome.skipped, [("xds::a::c".to_owned(), "no stock Envoy".to_owned())]);
        assert_eq!(outcome.exit_code(true), ExitCode::FAILURE);
        assert_eq!(outcome.exit_code(false), ExitCode::SUCCESS);
    }

    #[test]
    fn a_crash_without_a_failed_test_is_a_failure() {
        let mut outcome = outcome(&["test a::b ... ok"]);
        outcome.unexplained("xds", "signal: 11");
        assert_eq!(outcome.failed, ["xds: signal: 11"]);
    }

    #[test]
    fn documentation_is_counted_by_its_summaries() {
        let mut outcome = Outcome::default();
        outcome.line("doc", "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured");
        outcome.line("doc", "test result: FAILED. 1 passed; 2 failed; 0 ignored");
        assert_eq!((outcome.passed, outcome.failed.len()), (4, 2));
    }
}
