//! The mesh's settings: YAML inside a ConfigMap's text. Positions count in the outer file where
//! the text is a `|` block; inside a quoted text only its beginning can be told.

use crate::{
    MeshConfig, ObjectKey,
    k8s::ConfigMap,
    mesh::ROOT_NAMESPACE,
    yaml::{self, Node, Path, Sink},
};

/// Whether the ConfigMap with this key holds the mesh's settings.
pub(crate) fn is_at(key: &ObjectKey) -> bool {
    key.name == "istio" && key.namespace == ROOT_NAMESPACE
}

/// Reads the settings from the key `mesh` into `map.mesh`.
pub(crate) fn read(map: &mut ConfigMap, node: &Node, file_text: &str, sink: &Sink) {
    let Some(text) = map.data.get("mesh") else { return };
    let loaded = yaml::load(text);
    let inner = Sink::new(loaded.problems);
    let mesh = match loaded.documents.first() {
        Some(document) if !document.is_null() => {
            yaml::deserialize::<MeshConfig>(document, &Path::Root, &[], &inner)
        }
        _ => Some(MeshConfig::default()),
    };
    map.mesh = mesh.map(Box::new);
    let place = node.get("data").and_then(|data| data.get("mesh"));
    let (lines, columns) = place.map_or((0, 0), |place| offset(place, file_text));
    for problem in inner.into_inner() {
        sink.borrow_mut().push(problem.shifted(lines, columns, "data.mesh"));
    }
}

/// How far the inner text's first line and column are from the file's.
fn offset(place: &Node, file_text: &str) -> (u32, u32) {
    let line = place.position.line;
    if !place.is_block {
        return (line.saturating_sub(1), 0);
    }
    let below = file_text.lines().skip(line as usize).find(|line| !line.trim().is_empty());
    let indent = below.map_or(0, |line| line.len() - line.trim_start_matches(' ').len());
    (line, u32::try_from(indent).unwrap_or(0))
}
