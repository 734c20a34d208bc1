//! Prometheus' text format 0.0.4, read strictly.

use std::collections::{BTreeMap, BTreeSet};

/// One line of a page.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Sample {
    /// Whether a selector `name{labels}` takes it.
    pub(super) fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let has =
            |(label, value): &(&str, &str)| self.labels.get(*label).is_some_and(|own| own == value);
        self.name == name && labels.iter().all(has)
    }

    /// Its labels but one.
    pub(super) fn without(&self, label: &str) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.remove(label);
        labels
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.split_once('{').unwrap_or((line.split_once(' ')?.0, ""));
        let mut labels = BTreeMap::new();
        let mut rest = rest;
        let value = if rest.is_empty() {
            line.split_once(' ')?.1
        } else {
            loop {
                if let Some(value) = rest.strip_prefix("} ") {
                    break value;
                }
                let (label, after) = rest.split_once("=\"")?;
                let (text, after) = quoted(after)?;
                let new = labels.insert(label.trim_start_matches(',').to_owned(), text).is_none();
                if !new {
                    return None;
                }
                rest = after;
            }
        };
        Some(Self { name: name.to_owned(), labels, value: value.parse().ok()? })
    }
}

/// The text up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((out, &text[at + 1..])),
            (_, '\\') => out.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => out.push(other),
        }
    }
}

/// A whole page.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) samples: Vec<Sample>,
    /// By family.
    pub(super) types: BTreeMap<String, String>,
}

impl Page {
    /// Fails where Prometheus would refuse or drop something: a line that is none, a family that is
    /// told twice or not in one piece, a series twice.
    pub(super) fn parse(name: &str, text: &str) -> Self {
        let mut page = Self::default();
        let mut series = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (new, kind) = rest.split_once(' ').expect("a type");
                family = new.to_owned();
                let first = page.types.insert(family.clone(), kind.to_owned()).is_none();
                assert!(first, "{name}: family {family} twice");
            } else if !line.starts_with('#') {
                let sample = Sample::parse(line);
                let sample = sample.unwrap_or_else(|| panic!("{name}: no sample: {line}"));
                let suffix = sample.name.strip_prefix(&family);
                let own = matches!(suffix, Some("" | "_bucket" | "_sum" | "_count"));
                assert!(own, "{name}: {} among {family}", sample.name);
                let new = series.insert((sample.name.clone(), sample.labels.clone()));
                assert!(new, "{name}: twice: {line}");
                page.samples.push(sample);
            }
        }
        page
    }
}
