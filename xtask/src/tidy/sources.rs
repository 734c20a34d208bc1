//! Rules for single files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Report;
use super::arrows::PURE;

/// Lines of a source file, without its tests, from which on it deserves a look.
const LONG: usize = 400;
/// What code of a pure crate does not contain.
const IMPURE: [&str; 9] = [
    "tokio",
    "hyper::",
    "std::fs",
    "std::net::Tcp",
    "std::env",
    "env::var",
    "Instant::now",
    "SystemTime::now",
    "rand::",
];
/// Notes to oneself. In two parts, so that this file may be checked too.
const NOTES: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
/// Names that say nothing.
const EMPTY_NAMES: [&str; 4] = ["common.rs", "helpers.rs", "util.rs", "utils.rs"];

/// Checks every source file of the workspace.
pub(super) fn check(root: &Path, report: &mut Report) -> anyhow::Result<()> {
    for folder in ["crates", "examples", "xtask", "docs"] {
        for path in files(&root.join(folder))? {
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if !matches!(extension, "rs" | "toml" | "yaml" | "proto" | "md") {
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let name = path.strip_prefix(root).unwrap_or(&path);
            notes(name, &text, report);
            if extension == "rs" {
                source(name, &text, report);
            }
        }
    }
    Ok(())
}

/// All files below `folder`, sorted; none when it does not exist.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn notes(name: &Path, text: &str, report: &mut Report) {
    for (number, line) in (1..).zip(text.lines()) {
        for note in NOTES.iter().filter(|note| line.contains(**note)) {
            report.errors.push(format!("{}:{number}: {note}", name.display()));
        }
    }
}

fn source(name: &Path, text: &str, report: &mut Report) {
    let shown = name.display();
    let file = name.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    if file == "mod.rs" {
        report.errors.push(format!("{shown}: use foo.rs beside foo/"));
    }
    if EMPTY_NAMES.contains(&file) {
        report.errors.push(format!("{shown}: a name that says nothing"));
    }
    if is_test(name) {
        return;
    }
    if !text.starts_with("//!") {
        report.errors.push(format!("{shown}: no //! header that says what the file is"));
    }
    let code = code(text);
    if code.len() > LONG {
        report.warnings.push(format!("{shown}: {} lines without tests", code.len()));
    }
    if pure(name) {
        for (number, line) in &code {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                report.errors.push(format!("{shown}:{number}: {word} in a pure crate"));
            }
        }
    }
}

/// The numbered lines before the file's tests. Comments stay as empty lines.
fn code(text: &str) -> Vec<(usize, &str)> {
    let lines = (1..).zip(text.lines());
    let before = lines.take_while(|(_, line)| *line != "#[cfg(test)]");
    before
        .map(|(number, line)| (number, if line.trim_start().starts_with("//") { "" } else { line }))
        .collect()
}

fn is_test(name: &Path) -> bool {
    name.ends_with("tests.rs")
        || name
            .components()
            .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "benches")))
}

/// Whether the file belongs to the code of a pure crate. A build script runs elsewhere.
fn pure(name: &Path) -> bool {
    PURE.iter().any(|krate| name.starts_with(format!("crates/{krate}/src")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(name: &str, text: &str) -> Vec<String> {
        let mut report = Report::default();
        notes(Path::new(name), text, &mut report);
        source(Path::new(name), text, &mut report);
        report.errors
    }

    #[test]
    fn pure_crates_have_no_clock_outside_their_tests() {
        let text = "//! A.\n// Instant::now is for the caller.\nlet now = Instant::now();\n";
        assert_eq!(
            errors("crates/engine/src/a.rs", text),
            ["crates/engine/src/a.rs:3: Instant::now in a pure crate"]
        );
        assert!(errors("crates/proxy/src/a.rs", text).is_empty());
        assert!(errors("crates/engine/src/a/tests.rs", text).is_empty());
        let tested = "//! A.\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert!(errors("crates/engine/src/a.rs", tested).is_empty());
    }

    #[test]
    fn headers_names_and_notes() {
        assert_eq!(errors("crates/proxy/src/a.rs", "use x;\n").len(), 1);
        assert_eq!(errors("crates/proxy/src/util.rs", "//! A.\n").len(), 1);
        assert_eq!(errors("crates/proxy/src/a/mod.rs", "//! A.\n").len(), 1);
        let note = format!("//! A.\n// {}: later\n", NOTES[0]);
        assert_eq!(errors("crates/proxy/src/a.rs", &note).len(), 1);
    }

    #[test]
    fn a_long_file_is_a_warning_and_its_tests_do_not_count() {
        let mut report = Report::default();
        let long = format!("//! A.\n{}", "let a = 1;\n".repeat(LONG));
        source(Path::new("crates/proxy/src/a.rs"), &long, &mut report);
        assert_eq!(report.warnings.len(), 1);
        let tested = format!("//! A.\n#[cfg(test)]\n{}", "let a = 1;\n".repeat(LONG));
        source(Path::new("crates/proxy/src/b.rs"), &tested, &mut report);
        assert_eq!(report.warnings.len(), 1);
    }
}
