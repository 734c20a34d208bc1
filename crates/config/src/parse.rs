//! From the text of a file to its objects: documents, `List`s, kinds, metadata, the body, and
//! then the object's own validation. One object's error does not hide another's.

mod kinds;
mod mesh_config;
mod meta;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Diagnostic, Kind, Object, ObjectKey, Origin, Spec,
    report::{Problem, Report},
    validate,
    value::Accepted,
    yaml::{self, Node, Path, Sink, Value},
};
use kinds::Found;

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The objects that could be read, in the file's order. With any error among the diagnostics
    /// they are not to be used.
    pub objects: Vec<Arc<Object>>,
    /// Errors and warnings, in the file's order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether any diagnostic is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Parses and validates one file. `file` is only its name in messages.
#[must_use]
pub fn parse_file(file: &str, text: &str) -> Parsed {
    let mut reader =
        Reader { file: Arc::from(file), text, parsed: Parsed::default(), gave_up: false };
    let loaded = yaml::load(text);
    for problem in loaded.problems {
        reader.report(problem, None);
    }
    for document in loaded.documents {
        if !document.is_null() {
            reader.document(document);
        }
    }
    reader.find_duplicates();
    reader.parsed.diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
    reader.parsed
}

struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
    parsed: Parsed,
    gave_up: bool,
}

impl Reader<'_> {
    fn report(&mut self, problem: Problem, object: Option<&ObjectKey>) {
        self.parsed.diagnostics.push(problem.into_diagnostic(&self.file, object));
    }

    fn report_all(&mut self, problems: Vec<Problem>, object: Option<&ObjectKey>) {
        for problem in problems {
            self.report(problem, object);
        }
    }

    fn document(&mut self, node: Node) {
        let is_list = node.get("apiVersion").and_then(Node::as_str) == Some("v1")
            && node.get("kind").and_then(Node::as_str) == Some("List");
        if !is_list {
            return self.object(node);
        }
        let Value::Map(entries) = node.value else { return };
        for entry in entries {
            match (entry.key.as_str(), entry.value.value) {
                ("items", Value::List(items)) => {
                    for item in items {
                        self.object(item);
                    }
                }
                ("apiVersion" | "kind" | "metadata", _) | (_, Value::Null) => {}
                (key, _) => {
                    let message = if key == "items" { "expected a list" } else { "unknown field" };
                    self.report(
                        Problem::error(
                            entry.key_position,
                            if key == "items" { "invalid-value" } else { "unknown-field" },
                            Some(key.to_owned()),
                            message.to_owned(),
                        ),
                        None,
                    );
                }
            }
        }
    }

    fn object(&mut self, node: Node) {
        if self.parsed.diagnostics.len() >= MAX_DIAGNOSTICS {
            return self.give_up(&node);
        }
        match kinds::identify(&node) {
            Err(problem) => self.report(problem, None),
            Ok(Found::Ignored(message)) => {
                let position = node.position;
                let message = format!("{}{message}", kinds::title(&node));
                self.report(Problem::warning(position, "ignored-kind", None, message), None);
            }
            Ok(Found::NotYet(message)) => {
                let position = node.position;
                let message = format!("{}not supported yet: {message}", kinds::title(&node));
                self.report(Problem::warning(position, "unsupported-kind", None, message), None);
            }
            Ok(Found::Known(kind)) => self.known(kind, node),
        }
    }

    /// A file that is wrong all over is not read to its end.
    fn give_up(&mut self, node: &Node) {
        if self.gave_up {
            return;
        }
        self.gave_up = true;
        let message = "too many problems: the file is not read further".to_owned();
        self.report(Problem::error(node.position, "too-many", None, message), None);
    }

    fn known(&mut self, kind: Kind, node: Node) {
        let sink = Sink::default();
        let mut report = Report::new(&node);
        let meta = meta::read(kind, &node, &mut report, &sink);
        let key = ObjectKey::new(kind, meta.namespace.clone(), meta.name.clone());
        let mut spec = body(kind, &node, &sink);
        if let Some(Spec::ConfigMap(map)) = &mut spec
            && mesh_config::is_at(&key)
        {
            mesh_config::read(map, &node, self.text, &sink);
        }
        // What is misspelt is not missing as well: first the fields, then what they say.
        let readable = !sink.borrow().iter().any(Problem::is_error);
        if let Some(spec) = spec.as_ref().filter(|_| readable) {
            validate::spec(spec, &meta, &mut report);
        }
        let problems = report.into_problems();
        self.report_all(sink.into_inner(), Some(&key));
        self.report_all(problems, Some(&key));
        if let Some(spec) = spec {
            let origin = Origin { file: Arc::clone(&self.file), line: node.position.line };
            let object = Object { meta, origin, spec, node: Arc::new(node) };
            self.parsed.objects.push(Arc::new(object));
        }
    }

    fn find_duplicates(&mut self) {
        let mut first: BTreeMap<ObjectKey, Arc<Object>> = BTreeMap::new();
        let mut found = Vec::new();
        for object in &self.parsed.objects {
            let key = object.key();
            match first.get(&key) {
                Some(other) => found.push(duplicate(object, other)),
                None => {
                    first.insert(key, Arc::clone(object));
                }
            }
        }
        self.parsed.diagnostics.extend(found);
    }
}

