//! `mizzen analyze`: findings, their form, and the exit code.

use crate::{directory, mizzen};

const BROKEN: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http: [{route: [{destination: {host: cart}, weigth: 3}]}]
";

const DOUBTFUL: &str = "
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  selector: {app: cart}
  ports: [{name: http, port: 80}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
    - route: [{destination: {host: cart}}]
    - match: [{uri: {prefix: /never}}]
      route: [{destination: {host: cart}}]
";

fn run(text: &str, more: &[&str]) -> (i32, String) {
    let mesh = directory(text);
    let path = mesh.path().display().to_string();
    let mut arguments = vec!["analyze", &path];
    arguments.extend(more);
    let assert = mizzen(&arguments).assert();
    let output = assert.get_output();
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    (output.status.code().unwrap_or(-1), text)
}

#[test]
fn nothing_is_wrong_with_the_example() {
    let output = mizzen(&["analyze", "-f", "examples/bookinfo", "--failure-threshold", "Warning"]);
    let output = { output }.assert().success().get_output().stdout.clone();
    assert_eq!(String::from_utf8_lossy(&output), "nothing wrong found in examples/bookinfo\n");
}

#[test]
fn an_error_names_object_line_and_field() {
    let (code, text) = run(BROKEN, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("Error [unknown-field] (VirtualService shop/cart "), "{text}");
    assert!(text.contains("mesh.yaml:7:"), "{text}");
    assert!(text.contains("spec.http[0].route[0].weigth"), "{text}");
    assert!(text.contains("1 error and 0 warnings"), "{text}");
}

#[test]
fn the_threshold_decides_on_warnings() {
    let (code, text) = run(DOUBTFUL, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("Warning ["), "{text}");
    let (code, _) = run(DOUBTFUL, &["--failure-threshold", "warning"]);
    assert_eq!(code, 1);
}

#[test]
fn programs_read_json_and_yaml() {
    let (_, text) = run(BROKEN, &["-o", "json"]);
    let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(found[0]["code"], "unknown-field");
    assert_eq!(found[0]["level"], "Error");
    assert_eq!(found[0]["origin"], "VirtualService shop/cart");
    assert_eq!(found[0]["line"], 7);
    let (_, text) = run(BROKEN, &["-o", "yaml"]);
    assert!(text.contains("code: unknown-field"), "{text}");
    let (_, text) = run(BROKEN, &["-o", "table"]);
    assert!(text.starts_with("SEVERITY"), "{text}");
}
