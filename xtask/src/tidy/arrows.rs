//! Which crate may depend on which: the table in `ARCHITECTURE.md` against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand};

use super::Report;

/// What pure crates may not depend on, whatever the table says.
const IMPURE: [&str; 8] =
    ["tokio", "hyper", "hyper-util", "axum", "h2", "nix", "socket2", "tracing-subscriber"];
/// Crates without I/O, clock and environment.
pub(super) const PURE: [&str; 4] = ["config", "engine", "pilot", "xds"];

/// The crates that each crate may depend on; `None` is any.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrows(BTreeMap<String, Option<BTreeSet<String>>>);

impl Arrows {
    /// Reads the table: crate names in back quotes, one sentence, crates separated by commas.
    /// A dash is none, `any` and `all roles` are any; where a row names several crates, their
    /// rights are separated by `;`.
    #[must_use]
    pub fn parse(document: &str) -> Self {
        let rows = document.lines().filter_map(row);
        Self(rows.flatten().collect())
    }

    /// Whether `from` may depend on `to`; `None` when the table has no row for `from`.
    #[must_use]
    pub fn allow(&self, from: &str, to: &str) -> Option<bool> {
        Some(self.0.get(from)?.as_ref().is_none_or(|allowed| allowed.contains(to)))
    }
}

type Rights = (String, Option<BTreeSet<String>>);

fn row(line: &str) -> Option<Vec<Rights>> {
    let cells: Vec<&str> = line.trim().strip_prefix('|')?.split('|').map(str::trim).collect();
    let [names, _, rights, ..] = cells.as_slice() else { return None };
    let names: Vec<&str> = names.split(',').map(|name| name.trim().trim_matches('`')).collect();
    if !cells[0].starts_with('`') {
        return None;
    }
    let mut rights = rights.split(';').map(rights_of).collect::<Vec<_>>().into_iter();
    let mut last = None;
    let each = names.into_iter().map(|name| {
        last = rights.next().or_else(|| last.clone());
        (name.to_owned(), last.clone().unwrap_or_default())
    });
    Some(each.collect())
}

fn rights_of(cell: &str) -> Option<BTreeSet<String>> {
    if matches!(cell.trim(), "any" | "all roles") {
        return None;
    }
    let names = cell.split(',').map(|name| name.split('(').next().unwrap_or_default().trim());
    Some(names.filter(|name| !matches!(*name, "" | "–" | "-" | "none")).map(Into::into).collect())
}

/// Normal dependencies between the crates under `crates/`; those for tests are free.
pub(super) fn check(root: &Path, report: &mut Report) -> anyhow::Result<()> {
    let document = fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    let arrows = Arrows::parse(&document);
    ensure!(!arrows.0.is_empty(), "ARCHITECTURE.md: the table of crates was not found");
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let members: BTreeMap<&str, &str> = metadata
        .packages
        .iter()
        .map(|package| (package.name.as_str(), folder(package.manifest_path.as_str())))
        .collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if !package.manifest_path.as_std_path().starts_with(root.join("crates")) {
            continue;
        }
        let from = folder(package.manifest_path.as_str());
        let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
        for dependency in normal {
            if PURE.contains(&from) && IMPURE.contains(&dependency.name.as_str()) {
                report.errors.push(format!("{from} is pure and depends on {}", dependency.name));
            }
            let Some(to) = members.get(dependency.name.as_str()) else { continue };
            match arrows.allow(from, to) {
                Some(true) => {}
                Some(false) => report
                    .errors
                    .push(format!("{from} depends on {to}, which ARCHITECTURE.md does not allow")),
                None => report.errors.push(format!("ARCHITECTURE.md has no row for {name}")),
            }
        }
    }
    Ok(())
}

/// The name of the folder of a manifest, by which the table names a crate.
fn folder(manifest: &str) -> &str {
    manifest.rsplit('/').nth(1).unwrap_or(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let arrows = Arrows::parse(
            "| crate | in one sentence | may depend on |\n| --- | --- | --- |\n\
             | `pb` | Messages. | – |\n| `xds` | Values. | pb |\n\
             | `agent` | Companion. | proxy (only to start it), xds |\n\
             | `cli` | Binary. | all roles |\n| `testkit`, `xtask` | Tools. | any; none |\n",
        );
        assert_eq!(arrows.allow("pb", "xds"), Some(false));
        assert_eq!(arrows.allow("xds", "pb"), Some(true));
        assert_eq!(arrows.allow("xds", "engine"), Some(false));
        assert_eq!(arrows.allow("agent", "proxy"), Some(true));
        assert_eq!(arrows.allow("agent", "pb"), Some(false));
        assert_eq!(arrows.allow("cli", "proxy"), Some(true));
        assert_eq!(arrows.allow("testkit", "engine"), Some(true));
        assert_eq!(arrows.allow("xtask", "engine"), Some(false));
        assert_eq!(arrows.allow("new", "engine"), None);
    }
}