/// The error on `later`, which has the same key as `earlier`.
pub(crate) fn duplicate(later: &Object, earlier: &Object) -> Diagnostic {
    let position = later.node.position_of(&Path::Root.field("metadata").field("name"));
    Diagnostic {
        file: Arc::clone(&later.origin.file),
        line: position.line,
        column: position.column,
        severity: crate::Severity::Error,
        code: "duplicate-object",
        object: Some(later.key()),
        field: Some("metadata.name".to_owned()),
        message: format!("the same object is already at {}", earlier.origin),
        help: Some("rename or remove one of them".to_owned()),
    }
}

/// Most diagnostics of one file before the rest of it is left unread.
const MAX_DIAGNOSTICS: usize = 1000;

const HEAD: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The body of kinds that have a `spec`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body<T> {
    spec: T,
    status: Accepted,
}

fn flat<T: DeserializeOwned>(node: &Node, sink: &Sink) -> Option<T> {
    yaml::deserialize(node, &Path::Root, &HEAD, sink)
}

fn spec<T: DeserializeOwned + Default>(node: &Node, sink: &Sink) -> Option<T> {
    flat::<Body<T>>(node, sink).map(|body| body.spec)
}

fn body(kind: Kind, node: &Node, sink: &Sink) -> Option<Spec> {
    Some(match kind {
        Kind::Namespace => Spec::Namespace(flat(node, sink)?),
        Kind::ServiceAccount => Spec::ServiceAccount(flat(node, sink)?),
        Kind::Service => Spec::Service(spec(node, sink)?),
        Kind::Pod => Spec::Pod(flat(node, sink)?),
        Kind::ConfigMap => Spec::ConfigMap(flat(node, sink)?),
        Kind::Secret => Spec::Secret(flat(node, sink)?),
        Kind::EndpointSlice => Spec::EndpointSlice(flat(node, sink)?),
        Kind::Deployment => Spec::Deployment(spec(node, sink)?),
        Kind::VirtualService => Spec::VirtualService(spec(node, sink)?),
        Kind::DestinationRule => Spec::DestinationRule(spec(node, sink)?),
        Kind::Gateway => Spec::Gateway(spec(node, sink)?),
        Kind::PeerAuthentication => Spec::PeerAuthentication(spec(node, sink)?),
        Kind::ProxyConfig => Spec::ProxyConfig(spec(node, sink)?),
        Kind::Telemetry => Spec::Telemetry(spec(node, sink)?),
        Kind::EnvoyFilter => Spec::EnvoyFilter(spec(node, sink)?),
        Kind::AuthorizationPolicy => Spec::AuthorizationPolicy(spec(node, sink)?),
        Kind::ServiceEntry => Spec::ServiceEntry(spec(node, sink)?),
        Kind::WorkloadEntry => Spec::WorkloadEntry(spec(node, sink)?),
        Kind::WorkloadGroup => Spec::WorkloadGroup(spec(node, sink)?),
        Kind::Sidecar => Spec::Sidecar(spec(node, sink)?),
    })
}
