//! The catalog's promises: a refused file changes nothing, an object may move between files, and
//! any sequence of updates ends where loading the last good texts afresh would.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Kind;

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{ports: [{{port: {port}}}]}}\n---\n"
    )
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Service, "shop", name)
}

fn put(catalog: &mut Catalog, file: &str, text: impl Into<String>) -> Update {
    catalog.update([(file.to_owned(), Some(text.into()))])
}

#[test]
fn a_broken_edit_keeps_the_last_good_version() {
    let mut catalog = Catalog::new();
    assert!(put(&mut catalog, "a.yaml", service("cart", 80)).changed);
    let update = put(&mut catalog, "a.yaml", service("cart", 80).replace("port:", "prot:"));
    assert!(!update.changed);
    assert_eq!(update.refused, ["a.yaml"]);
    assert_eq!(
        update.diagnostics[0].to_string(),
        "a.yaml:4:17: error: Service shop/cart: spec.ports[0].prot: unknown field (did you mean \
         \"port\"?)"
    );
    assert!(catalog.get(&key("cart")).is_some());
    let mended = put(&mut catalog, "a.yaml", service("cart", 81));
    assert!(mended.changed && mended.refused.is_empty());
}

#[test]
fn a_broken_new_file_is_listed_and_gives_nothing() {
    let mut catalog = Catalog::new();
    let update = put(&mut catalog, "a.yaml", "kind: [");
    assert_eq!(update.refused, ["a.yaml"]);
    assert!(!update.changed);
    assert_eq!(catalog.objects().count(), 0);
    let gone = catalog.update([("a.yaml".to_owned(), None)]);
    assert!(gone.refused.is_empty());
    assert!(catalog.diagnostics().is_empty());
}

#[test]
fn moving_lines_is_no_change() {
    let mut catalog = Catalog::new();
    put(&mut catalog, "a.yaml", service("cart", 80));
    let update = put(&mut catalog, "a.yaml", format!("# a comment\n\n{}", service("cart", 80)));
    assert!(!update.changed);
    let line = catalog.get(&key("cart")).map(|object| object.origin.line);
    assert_eq!(line, Some(3), "the position is the new one all the same");
}

#[test]
fn a_duplicate_is_refused_where_it_came_later() {
    let mut catalog = Catalog::new();
    put(&mut catalog, "b.yaml", service("cart", 80));
    let update = put(&mut catalog, "a.yaml", service("cart", 81) + &service("new", 82));
    assert_eq!(update.refused, ["a.yaml"]);
    let message = update.diagnostics[0].to_string();
    assert!(message.starts_with("a.yaml:3:18: error: Service shop/cart"), "{message}");
    assert!(message.contains("b.yaml:1"), "{message}");
    assert!(catalog.get(&key("new")).is_none(), "the file is refused as a whole");
    // The file that is refused comes in by itself when the other one lets go.
    let update = put(&mut catalog, "b.yaml", service("other", 80));
    assert!(update.refused.is_empty(), "{:?}", update.diagnostics);
    assert_eq!(catalog.objects().count(), 3);
}

/// `a` cannot have what `b` gives up only if `b` is accepted, which clashes with `a`.
#[test]
fn a_file_is_not_turned_down_for_one_that_is_turned_down() {
    let mut catalog = Catalog::new();
    put(&mut catalog, "b.yaml", service("cart", 80));
    let update = catalog.update([
        ("a.yaml".to_owned(), Some(service("cart", 80) + &service("desk", 80))),
        ("b.yaml".to_owned(), Some(service("desk", 80))),
    ]);
    assert_eq!(update.refused, ["a.yaml"]);
    assert!(catalog.get(&key("desk")).is_some() && catalog.get(&key("cart")).is_none());
}

