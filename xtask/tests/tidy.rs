//! The workspace keeps its own rules.

#[test]
fn the_workspace_is_tidy() {
    let report = xtask::tidy::check(&xtask::root()).unwrap();
    assert!(report.errors.is_empty(), "\n{}", report.errors.join("\n"));
}
