//! The project's own examples are free of diagnostics.

use std::{fs, path::Path};

use config::Catalog;

#[test]
fn bookinfo_is_without_fault() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/bookinfo");
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
    assert!(catalog.objects().count() > 10);
}
