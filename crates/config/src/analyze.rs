//! Cross-object findings.
use std::sync::Arc;

use crate::{Diagnostic, Object};

/// What is doubtful about the objects taken together.
pub fn analyze<'a>(_objects: impl IntoIterator<Item = &'a Arc<Object>>) -> Vec<Diagnostic> {
    Vec::new()
}
