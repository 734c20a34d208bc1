//! The project's own examples are free of diagnostics.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its files must fail")]

use std::{fs, path::Path};

use config::Catalog;

#[test]
fn bookinfo_is_without_fault() {
    assert!(objects_of("bookinfo") > 10);
}

#[test]
fn egress_is_without_fault() {
    assert!(objects_of("egress") > 8);
}

/// How many objects an example has, none of which gives any diagnostic.
fn objects_of(example: &str) -> usize {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
    let mut files = Vec::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.push((name, Some(fs::read_to_string(&path).unwrap())));
        }
    }
    let mut catalog = Catalog::new();
    let update = catalog.update(files);
    let lines: Vec<String> = update.diagnostics.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    catalog.objects().count()
}
