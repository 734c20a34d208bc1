//! Finding one's way in an Envoy configuration dump.

use serde_json::Value;

use super::View;

/// The sections of a dump whose type ends in `kind`, such as `ListenersConfigDump`.
fn sections<'a>(dump: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    dump["configs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(move |section| section["@type"].as_str().is_some_and(|name| name.ends_with(kind)))
}

/// The entries of the lists `lists` of a section.
pub(super) fn entries<'a>(
    dump: &'a Value,
    kind: &'a str,
    lists: &'a [&'a str],
) -> impl Iterator<Item = &'a Value> {
    sections(dump, kind).flat_map(move |section| {
        lists.iter().flat_map(|list| section[*list].as_array().into_iter().flatten())
    })
}

/// The text of a field, or nothing.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The elements of a list, or none.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The object that a resource was made from, as `name.namespace` of `istio.config`'s path.
pub(super) fn origin(resource: &Value) -> String {
    let path = text(&resource["metadata"]["filter_metadata"]["istio"]["config"]);
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        [.., "namespaces", namespace, _kind, name] => format!("{name}.{namespace}"),
        _ => String::new(),
    }
}

/// The dump itself.
pub(super) fn everything(dump: &Value) -> View {
    View { columns: &[], rows: Vec::new(), resources: dump.clone() }
}
