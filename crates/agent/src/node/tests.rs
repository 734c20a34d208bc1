//! The node that control planes see.

use std::path::Path;

use super::*;
use crate::envoy::test_options;

#[test]
fn id_and_metadata_are_istios() {
    let mut options = test_options(Path::new("/run/x"));
    options.discovery.socket_mark = Some(1337);
    let node = NodeIdentity::new(&options);
    assert_eq!(node.id, "sidecar~10.244.0.5~ratings-v1.bookinfo~bookinfo.svc.cluster.local");
    assert_eq!(node.cluster, "ratings.bookinfo");
    let text = |key: &str| node.metadata.get(key).and_then(Value::as_str);
    assert_eq!(text("SOCKET_MARK"), Some("1337"));
    assert_eq!(text("NAME"), Some("ratings-v1"));
    assert_eq!(text("NAMESPACE"), Some("bookinfo"));
    assert_eq!(text("SERVICE_ACCOUNT"), Some("ratings"), "the environment does not change it");
    assert_eq!(text("WORKLOAD_NAME"), Some("ratings-v1"));
    assert_eq!(text("INTERCEPTION_MODE"), Some("REDIRECT"));
    options.role = Role::Router;
    let node = NodeIdentity::new(&options);
    assert!(node.id.starts_with("router~") && !node.metadata.contains_key("INTERCEPTION_MODE"));
}

#[test]
fn our_proxy_says_what_it_has() {
    let node = NodeIdentity::new(&test_options(Path::new("/run/x"))).for_mizzen();
    assert!(node.extensions.iter().any(|name| name == "istio.stats"));
    assert_eq!(node.metadata_str("CLUSTER_ID"), Some("Kubernetes"));
    let labels = node.metadata.get("LABELS").and_then(XdsValue::as_struct).expect("labels");
    assert_eq!(labels.get("app").and_then(XdsValue::as_str), Some("ratings"));
}
