//! Where problems of one object are gathered, each with its position.

use std::sync::Arc;

use crate::{
    Diagnostic, ObjectKey, Severity,
    yaml::{Node, Path, Position},
};

/// Most problems that are told of one object: a hostile file has millions, and finding the place
/// of each costs time.
pub(crate) const MAX_PROBLEMS: usize = 100;

/// A diagnostic before it is known which file and object it is about.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    severity: Severity,
    position: Position,
    code: &'static str,
    field: Option<String>,
    message: String,
    help: Option<String>,
}

impl Problem {
    pub(crate) fn error(
        position: Position,
        code: &'static str,
        field: Option<String>,
        message: String,
    ) -> Self {
        Self { severity: Severity::Error, position, code, field, message, help: None }
    }

    pub(crate) fn warning(
        position: Position,
        code: &'static str,
        field: Option<String>,
        message: String,
    ) -> Self {
        Self { severity: Severity::Warning, position, code, field, message, help: None }
    }

    pub(crate) fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Puts it under the field `outer`, whose text was parsed on its own.
    pub(crate) fn inside(mut self, outer: &str) -> Self {
        self.field = Some(match self.field {
            Some(inner) => format!("{outer}.{inner}"),
            None => outer.to_owned(),
        });
        self
    }

    /// Moves it by lines and columns.
    pub(crate) fn moved(mut self, lines: u32, columns: u32) -> Self {
        self.position.line = self.position.line.saturating_add(lines);
        self.position.column = self.position.column.saturating_add(columns);
        self
    }

    /// Puts it elsewhere.
    pub(crate) fn at(mut self, position: Position) -> Self {
        self.position = position;
        self
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    pub(crate) fn into_diagnostic(self, file: &Arc<str>, object: Option<&ObjectKey>) -> Diagnostic {
        Diagnostic {
            file: Arc::clone(file),
            line: self.position.line,
            column: self.position.column,
            severity: self.severity,
            code: self.code,
            object: object.cloned(),
            field: self.field,
            message: self.message,
            help: self.help,
        }
    }
}

/// Problems of one object, found by path.
pub(crate) struct Report<'a> {
    root: &'a Node,
    problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(root: &'a Node) -> Self {
        Self { root, problems: Vec::new() }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Whether something other than null is written at `path`.
    pub(crate) fn has(&self, path: &Path<'_>) -> bool {
        self.root.find(path).is_some_and(|node| !node.is_null())
    }

    pub(crate) fn error(
        &mut self,
        path: &Path<'_>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        self.add(Severity::Error, path, code, (message.into(), None));
    }

    pub(crate) fn error_help(
        &mut self,
        path: &Path<'_>,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, path, code, (message.into(), Some(help.into())));
    }

    pub(crate) fn warning(
        &mut self,
        path: &Path<'_>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        self.add(Severity::Warning, path, code, (message.into(), None));
    }

    pub(crate) fn warning_help(
        &mut self,
        path: &Path<'_>,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, path, code, (message.into(), Some(help.into())));
    }

    fn add(
        &mut self,
        severity: Severity,
        path: &Path<'_>,
        code: &'static str,
        (message, help): (String, Option<String>),
    ) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let field = path.to_string();
        self.problems.push(Problem {
            severity,
            position: self.root.position_of(path),
            code,
            field: (!field.is_empty()).then_some(field),
            message,
            help,
        });
    }
}
