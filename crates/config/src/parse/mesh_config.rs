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
    let Some(place) = node.get("data").and_then(|data| data.get("mesh")) else { return };
    for problem in inner.into_inner() {
        let problem = problem.inside("data.mesh");
        sink.borrow_mut().push(match place.is_block {
            true => problem.moved(place.position.line, indent(place, file_text)),
            false => problem.at(place.position),
        });
    }
}

/// How far a block's text is indented: its first line follows the `|`.
fn indent(place: &Node, file_text: &str) -> u32 {
    let mut below = file_text.lines().skip(place.position.line as usize);
    let first = below.find(|line| !line.trim().is_empty()).unwrap_or_default();
    u32::try_from(first.len() - first.trim_start_matches(' ').len()).unwrap_or(0)
}
