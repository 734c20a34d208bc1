//! A YAML value and where it stands.

use super::Path;

/// A place in a file, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) position: Position,
    /// A `|` or `>` block: its text begins on the line after `position`.
    pub(crate) is_block: bool,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As written, and as a number; `int` when it is a whole number without point or exponent.
    Number {
        text: String,
        int: Option<i128>,
        float: f64,
    },
    String(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One pair of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_position: Position,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The node at `path`, when there is one.
    pub(crate) fn find(&self, path: &Path<'_>) -> Option<&Node> {
        match path {
            Path::Root => Some(self),
            Path::Field(parent, name) => self.find(parent)?.get(name),
            Path::Index(parent, index) => match &self.find(parent)?.value {
                Value::List(items) => items.get(*index),
                _ => None,
            },
        }
    }

    /// Where to point for `path`: at a scalar itself, at the key of a list or mapping, and for
    /// what is not there at the nearest thing around it.
    pub(crate) fn position_of(&self, path: &Path<'_>) -> Position {
        match path {
            Path::Root => self.position,
            Path::Field(parent, name) => {
                match self.find(parent).and_then(|parent| parent.entry(name)) {
                    Some(entry) if entry.value.is_scalar() => entry.value.position,
                    Some(entry) => entry.key_position,
                    None => self.position_of(parent),
                }
            }
            Path::Index(parent, _) => match self.find(path) {
                Some(node) => node.position,
                None => self.position_of(parent),
            },
        }
    }

    /// The same for a path as it is displayed.
    pub(crate) fn position_of_text(&self, path: &str) -> Position {
        let mut place = self.position;
        let mut node = self;
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let step = step.trim_end_matches(']').trim_matches('"');
            let next = match &node.value {
                Value::List(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)),
                _ => node.get(step),
            };
            let Some(next) = next else { break };
            place = match node.entry(step) {
                Some(entry) if !next.is_scalar() => entry.key_position,
                _ => next.position,
            };
            node = next;
        }
        place
    }

    fn is_scalar(&self) -> bool {
        !matches!(self.value, Value::List(_) | Value::Map(_))
    }

    /// What it is, for a message: `the number 5`, `a list`.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number { text, .. } => format!("the number {}", excerpt(text)),
            Value::String(text) => format!("the text \"{}\"", excerpt(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// At most 60 characters of a user's text, on one line, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    let mut short: String =
        text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > 60 {
        short.push('…');
    }
    short
}
