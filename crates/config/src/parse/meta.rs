//! An object's metadata, held to Kubernetes' rules for names and labels.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    Kind, ObjectMeta,
    report::Report,
    validate::names,
    value::{Accepted, Unsupported},
    yaml::{self, Node, Path, Sink},
};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fields {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    creation_timestamp: Option<String>,
    generate_name: Option<Unsupported>,
    uid: Accepted,
    resource_version: Accepted,
    generation: Accepted,
    self_link: Accepted,
    deletion_timestamp: Accepted,
    deletion_grace_period_seconds: Accepted,
    owner_references: Accepted,
    finalizers: Accepted,
    managed_fields: Accepted,
}

/// Reads the metadata. What is wrong goes to `report` and `sink`; what comes back may be partial.
pub(crate) fn read(kind: Kind, node: &Node, report: &mut Report<'_>, sink: &Sink) -> ObjectMeta {
    let path = Path::Root.field("metadata");
    let written = match node.get("metadata") {
        Some(metadata) if !metadata.is_null() => {
            let mut fields = yaml::deserialize::<Fields>(metadata, &path, &[], sink);
            let unreadable = fields.is_none();
            let fields = fields.get_or_insert_default();
            // What a wrong label hides is still needed to name the object in messages.
            if unreadable {
                let text = |key| metadata.get(key).and_then(Node::as_str).unwrap_or_default();
                fields.name = text("name").to_owned();
                fields.namespace = text("namespace").to_owned();
            } else {
                check(kind, fields, &path, report);
            }
            std::mem::take(fields)
        }
        _ => {
            report.error(&path, "missing-field", "metadata with a name is missing");
            Fields::default()
        }
    };
    let mut meta = ObjectMeta {
        name: written.name,
        namespace: written.namespace,
        labels: written.labels,
        annotations: written.annotations,
        creation_timestamp: None,
    };
    if let Some(text) = written.creation_timestamp {
        match text.parse() {
            Ok(time) => meta.creation_timestamp = Some(time),
            Err(_) => report.error(
                &path.field("creationTimestamp"),
                "invalid-value",
                format!("\"{}\" is not an RFC 3339 time", yaml::excerpt(&text)),
            ),
        }
    }
    if meta.namespace.is_empty() && kind != Kind::Namespace {
        "default".clone_into(&mut meta.namespace);
    }
    meta
}

fn check(kind: Kind, fields: &Fields, path: &Path<'_>, report: &mut Report<'_>) {
    let name = path.field("name");
    match kind {
        _ if fields.name.is_empty() => {
            report.error(&name, "missing-field", "the name is missing");
        }
        Kind::Namespace => names::dns_label(&fields.name, &name, report),
        Kind::Service => names::service_name(&fields.name, &name, report),
        _ => names::dns_subdomain(&fields.name, &name, report),
    }
    let namespace = path.field("namespace");
    if kind == Kind::Namespace {
        if !fields.namespace.is_empty() {
            report.error(&namespace, "invalid-value", "a Namespace is in no namespace");
        }
    } else if !fields.namespace.is_empty() {
        names::dns_label(&fields.namespace, &namespace, report);
    }
    names::labels(&fields.labels, &path.field("labels"), report);
    let annotations = path.field("annotations");
    for key in fields.annotations.keys() {
        names::qualified_key(key, &annotations.field(key), report);
    }
}