#[test]
fn an_object_moves_between_files_in_one_update() {
    let mut catalog = Catalog::new();
    put(&mut catalog, "a.yaml", service("cart", 80) + &service("shelf", 80));
    put(&mut catalog, "b.yaml", service("desk", 80));
    let update = catalog.update([
        ("a.yaml".to_owned(), Some(service("shelf", 80))),
        ("b.yaml".to_owned(), Some(service("desk", 80) + &service("cart", 80))),
    ]);
    assert!(update.refused.is_empty(), "{:?}", update.diagnostics);
    assert!(!update.changed, "the objects are the same");
}

#[test]
fn twice_in_one_file_names_both_lines() {
    let mut catalog = Catalog::new();
    let update = put(&mut catalog, "a.yaml", service("cart", 80) + &service("cart", 81));
    assert_eq!(
        update.diagnostics[0].to_string(),
        "a.yaml:8:18: error: Service shop/cart: metadata.name: the same object is already at \
         a.yaml:1 (rename or remove one of them)"
    );
}

#[test]
fn a_diagnostic_is_new_only_once() {
    let mut catalog = Catalog::new();
    assert!(!put(&mut catalog, "a.yaml", "kind: [").diagnostics.is_empty());
    assert!(put(&mut catalog, "b.yaml", service("cart", 80)).diagnostics.is_empty());
    assert_eq!(catalog.diagnostics().len(), 1);
}

/// A small world in which clashes and errors are likely.
#[derive(Clone, Debug)]
enum Text {
    Services(Vec<(u8, u16)>),
    Broken,
    Gone,
}

fn texts() -> impl Strategy<Value = Vec<Vec<(u8, Text)>>> {
    let text = prop_oneof![
        6 => prop::collection::vec((0u8..5, 1u16..4), 0..4).prop_map(Text::Services),
        1 => Just(Text::Broken),
        1 => Just(Text::Gone),
    ];
    prop::collection::vec(prop::collection::vec((0u8..4, text), 1..4), 1..12)
}

fn render(text: &Text) -> Option<String> {
    match text {
        Text::Services(services) => {
            Some(services.iter().map(|(name, port)| service(&format!("s{name}"), *port)).collect())
        }
        Text::Broken => Some("apiVersion: v1\nkind: Servce\n".to_owned()),
        Text::Gone => None,
    }
}

proptest! {
    #[test]
    fn updates_end_where_the_last_good_texts_begin(steps in texts()) {
        let mut catalog = Catalog::new();
        let mut offered: BTreeMap<String, String> = BTreeMap::new();
        let mut good: BTreeMap<String, String> = BTreeMap::new();
        for step in steps {
            let changes: Vec<(String, Option<String>)> = step
                .iter()
                .map(|(file, text)| (format!("f{file}.yaml"), render(text)))
                .collect();
            let before: Vec<Arc<Object>> = catalog.objects().cloned().collect();
            let update = catalog.update(changes.clone());
            for (file, text) in changes {
                match text {
                    Some(text) => { offered.insert(file, text); }
                    None => { offered.remove(&file); good.remove(&file); }
                }
            }
            for (file, text) in &offered {
                if !update.refused.contains(file) {
                    good.insert(file.clone(), text.clone());
                }
            }
            let after: Vec<Arc<Object>> = catalog.objects().cloned().collect();
            prop_assert_eq!(update.changed, before != after);
            let mut fresh = Catalog::new();
            fresh.update(good.iter().map(|(file, text)| (file.clone(), Some(text.clone()))));
            prop_assert_eq!(fresh.refused().count(), 0);
            let loaded: Vec<Arc<Object>> = fresh.objects().cloned().collect();
            prop_assert_eq!(&after, &loaded);
            let no_errors: Vec<&Diagnostic> = catalog
                .diagnostics()
                .iter()
                .filter(|diagnostic| !diagnostic.is_error())
                .collect();
            prop_assert_eq!(no_errors, fresh.diagnostics().iter().collect::<Vec<_>>());
            // Nothing that could be accepted is kept out.
            prop_assert_eq!(catalog.update([]), Update { refused: update.refused, ..Update::default() });
        }
    }
}
