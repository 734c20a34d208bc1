//! What is wrong, or doubtful, in what a user wrote: one line each, with the place and the remedy.

use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::ObjectKey;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused; its last good version stays. (A finding of [`crate::analyze`] is an
    /// error without refusing the file: calls it concerns cannot work.)
    Error,
    /// Accepted, and probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing to tell the user. Its `Display` is one line:
/// `mesh.yaml:12:7: error: VirtualService shop/cart: spec.http[0].route[0].weigth: unknown field (did you mean "weight"?)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Diagnostic {
    /// The file, as the caller named it.
    pub file: Arc<str>,
    /// Line from 1.
    pub line: u32,
    /// Column from 1, in characters.
    pub column: u32,
    /// How bad it is.
    pub severity: Severity,
    /// A stable short name of the kind of problem, such as `unknown-field`.
    pub code: &'static str,
    /// The object it is about, when it has come to light.
    #[serde(serialize_with = "key_text")]
    pub object: Option<ObjectKey>,
    /// The field, such as `spec.http[0].route[1].weight`.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Whether this is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}: ", self.file, self.line, self.column, self.severity)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn key_text<S: serde::Serializer>(key: &Option<ObjectKey>, s: S) -> Result<S::Ok, S::Error> {
    match key {
        Some(key) => s.collect_str(key),
        None => s.serialize_none(),
    }
}
