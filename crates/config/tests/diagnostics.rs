//! Every rule with its message: each file of `diagnostics/` holds cases, a title line `=== title`,
//! YAML, and after `>>>` the diagnostics that it gives (none when there is no such line).
//! `MIZZEN_UPDATE_GOLDEN=1 cargo test -p config --test diagnostics` writes them anew.

use std::{fs, path::Path};

use config::{analyze, parse_file};

struct Case {
    title: String,
    yaml: String,
    expected: String,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut in_expected = false;
    for line in text.split_inclusive('\n') {
        if let Some(title) = line.strip_prefix("=== ") {
            let title = title.trim_end().to_owned();
            cases.push(Case { title, yaml: String::new(), expected: String::new() });
            in_expected = false;
        } else if line.trim_end() == ">>>" {
            in_expected = true;
        } else if let Some(case) = cases.last_mut() {
            if in_expected { case.expected += line } else { case.yaml += line }
        }
    }
    cases
}

fn diagnose(yaml: &str) -> String {
    let parsed = parse_file("f", yaml);
    let mut lines: Vec<String> = Vec::new();
    if !parsed.has_errors() {
        lines.extend(analyze(&parsed.objects).iter().map(ToString::to_string));
    }
    let own = parsed.diagnostics.iter().map(ToString::to_string);
    own.chain(lines).map(|line| line.trim_start_matches("f:").to_owned() + "\n").collect()
}

#[test]
fn each_case_gives_its_diagnostics() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let update = std::env::var_os("MIZZEN_UPDATE_GOLDEN").is_some();
    let mut wrong = String::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let mut written = String::new();
        for case in cases(&fs::read_to_string(&path).unwrap()) {
            let actual = diagnose(&case.yaml);
            if actual != case.expected {
                let place = path.file_name().unwrap().to_string_lossy().into_owned();
                wrong += &format!(
                    "{place}: {}\n expected:\n{} actual:\n{actual}\n",
                    case.title, case.expected
                );
            }
            written += &format!("=== {}\n{}", case.title, case.yaml);
            if !actual.is_empty() {
                written += &format!(">>>\n{actual}");
            }
        }
        if update {
            fs::write(&path, written).unwrap();
        }
    }
    assert!(update || wrong.is_empty(), "{wrong}");
}
