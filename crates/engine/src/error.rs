//! Why a resource cannot be put to use.

use thiserror::Error;

/// A resource that was decoded but cannot be compiled. The proxy answers it with a NACK.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct EngineError {
    /// Path of the field in the resource.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl EngineError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The same error, seen from the message that holds `parent`.
    pub(crate) fn within(mut self, parent: &str) -> Self {
        self.field = if self.field.is_empty() {
            parent.to_owned()
        } else {
            format!("{parent}.{}", self.field)
        };
        self
    }
}
