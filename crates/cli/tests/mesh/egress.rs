//! The example `egress`: a process outside of the mesh is called by a name that only a ServiceEntry
//! knows, and a Sidecar decides what else may be called.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use testkit::mesh::Mesh;

use crate::{get, mizzen, turn, wait_until};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/egress")
}

/// The product as the page's API tells it: facts that the process outside knows.
fn product(mesh: &Mesh) -> (u16, bool) {
    let answer = get(mesh, "/api/v1/products/0");
    (answer.status, answer.body.contains("ISBN"))
}

#[test]
fn what_is_declared_outside_can_be_called() {
    let Some(_turn) = turn() else { return };
    let mesh = Mesh::up(mizzen(), &example(), &[]).expect("it comes up");
    let limit = Duration::from_secs(10);
    wait_until(limit, "the process outside answers", || product(&mesh) == (200, true));
    let clusters = mesh.ask(&["proxy-config", "clusters", "shop"]).expect("proxy-config");
    assert!(clusters.contains("details.example.com"), "{clusters}");
    assert!(!clusters.contains("istio-ingressgateway"), "not in the Sidecar's scope: {clusters}");
    // A host that nobody declared is refused.
    assert_ne!(get(&mesh, "/api/v1/products/0/reviews").status, 200);

    // Declarations are live: without the name there is nothing to call.
    mesh.edit("outside.yaml", "details.example.com", "elsewhere.example.com").expect("edit");
    wait_until(limit, "the name is gone", || product(&mesh).0 != 200);
    mesh.edit("outside.yaml", "elsewhere.example.com", "details.example.com").expect("edit");
    wait_until(limit, "the name is back", || product(&mesh) == (200, true));
}
