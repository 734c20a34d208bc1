//! What is found when a world is taken apart: conflicts and how they were settled, and fields that
//! are accepted without being supported yet. Each finding names the object, the field and what
//! happens instead.

mod entries;
mod gateways;
mod rules;
mod security;
mod service;

use std::sync::Arc;

use config::{Diagnostic, ObjectKey, Origin, Severity};

use crate::{World, telemetry};

/// All findings, in the order of file, line and text.
pub(crate) fn collect(world: &World) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    service::collect(world, &mut findings);
    rules::virtual_services(world, &mut findings);
    rules::destination_rules(world, &mut findings);
    gateways::collect(world, &mut findings);
    security::collect(world, &mut findings);
    telemetry::diagnose(world, &mut findings);
    entries::collect(world, &mut findings);
    findings.sort();
    findings.dedup();
    findings
}

/// A warning about an object.
pub(crate) fn warning(
    key: ObjectKey,
    origin: &Origin,
    code: &'static str,
    field: String,
    message: String,
) -> Diagnostic {
    Diagnostic {
        file: Arc::clone(&origin.file),
        line: origin.line,
        column: 1,
        severity: Severity::Warning,
        code,
        object: Some(key),
        field: Some(field).filter(|field| !field.is_empty()),
        message,
        help: None,
    }
}
