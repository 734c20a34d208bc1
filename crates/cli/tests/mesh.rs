//! Whole meshes on this machine: `mizzen up` with real namespaces, capture, certificates and load.
//!
//! One mesh at a time: they share the machine's cores, and some tests count lost requests.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod mesh {
    pub(crate) mod bad_input;
    pub(crate) mod bookinfo;
    pub(crate) mod egress;
    pub(crate) mod envoy;
    pub(crate) mod explain;
    pub(crate) mod failures;
    pub(crate) mod ingress_tls;
    pub(crate) mod metrics;
    pub(crate) mod security;
}

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use testkit::{load::Answer, mesh::Mesh};

/// The binary under test.
fn mizzen() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mizzen"))
}

/// The example's files.
fn bookinfo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/bookinfo")
}

/// One mesh at a time; `None` (and a named skip) where namespaces are not to be had.
fn turn() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    if !testkit::can_unshare() {
        testkit::skip("this user may not make namespaces");
        return None;
    }
    Some(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

fn up(arguments: &[&str]) -> Mesh {
    Mesh::up(mizzen(), &bookinfo(), arguments).expect("bookinfo comes up")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("runtime")
}

/// The status, and the version of reviews that the page shows.
fn by_version(answer: &Answer) -> String {
    let version = ["v1", "v2", "v3"]
        .into_iter()
        .find(|version| answer.body.contains(&format!("data-reviews-version=\"{version}\"")));
    format!("{} {}", answer.status, version.unwrap_or("none"))
}

/// Waits until `holds`, for at most `limit`; tells how long it took.
fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not in {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}

fn get(mesh: &Mesh, path: &str) -> Answer {
    runtime().block_on(testkit::load::get(mesh.gateway, path)).expect("an answer")
}
