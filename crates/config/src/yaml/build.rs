//! From the parser's events to trees. Duplicate keys, custom tags and ambiguous numbers are
//! problems; what exceeds a bound ends the reading.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag, options};

use super::{Entry, Node, Position, Value, excerpt, scalar};
use crate::report::{MAX_PROBLEMS, Problem};

/// Longest text that is read, in bytes. Kubernetes stores no object above 1.5 MiB.
const MAX_BYTES: usize = 8 << 20;
/// Deepest nesting, aliases expanded.
const MAX_DEPTH: usize = 100;
/// Most values in one file, aliases expanded.
const MAX_NODES: usize = 500_000;

/// The documents of a text, as far as it could be read.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) documents: Vec<Node>,
    pub(crate) problems: Vec<Problem>,
}

/// Reads all documents of `text`.
pub(crate) fn load(text: &str) -> Loaded {
    let mut builder = Builder::default();
    if text.len() > MAX_BYTES {
        builder.problem(
            Position { line: 1, column: 1 },
            "too-large",
            format!("the file has {} bytes: more than {MAX_BYTES} are not read", text.len()),
            None,
        );
        return builder.loaded;
    }
    let options = options! { emit_comments: false };
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(Stop::from(&error)),
        };
        if let Err(stop) = step {
            builder.problem(stop.position, stop.code, stop.message, stop.help);
            break;
        }
    }
    builder.loaded
}

/// Why reading cannot go on.
struct Stop {
    position: Position,
    code: &'static str,
    message: String,
    help: Option<&'static str>,
}

impl From<&ScanError> for Stop {
    fn from(error: &ScanError) -> Self {
        let message = error.info().replace('\n', " ");
        let help = message.contains("tab").then_some("YAML is indented with spaces only");
        Self {
            position: position(error.marker().line(), error.marker().col()),
            code: "yaml-syntax",
            message,
            help,
        }
    }
}

fn position(line: usize, column: usize) -> Position {
    Position {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
    }
}

/// A collection whose end is not reached yet.
struct Frame {
    position: Position,
    anchor: usize,
    nodes_before: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: HashMap<String, Position>,
        key: Option<(String, Position)>,
        /// The key was there before: its value is read and dropped.
        again: bool,
    },
}

/// An anchored value, with the number of values in it and its depth.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

#[derive(Default)]
struct Builder {
    loaded: Loaded,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
}

impl Builder {
    fn problem(
        &mut self,
        position: Position,
        code: &'static str,
        message: String,
        help: Option<&str>,
    ) {
        if self.loaded.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let help = help.map(str::to_owned);
        self.loaded.problems.push(Problem::error(position, code, None, message).with_help(help));
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let at = position(span.start.line(), span.start.col());
        if let Some(tag) = span.tag_start() {
            self.check_tag(event.tag(), position(tag.line(), tag.col()));
        }
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, tag.as_deref(), (at, anchor))?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(at, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    key: None,
                    again: false,
                };
                self.open(at, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => self.alias(at, anchor)?,
            _ => {}
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        (at, anchor): (Position, usize),
    ) -> Result<(), Stop> {
        self.count(1, at)?;
        if self.expects_key() {
            return self.key(text, style == ScalarStyle::Plain, at);
        }
        let as_text = tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
        let value = if style == ScalarStyle::Plain && !as_text {
            scalar::resolve(text)
        } else {
            Value::String(text.to_owned())
        };
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let node = Node { position: at, is_block, value };
        self.remember(anchor, &node, 1, 0);
        self.add(node)
    }

    fn check_tag(&mut self, tag: Option<&Tag>, at: Position) {
        if let Some(tag) = tag
            && tag.core_suffix().is_none()
        {
            let message = format!("the tag {} is not supported", excerpt(&tag.original()));
            self.problem(at, "yaml-tag", message, Some("remove it"));
        }
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(Stop {
            position: at,
            code: "too-large",
            message: format!("more than {MAX_NODES} values, aliases expanded, are not read"),
            help: None,
        })
    }

    fn open(&mut self, at: Position, anchor: usize, content: Content) -> Result<(), Stop> {
        let nodes_before = self.nodes;
        self.count(1, at)?;
        if self.expects_key() {
            return Err(complex_key(at));
        }
        self.check_depth(0, at)?;
        self.stack.push(Frame { position: at, anchor, nodes_before, content });
        Ok(())
    }

    fn check_depth(&self, more: usize, at: Position) -> Result<(), Stop> {
        if self.stack.len() + more < MAX_DEPTH {
            return Ok(());
        }
        Err(Stop {
            position: at,
            code: "too-deep",
            message: format!("nested more than {MAX_DEPTH} levels deep"),
            help: None,
        })
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, text: &str, plain: bool, at: Position) -> Result<(), Stop> {
        let Some(Frame { content: Content::Map { seen, key, again, .. }, .. }) =
            self.stack.last_mut()
        else {
            return Ok(());
        };
        *key = Some((text.to_owned(), at));
        if plain && text == "<<" {
            return Err(Stop {
                position: at,
                code: "yaml-merge",
                message: "merge keys (<<) are not supported".to_owned(),
                help: Some("write the fields out"),
            });
        }
        let first = seen.insert(text.to_owned(), at);
        *again = first.is_some();
        if let Some(first) = first {
            let message =
                format!("the key \"{}\" is already on line {}", excerpt(text), first.line);
            self.problem(at, "duplicate-key", message, Some("keep one of them"));
        }
        Ok(())
    }

    fn alias(&mut self, at: Position, anchor: usize) -> Result<(), Stop> {
        if self.expects_key() {
            return Err(complex_key(at));
        }
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(Stop {
                position: at,
                code: "yaml-alias",
                message: "the alias refers to a value that it is itself a part of".to_owned(),
                help: None,
            });
        };
        let (nodes, depth) = (anchored.nodes, anchored.depth);
        self.count(nodes, at)?;
        self.check_depth(depth, at)?;
        match self.anchors.get(&anchor).map(|anchored| anchored.node.clone()) {
            Some(node) => self.add(node),
            None => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        let node = Node { position: frame.position, is_block: false, value };
        if frame.anchor > 0 {
            let nodes = self.nodes - frame.nodes_before;
            self.count(nodes, frame.position)?;
            let depth = depth(&node);
            self.remember(frame.anchor, &node, nodes, depth);
        }
        self.add(node)
    }

    fn remember(&mut self, anchor: usize, node: &Node, nodes: usize, depth: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
    }

    fn add(&mut self, node: Node) -> Result<(), Stop> {
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.loaded.documents.push(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key, again, .. }) => {
                let Some((key, key_position)) = key.take() else {
                    return Err(complex_key(node.position));
                };
                if !*again {
                    entries.push(Entry { key, key_position, value: node });
                }
            }
        }
        Ok(())
    }
}

fn complex_key(at: Position) -> Stop {
    Stop {
        position: at,
        code: "yaml-key",
        message: "a key must be a plain word or a quoted text".to_owned(),
        help: Some("text that begins with [ or { must be quoted, also in \"{{...}}\""),
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => {
            1 + entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0)
        }
        _ => 0,
    }
}
