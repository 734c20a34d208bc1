//! An error of reading a tree into a type.

use std::fmt;

use serde::de;

use super::De;
use crate::{
    report::Problem,
    yaml::{Node, Path, Position},
};

/// An error, which learns its place on the way up.
#[derive(Debug)]
pub(crate) struct Error {
    message: String,
    help: Option<String>,
    place: Option<(Position, String)>,
}

impl Error {
    pub(super) fn new(message: impl Into<String>, help: Option<String>) -> Self {
        Self { message: message.into(), help, place: None }
    }

    pub(super) fn at(mut self, de: &De<'_>) -> Self {
        self.place.get_or_insert_with(|| (de.node.position, de.path.to_string()));
        self
    }

    pub(super) fn into_problem(self, node: &Node, path: &Path<'_>) -> Problem {
        let (position, field) = self.place.unwrap_or_else(|| (node.position, path.to_string()));
        let field = (!field.is_empty()).then_some(field);
        Problem::error(position, "invalid-value", field, self.message).with_help(self.help)
    }
}

impl Error {
    /// Places it unless it has a place already.
    pub(super) fn placed(mut self, position: Position, path: &Path<'_>) -> Self {
        self.place.get_or_insert_with(|| (position, path.to_string()));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), None)
    }
}
