//! YAML as kubectl would take it, with positions, and within bounds.

use proptest::prelude::*;

use super::*;

fn first_problem(text: &str) -> String {
    let loaded = load(text);
    let file = std::sync::Arc::from("f");
    let problem = loaded.problems.into_iter().next().map(|p| p.into_diagnostic(&file, None));
    problem.map_or_else(|| "none".to_owned(), |diagnostic| diagnostic.to_string())
}

#[test]
fn scalars_follow_the_core_schema() {
    let text =
        "[1, -2, 0x1F, 0o17, 1.5, .5, 1e3, true, yes, ~, '1', \"x\", 12:30, 1_0, 1.2.3, .inf]";
    let loaded = load(text);
    let Value::List(items) = &loaded.documents[0].value else { panic!("not a list") };
    let described: Vec<String> = items.iter().map(Node::describe).collect();
    assert_eq!(
        described,
        [
            "the number 1",
            "the number -2",
            "the number 0x1F",
            "the number 0o17",
            "the number 1.5",
            "the number .5",
            "the number 1e3",
            "true",
            "the text \"yes\"",
            "nothing",
            "the text \"1\"",
            "the text \"x\"",
            "the text \"12:30\"",
            "the text \"1_0\"",
            "the text \"1.2.3\"",
            "the number .inf",
        ]
    );
}

#[test]
fn positions_count_from_one() {
    let loaded = load("# c\na:\n  b: [1, x]\n");
    let root = &loaded.documents[0];
    let b = Path::Root.field("a");
    let b = b.field("b");
    assert_eq!(root.position_of(&b), Position { line: 3, column: 3 });
    assert_eq!(root.position_of(&b.index(1)), Position { line: 3, column: 10 });
    let missing = b.field("nothing");
    assert_eq!(root.position_of(&missing), Position { line: 3, column: 3 });
}

#[test]
fn a_displayed_path_finds_the_same_place() {
    let loaded = load("a:\n  x-y:\n  - b: 1\n    c: {d: 2}\n");
    let root = &loaded.documents[0];
    let a = Path::Root.field("a");
    let list = a.field("x-y");
    let item = list.index(0);
    let (b, c) = (item.field("b"), item.field("c"));
    let d = c.field("d");
    for path in [a, list, item, b, c, d, d.field("none"), item.field("none")] {
        let text = path.to_string();
        assert_eq!(root.position_of_text(&text), root.position_of(&path), "{text}");
    }
}

#[test]
fn what_is_ambiguous_or_dangerous_is_refused() {
    let cases = [
        ("a: 1\nb: 2\na: 3", "f:3:1: error: the key \"a\" is already on line 1"),
        ("a: !foo x", "f:1:4: error: the tag !foo is not supported"),
        ("a: &x {b: *x}", "f:1:11: error: the alias refers to a value that it is itself a part of"),
        ("<<: {a: 1}", "f:1:1: error: merge keys (<<) are not supported"),
        ("{{ x }}: 1", "f:1:1: error: a key must be a plain word"),
        ("a:\n\tb: 1", "f:2:2: error: tabs"),
        ("a: [", "f:"),
        ("a: *nothing", "f:1:4: error: "),
    ];
    for (text, start) in cases {
        let message = first_problem(text);
        assert!(message.starts_with(start), "{text:?} gave {message}");
    }
}

#[test]
fn tags_of_the_core_schema_are_taken() {
    let loaded = load("a: !!str 1");
    assert!(loaded.problems.is_empty());
    assert_eq!(loaded.documents[0].get("a").and_then(Node::as_str), Some("1"));
}

#[test]
fn an_alias_bomb_is_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let item = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![item; 10].join(", "));
    }
    assert!(first_problem(&text).contains("more than 500000 values"), "{}", first_problem(&text));
}

#[test]
fn depth_is_bounded_also_through_aliases() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert!(first_problem(&deep).contains("nested more than 100 levels"));
    let mut text = "a0: &a0 {k: v}\n".to_owned();
    for level in 1..200 {
        text += &format!("a{level}: &a{level} {{k: *a{}}}\n", level - 1);
    }
    assert!(first_problem(&text).contains("nested more than 100 levels"));
}

#[test]
fn size_is_bounded() {
    assert!(first_problem(&"#".repeat((8 << 20) + 1)).contains("are not read"));
}

#[test]
fn suggestions_fold_case_and_underscores() {
    let fields = ["perTryTimeout", "retryOn", "attempts"];
    assert_eq!(nearest("per_try_timeout", fields), Some("perTryTimeout"));
    assert_eq!(nearest("RetryOn", fields), Some("retryOn"));
    assert_eq!(nearest("atempts", fields), Some("attempts"));
    assert_eq!(nearest("hosts", fields), None);
}

proptest! {
    #[test]
    fn loading_never_panics(text in "\\PC*") {
        let _ = load(&text);
    }

    #[test]
    fn loading_yaml_like_text_never_panics(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "a", ":", " ", "\n", "- ", "[", "]", "{", "}", "&x", "*x", "|", ">", "'", "\"",
                "#", "---\n", "...\n", "!!str", "!t", "%YAML 1.2\n", "?", "\t", "<<", ",", "  ",
                "010", "\u{feff}", "é", "\r\n",
            ]),
            0..60,
        ),
    ) {
        let _ = load(&pieces.concat());
    }
}
