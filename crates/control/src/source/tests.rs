//! Reading directories, and what happens when they break.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn texts(reading: Reading) -> Vec<(String, Option<String>)> {
    let file = |path: String| path.rsplit('/').next().unwrap().to_owned();
    let mut changes: Vec<_> =
        reading.changes.into_iter().map(|(path, text)| (file(path), text)).collect();
    changes.sort();
    changes
}

#[test]
fn tells_what_is_new_changed_and_gone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir(root.join("deep")).unwrap();
    fs::write(root.join("a.yaml"), "1").unwrap();
    fs::write(root.join("deep/b.yml"), "2").unwrap();
    fs::write(root.join("c.json"), "3").unwrap();
    for ignored in ["README.md", ".a.yaml.swp", ".hidden.yaml", "a.yaml~"] {
        fs::write(root.join(ignored), "x").unwrap();
    }
    symlink(root, root.join("deep/loop")).unwrap();
    let mut source = FileSource::new(vec![root.to_owned()]).unwrap();
    let first = texts(source.read());
    assert!(first.contains(&("b.yml".into(), Some("2".into()))), "{first:?}");
    assert!(!first.iter().any(|(name, _)| name.starts_with('.') || name.ends_with('d')));
    fs::remove_file(root.join("deep/loop")).unwrap();
    source.read();
    assert_eq!(texts(source.read()), []);
    fs::write(root.join("a.yaml"), "one").unwrap();
    fs::remove_file(root.join("c.json")).unwrap();
    fs::write(root.join("d.yaml"), "4").unwrap();
    let changes = texts(source.read());
    let expected = [
        ("a.yaml".to_owned(), Some("one".to_owned())),
        ("c.json".into(), None),
        ("d.yaml".into(), Some("4".into())),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn keeps_what_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    fs::create_dir_all(&one).unwrap();
    fs::create_dir_all(&two).unwrap();
    fs::write(one.join("a.yaml"), "1").unwrap();
    fs::write(two.join("b.yaml"), "2").unwrap();
    let mut source = FileSource::new(vec![one.clone(), two.clone()]).unwrap();
    assert_eq!(source.read().changes.len(), 2);
    // Not text at all.
    fs::write(one.join("a.yaml"), [0xff, 0xfe]).unwrap();
    // A whole directory gone, as when a mount is lost.
    fs::remove_dir_all(&two).unwrap();
    let reading = source.read();
    assert!(reading.changes.is_empty(), "{:?}", reading.changes);
    assert_eq!(reading.problems.len(), 2, "{:?}", reading.problems);
    fs::write(one.join("a.yaml"), "again").unwrap();
    assert_eq!(texts(source.read()), [("a.yaml".to_owned(), Some("again".to_owned()))]);
}

#[test]
fn a_huge_file_is_a_problem_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "1").unwrap();
    let huge = fs::File::create(dir.path().join("huge.yaml")).unwrap();
    huge.set_len(MAX_FILE_BYTES + 1).unwrap();
    let mut source = FileSource::new(vec![dir.path().to_owned()]).unwrap();
    let reading = source.read();
    assert_eq!((reading.changes.len(), reading.problems.len()), (1, 1));
}

#[test]
fn refuses_what_is_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nothing-here");
    let error = FileSource::new(vec![missing]).unwrap_err().to_string();
    assert!(error.contains("nothing-here") && error.contains("--config"), "{error}");
}

#[tokio::test]
async fn notices_a_change_in_a_new_directory() {
    let dir = tempfile::tempdir().unwrap();
    let source = FileSource::new(vec![dir.path().to_owned()]).unwrap();
    let (_watch, mut changes) = source.watch();
    fs::create_dir(dir.path().join("new")).unwrap();
    let wait = Duration::from_secs(5);
    tokio::time::timeout(wait, changes.recv()).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    while changes.try_recv().is_ok() {}
    fs::write(dir.path().join("new/a.yaml"), "1").unwrap();
    tokio::time::timeout(wait, changes.recv()).await.unwrap().unwrap();
}
