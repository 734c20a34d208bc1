//! The example: it serves, splits, reloads, tells about itself, and leaves nothing behind.

use std::time::{Duration, Instant};

use testkit::load::Load;

use crate::{by_version, get, runtime, turn, up, wait_until};

#[test]
fn bookinfo_serves_splits_reloads_and_leaves_nothing() {
    let Some(_turn) = turn() else { return };
    let mut mesh = up(&[]);
    let page = get(&mesh, "/productpage");
    assert_eq!(page.status, 200, "{}", page.body);
    for part in ["ISBN", "data-reviews-version"] {
        assert!(page.body.contains(part), "no {part} in\n{}", page.body);
    }
    assert_eq!(get(&mesh, "/nowhere").status, 404);
    splits_by_weight(&mesh);
    reloads_without_loss(&mesh);
    tells_about_itself(&mesh);
    let marker = mesh.state().display().to_string();
    assert!(!testkit::mesh::processes_with(&marker).is_empty());
    let status = mesh.stop().expect("it ends");
    assert!(status.success(), "{status}\n{}", mesh.printed());
    assert_eq!(testkit::mesh::processes_with(&marker), []);
    let left: Vec<String> = std::fs::read_dir(mesh.state())
        .expect("state directory")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !["logs", "ca"].contains(&name.as_str()))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Of 2,000 requests each version gets its share, within three standard deviations.
fn splits_by_weight(mesh: &testkit::mesh::Mesh) {
    let tally = runtime().block_on(async {
        let load = Load::start(mesh.gateway, "/productpage", 1000, 20, by_version);
        tokio::time::sleep(Duration::from_millis(100)).await;
        while load.sent() < 2000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        load.stop().await
    });
    assert_eq!(tally.count("200 v"), tally.sent, "{tally:?}");
    for (version, share) in [("v1", 0.5), ("v2", 0.3), ("v3", 0.2)] {
        assert_share(&tally, version, share);
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
fn assert_share(tally: &testkit::load::Tally, version: &str, share: f64) {
    let (sent, got) = (tally.sent as f64, tally.count(&format!("200 {version}")) as f64);
    let deviation = (sent * share * (1.0 - share)).sqrt();
    assert!((got - sent * share).abs() <= 3.0 * deviation, "{version}: {got} of {tally:?}");
}

/// Under 200 requests a second: new weights hold within a second, a broken edit changes nothing,
/// and no request is lost.
fn reloads_without_loss(mesh: &testkit::mesh::Mesh) {
    let runtime = runtime();
    let load =
        runtime.block_on(async { Load::start(mesh.gateway, "/productpage", 200, 10, by_version) });
    std::thread::sleep(Duration::from_secs(1));
    mesh.edit("routing.yaml", "weight: 50", "weight: 0").expect("edit");
    mesh.edit("routing.yaml", "weight: 30", "weight: 0").expect("edit");
    let edited = Instant::now();
    wait_until(Duration::from_secs(3), "the new weights hold", || {
        let routes = mesh.ask(&["proxy-config", "routes", "productpage-v1"]).unwrap_or_default();
        !routes.contains("|v1|reviews")
    });
    assert!(edited.elapsed() < Duration::from_secs(1), "live after {:?}", edited.elapsed());
    let before = runtime.block_on(load.stop());
    assert_eq!(before.count("200 v"), before.sent, "{before:?}");

    let load =
        runtime.block_on(async { Load::start(mesh.gateway, "/productpage", 200, 10, by_version) });
    mesh.edit("routing.yaml", "weight: 20", "weigth: 20").expect("edit");
    wait_until(Duration::from_secs(3), "the broken edit is refused", || {
        mesh.printed().contains("unknown field")
    });
    let said = mesh.printed();
    let line = said.lines().find(|line| line.contains("unknown field")).expect("a line");
    for part in ["routing.yaml:", "weigth", "weight", "VirtualService bookinfo/reviews"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    std::thread::sleep(Duration::from_secs(1));
    let after = runtime.block_on(load.stop());
    assert_eq!(after.count("200 v3"), after.sent, "the last good weights stay: {after:?}");

    mesh.edit("routing.yaml", "weigth: 20", "weight: 20").expect("edit");
    std::fs::remove_file(mesh.dir.join("routing.yaml")).expect("removed");
    wait_until(Duration::from_secs(3), "without the rules all versions serve", || {
        by_version(&get(mesh, "/productpage")) == "200 v1"
    });
}

fn tells_about_itself(mesh: &testkit::mesh::Mesh) {
    let status = mesh.ask(&["status"]).expect("status");
    for part in
        ["productpage-v1", "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews", "SYNCED"]
    {
        assert!(status.contains(part), "no {part} in\n{status}");
    }
    let ask =
        |what: &str| mesh.ask(&["proxy-config", what, "productpage-v1"]).expect("proxy-config");
    assert!(ask("listeners").contains("15006"));
    assert!(ask("clusters").contains("reviews.bookinfo.svc.cluster.local"));
    assert!(ask("endpoints").contains("outbound|9080||details.bookinfo.svc.cluster.local"));
    assert!(ask("secret").contains("ROOTCA"));
    let json = mesh
        .ask(&["proxy-config", "clusters", "productpage-v1", "-o", "json"])
        .expect("proxy-config");
    let clusters: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(clusters.as_array().is_some_and(|list| list.len() > 5));
    let logs = mesh.ask(&["logs", "reviews-v2", "--tail", "5"]).expect("logs");
    assert!(!logs.is_empty());
    let unknown = mesh.run(&["logs", "nobody"]).expect("logs");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("\"nobody\" not found"));
}
