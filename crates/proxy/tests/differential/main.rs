//! The same configuration and the same calls through this proxy and through a stock Envoy, each
//! before a backend of its own. What the client gets, what the backend sees and what the access
//! log says is compared. `cases.txt` holds the calls and the differences that are meant.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a test that fails says so; its helpers too, and some are shared with other tests"
)]

mod backend;
mod call;
mod cases;
#[path = "../data_plane/control.rs"]
mod control;
mod observation;
#[path = "../data_plane/resources.rs"]
mod resources;
mod script;
mod side;
mod topology;

use std::time::{Duration, Instant};

use cases::Case;
use observation::{Difference, Observation};
use side::Side;

/// All calls together may take this long.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_as_through_a_stock_envoy() {
    let Some(envoy) = testkit::peers::envoy() else {
        return testkit::skip("no stock Envoy");
    };
    let started = Instant::now();
    let dir = tempfile::tempdir().expect("a directory");
    let cases = cases::read();
    let (mut mine, mut theirs) = (
        Side::mizzen(&dir.path().join("m")).await,
        Side::envoy(&envoy, &dir.path().join("e")).await,
    );
    let mut seen: Vec<(Observation, Observation)> = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        // Addresses that end in 0 are left out.
        let number = number + number / 255 + 1;
        seen.push(tokio::join!(mine.observe(number, case), theirs.observe(number, case)));
        assert!(started.elapsed() < LIMIT, "{} took too long", case.name);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (my_log, their_log) = (mine.log(), theirs.log());
    let mut problems = Vec::new();
    for (case, (mine, theirs)) in cases.iter().zip(&mut seen) {
        mine.add_log(&my_log);
        theirs.add_log(&their_log);
        if std::env::var("DIFFERENTIAL_SHOW").is_ok_and(|name| name == case.name) {
            println!("{mine:#?}\n{theirs:#?}");
        }
        problems.extend(judge(case, &mine.differences(theirs)));
    }
    println!("{} calls in {:?}", cases.len(), started.elapsed());
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

/// Differences that are not meant, and meant ones that are not there.
fn judge(case: &Case, found: &[Difference]) -> Vec<String> {
    let mut problems = Vec::new();
    for difference in found {
        let key = &difference.key;
        let meant = case.meant.iter().any(|meant| meant.key == *key);
        if !meant {
            let Difference { key, mine, theirs } = difference;
            problems.push(format!("{}: {key}\n    mizzen {mine}\n    envoy  {theirs}", case.name));
        }
    }
    for meant in case.meant.iter().filter(|meant| meant.always) {
        if !found.iter().any(|difference| difference.key == meant.key) {
            problems.push(format!("{}: {} no longer differs", case.name, meant.key));
        }
    }
    problems
}
