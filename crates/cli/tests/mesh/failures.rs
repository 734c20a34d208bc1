//! Things die under load: the control plane, a replica, certificates.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use testkit::{load::Load, mesh::Mesh};

use crate::{by_version, runtime, turn, up, wait_until};

/// Ends a process of this mesh by force.
fn kill_nine(pid: i32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill");
    assert!(status.success());
}

fn only_process(mesh: &Mesh, parts: &[&str]) -> i32 {
    let state = mesh.state().display().to_string();
    let found: Vec<_> = testkit::mesh::processes_with(&state)
        .into_iter()
        .filter(|(_, line)| parts.iter().all(|part| line.contains(part)))
        .collect();
    let [(pid, _)] = found.as_slice() else { panic!("{parts:?}: {found:?}") };
    *pid
}

#[test]
fn the_control_plane_dies_and_no_request_is_lost() {
    let Some(_turn) = turn() else { return };
    let mesh = up(&[]);
    let runtime = runtime();
    let load =
        runtime.block_on(async { Load::start(mesh.gateway, "/productpage", 100, 10, by_version) });
    std::thread::sleep(Duration::from_secs(1));
    kill_nine(only_process(&mesh, &["mizzen control "]));
    wait_until(Duration::from_secs(30), "proxies resynchronise", || {
        let status = mesh.status().unwrap_or_default();
        let workloads = status["workloads"].as_array().cloned().unwrap_or_default();
        status["control"]["restarts"].as_u64() >= Some(1)
            && workloads.iter().all(|one| one["xds"].as_str() == Some("SYNCED"))
    });
    mesh.edit("routing.yaml", "weight: 50", "weight: 0").expect("edit");
    mesh.edit("routing.yaml", "weight: 30", "weight: 0").expect("edit");
    wait_until(Duration::from_secs(5), "the new control plane is obeyed", || {
        let routes = mesh.ask(&["proxy-config", "routes", "productpage-v1"]).unwrap_or_default();
        !routes.contains("|v1|reviews")
    });
    let tally = runtime.block_on(load.stop());
    assert_eq!(tally.count("200 v"), tally.sent, "{tally:?}");
}

/// With two replicas of a version, one of which is killed, retries find the other one: what was
/// under way may fail, and nothing after.
#[test]
fn a_replica_dies_and_errors_stop() {
    let Some(_turn) = turn() else { return };
    let mesh = up(&[]);
    mesh.edit("routing.yaml", "weight: 50", "weight: 0").expect("edit");
    mesh.edit("routing.yaml", "weight: 30", "weight: 0").expect("edit");
    let reviews = std::fs::read_to_string(mesh.dir.join("reviews.yaml")).expect("file");
    let two = reviews.replace("replicas: 1", "replicas: 2");
    mesh.write("reviews.yaml", &two).expect("edit");
    wait_until(Duration::from_secs(40), "the second replica is ready", || {
        let status = mesh.status().unwrap_or_default();
        let workloads = status["workloads"].as_array().cloned().unwrap_or_default();
        let of_v3 = workloads
            .iter()
            .filter(|one| one["deployment"].as_str() == Some("reviews-v3") && one["ready"] == true);
        of_v3.count() == 2
    });
    let runtime = runtime();
    let load =
        runtime.block_on(async { Load::start(mesh.gateway, "/productpage", 100, 10, by_version) });
    std::thread::sleep(Duration::from_secs(1));
    let state = mesh.state();
    let victim = testkit::mesh::processes_with("bookinfo reviews --version v3")
        .into_iter()
        .find(|(pid, _)| belongs_to(*pid, &state))
        .expect("a replica")
        .0;
    kill_nine(victim);
    std::thread::sleep(Duration::from_secs(2));
    let during = runtime.block_on(load.stop());
    assert_eq!(during.count("200 "), during.sent, "the page itself is always served: {during:?}");
    let failed = during.sent - during.count("200 v3");
    assert!(failed <= 10, "more failed than were under way: {during:?}");
    let after = runtime.block_on(async {
        let load = Load::start(mesh.gateway, "/productpage", 100, 10, by_version);
        tokio::time::sleep(Duration::from_secs(2)).await;
        load.stop().await
    });
    assert_eq!(after.count("200 v3"), after.sent, "{after:?}");
}

/// Whether a process's parents lead to the mesh with this state directory.
fn belongs_to(pid: i32, state: &std::path::Path) -> bool {
    let state = state.display().to_string();
    let mesh: Vec<i32> =
        testkit::mesh::processes_with(&state).into_iter().map(|(pid, _)| pid).collect();
    let mut current = pid;
    while current > 1 {
        if mesh.contains(&current) {
            return true;
        }
        let stat = std::fs::read_to_string(format!("/proc/{current}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        current = after_name.split_whitespace().nth(1).and_then(|p| p.parse().ok()).unwrap_or(0);
    }
    false
}

/// Certificates of 20 seconds: `MIZZEN_ROTATION_SECONDS` of load (45 unless set) lose nothing.
#[test]
fn certificates_rotate_and_no_request_is_lost() {
    let Some(_turn) = turn() else { return };
    let seconds = std::env::var("MIZZEN_ROTATION_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(45);
    let mesh = up(&["--workload-cert-ttl", "20s"]);
    let expires = |mesh: &Mesh| {
        let status = mesh.status().expect("status");
        status["workloads"][0]["certificateExpires"].as_str().map(str::to_owned)
    };
    let first = expires(&mesh).expect("an expiry");
    let runtime = runtime();
    let load =
        runtime.block_on(async { Load::start(mesh.gateway, "/productpage", 100, 10, by_version) });
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut seen = std::collections::BTreeSet::from([first]);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_secs(1));
        seen.extend(expires(&mesh));
    }
    let tally = runtime.block_on(load.stop());
    assert_eq!(tally.count("200 v"), tally.sent, "{tally:?}");
    let least = usize::try_from(seconds / 11).unwrap_or(1);
    assert!(seen.len() >= least, "{} certificates in {seconds} s", seen.len());
}
