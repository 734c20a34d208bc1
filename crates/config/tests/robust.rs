//! No text makes the parser panic, and every diagnostic points into its text.

use std::{
    fs,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use config::{Catalog, analyze, parse_file};
use proptest::prelude::*;

/// The golden cases, as seeds.
static SEEDS: LazyLock<Vec<String>> = LazyLock::new(|| seeds().unwrap_or_default());

fn seeds() -> std::io::Result<Vec<String>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut seeds = Vec::new();
    for entry in fs::read_dir(directory)? {
        let text = fs::read_to_string(entry?.path())?;
        for case in text.split("=== ").skip(1) {
            let yaml = case.split_once('\n').map_or("", |(_, rest)| rest);
            let yaml = yaml.split(">>>\n").next().unwrap_or_default();
            // Seeds are single objects of moderate size.
            seeds.push(yaml.chars().take(4000).collect());
        }
    }
    Ok(seeds)
}

/// Time is bounded for what a hostile author may write, also in a debug build.
#[test]
fn hostile_sizes_are_taken_in_bounded_time() {
    let head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                metadata: {name: x, namespace: shop}\nspec:\n";
    let route = "  http: [{route: [{destination: {host: a}}]}]\n";
    let many =
        |count: usize, item: &dyn Fn(usize) -> String| -> String { (0..count).map(item).collect() };
    let texts = [
        format!("{head}{route}  hosts:\n{}", many(60_000, &|i| format!("  - h{i}.com\n"))),
        format!("{head}{route}  hosts:\n{}", many(60_000, &|_| "  - bad host\n".to_owned())),
        format!("{head}{}", many(60_000, &|i| format!("  unknown{i}: 1\n"))),
        format!(
            "{head}  hosts: [a.com]\n  http:\n{}",
            many(20_000, &|i| format!("  - route: [{{destination: {{host: h{i}}}}}]\n"))
        ),
        many(30_000, &|i| format!("kind: K{i}\napiVersion: v1\n---\n")),
        many(30_000, &|i| format!("k{i}: 1\nk{i}: 1\n")),
        "a: [".to_owned() + &many(90_000, &|_| "*x, ".to_owned()),
        "- ".repeat(100_000),
        "[".repeat(1_000_000),
        "&a ".repeat(300_000),
        format!("a: \"{}\"", "\\x41".repeat(500_000)),
    ];
    for (index, text) in texts.iter().enumerate() {
        let start = Instant::now();
        let mut catalog = Catalog::new();
        catalog.update([("f".to_owned(), Some(text.clone()))]);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "text {index} took {took:?}");
        assert!(catalog.diagnostics().len() <= 1101, "{}", catalog.diagnostics().len());
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Delete(usize, usize),
    Insert(usize, String),
    Repeat(usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let word = prop::sample::select(vec![
        "\n",
        " ",
        "  ",
        ":",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "|",
        ">",
        "&a ",
        "*a",
        "null",
        "true",
        "0",
        "-1",
        "1e400",
        "010",
        "99999999999999999999999",
        "é",
        "\u{0}",
        "\u{feff}",
        "*",
        "{}",
        "[]",
        "~",
        "---\n",
        "%",
        "#",
        "!!str ",
        "spec",
        "(",
        ".*",
        "/",
        "\t",
    ]);
    let edit = prop_oneof![
        (any::<usize>(), 1usize..40).prop_map(|(at, length)| Edit::Delete(at, length)),
        (any::<usize>(), word).prop_map(|(at, word)| Edit::Insert(at, word.to_owned())),
        (any::<usize>(), 1usize..80).prop_map(|(at, length)| Edit::Repeat(at, length)),
    ];
    prop::collection::vec(edit, 1..6)
}

fn apply(seed: &str, edits: &[Edit]) -> String {
    let mut text: Vec<char> = seed.chars().collect();
    for edit in edits {
        let (Edit::Delete(at, _) | Edit::Insert(at, _) | Edit::Repeat(at, _)) = edit;
        let at = at % (text.len() + 1);
        match edit {
            Edit::Delete(_, length) => {
                text.drain(at..(at + length).min(text.len()));
            }
            Edit::Insert(_, word) => {
                text.splice(at..at, word.chars());
            }
            Edit::Repeat(_, length) => {
                let piece: Vec<char> = text[at..(at + length).min(text.len())].to_vec();
                text.splice(at..at, piece);
            }
        }
    }
    text.into_iter().collect()
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let parsed = parse_file("f", text);
    let findings = analyze(&parsed.objects);
    // A line may be one past the last: an end that came too early.
    let lines = text.split(['\n', '\r']).count() + 1;
    for diagnostic in parsed.diagnostics.iter().chain(&findings) {
        prop_assert!(diagnostic.line >= 1 && diagnostic.line as usize <= lines, "{diagnostic}");
        prop_assert!(diagnostic.column >= 1, "{diagnostic}");
        prop_assert!(!diagnostic.to_string().contains('\n'), "{diagnostic}");
    }
    let mut catalog = Catalog::new();
    let update = catalog.update([("f".to_owned(), Some(text.to_owned()))]);
    prop_assert_eq!(parsed.has_errors(), !update.refused.is_empty());
    prop_assert!(!parsed.has_errors() || catalog.objects().count() == 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_objects_do_not_panic(seed in any::<prop::sample::Index>(), edits in edits()) {
        prop_assert!(SEEDS.len() > 100);
        let seed = &SEEDS[seed.index(SEEDS.len())];
        check(&apply(seed, &edits))?;
    }

    #[test]
    fn arbitrary_text_does_not_panic(text in any::<String>()) {
        check(&text)?;
    }
}
