//! The workspace's own rules, held against its files: the arrows of `ARCHITECTURE.md`, what pure
//! crates must not contain, names, headers and file sizes.

mod arrows;
mod sources;

use std::path::Path;

pub use arrows::Arrows;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Broken rules.
    pub errors: Vec<String>,
    /// What deserves a look.
    pub warnings: Vec<String>,
}

/// Checks the workspace at `root`.
///
/// # Errors
/// When the workspace cannot be read; broken rules are in the report.
pub fn check(root: &Path) -> anyhow::Result<Report> {
    let mut report = Report::default();
    arrows::check(root, &mut report)?;
    sources::check(root, &mut report)?;
    Ok(report)
}
