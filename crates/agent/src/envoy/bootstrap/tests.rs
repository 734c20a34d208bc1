//! A real Envoy accepts the bootstrap, where one is found.

use std::process::Command;

use super::*;
use crate::envoy::{process::arguments, test_options};

#[test]
fn envoy_accepts_it_with_and_without_a_mark() {
    let Some(envoy) = testkit::peers::envoy() else {
        return testkit::skip("no stock Envoy");
    };
    let dir = tempfile::tempdir().expect("a folder");
    for mark in [None, Some(1337)] {
        let mut options = test_options(dir.path());
        options.discovery.socket_mark = mark;
        let file = dir.path().join("envoy.json");
        std::fs::write(&file, bootstrap(&options).to_string()).expect("written");
        let output = Command::new(&envoy)
            .args(arguments(&options))
            .args(["--mode", "validate", "-c"])
            .arg(&file)
            .output()
            .expect("Envoy runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mark:?}: {text}");
    }
}

#[test]
fn the_mark_is_on_every_upstream_socket() {
    let mut options = test_options(std::path::Path::new("/run/x"));
    assert!(bootstrap(&options).get("cluster_manager").is_none());
    options.discovery.socket_mark = Some(1337);
    let json = bootstrap(&options);
    let option = json.pointer("/cluster_manager/upstream_bind_config/socket_options/0");
    assert_eq!(option.and_then(|option| option.get("int_value")), Some(&json!(1337)));
    assert_eq!(json.pointer("/node/metadata/SOCKET_MARK"), Some(&json!("1337")));
    assert_eq!(
        json.pointer("/admin/address/pipe/path"),
        Some(&json!("/run/x/admin.sock")),
        "tools reach it from outside"
    );
}
