//! What `mizzen explain` says of a call is what a running mesh does with it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use testkit::mesh::Mesh;

use crate::{turn, up};

/// The status that the gateway answers.
fn status(mesh: &Mesh, method: &str, path: &str) -> u64 {
    let mut stream = TcpStream::connect(mesh.gateway).expect("connected");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        mesh.gateway
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let line = String::from_utf8_lossy(&answer);
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// What is explained of the running mesh's files.
fn explained(mesh: &Mesh, arguments: &[&str]) -> Value {
    let dir = mesh.dir.display().to_string();
    let mut all = vec!["explain", "-f", &dir, "-o", "json"];
    all.extend(arguments);
    serde_json::from_str(&mesh.ask(&all).expect("explained")).expect("JSON")
}

#[test]
fn a_running_mesh_does_what_is_explained() {
    let Some(_turn) = turn() else { return };
    let mesh = up(&[]);
    for (method, path) in [
        ("GET", "/productpage"),
        ("GET", "/api/v1/products"),
        ("GET", "/nope"),
        ("GET", "/productpage/more"),
        ("POST", "/productpage"),
        ("PUT", "/login"),
    ] {
        let url = format!("http://{}{path}", mesh.gateway);
        let url = url.replace(&format!(":{}", mesh.gateway.port()), ":80");
        let said = explained(&mesh, &["--to-gateway", "bookinfo-gateway", method, &url]);
        let done = status(&mesh, method, path);
        assert_eq!(said["status"].as_u64(), Some(done), "{method} {path}: {said:#}");
    }
    // Productpage passes on what ratings answers.
    let url = "http://ratings:9080/ratings/0";
    let said = explained(&mesh, &["--from", "productpage-v1", url]);
    let done = status(&mesh, "GET", "/api/v1/products/0/ratings");
    assert_eq!(said["status"].as_u64(), Some(done), "{said:#}");
}

#[test]
fn a_sidecar_has_the_routes_that_files_give() {
    let Some(_turn) = turn() else { return };
    let mesh = up(&[]);
    let dir = mesh.dir.display().to_string();
    let live = mesh.ask(&["proxy-config", "routes", "productpage-v1", "-o", "json"]);
    let files = mesh.ask(&["proxy-config", "routes", "productpage-v1", "-f", &dir, "-o", "json"]);
    let parse = |text: anyhow::Result<String>| -> Vec<Value> {
        let all: Vec<Value> = serde_json::from_str(&text.expect("routes")).expect("JSON");
        all.into_iter().filter(|one| one["name"].as_str().is_some_and(is_port)).collect()
    };
    let (live, files) = (parse(live), parse(files));
    assert!(!live.is_empty());
    assert_eq!(live, files);
}

fn is_port(name: &str) -> bool {
    name.parse::<u16>().is_ok()
}
