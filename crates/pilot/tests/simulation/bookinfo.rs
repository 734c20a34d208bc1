//! The example that users meet first.

use std::collections::BTreeMap;

use crate::mesh::{Call, Mesh};

fn bookinfo() -> Mesh {
    Mesh::dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bookinfo"))
}

#[test]
fn the_page_is_reached_through_the_gateway() {
    let mesh = bookinfo();
    let outcome = mesh.ingress("istio-ingressgateway", 8080, &Call::get("http://x/productpage"));
    assert_eq!(outcome.status, 200);
    assert_eq!(outcome.pod.as_deref(), Some("productpage-v1"));
    assert_eq!(outcome.cluster, "outbound|9080||productpage.bookinfo.svc.cluster.local");
    assert!(outcome.mtls);
    let unknown = mesh.ingress("istio-ingressgateway", 8080, &Call::get("http://x/admin"));
    assert_eq!(unknown.status, 404);
}

#[test]
fn weights_share_out_the_versions_of_reviews() {
    let mesh = bookinfo();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for random in 0..100 {
        let call = Call::get("http://reviews:9080/reviews/0").random(random);
        let outcome = mesh.call("productpage-v1", &call);
        assert_eq!((outcome.status, outcome.mtls), (200, true));
        *counts.entry(outcome.pod.unwrap_or_default()).or_default() += 1;
    }
    let wanted = [("reviews-v1", 50), ("reviews-v2", 30), ("reviews-v3", 20)];
    assert_eq!(counts, wanted.map(|(name, count)| (name.to_owned(), count)).into());
}

#[test]
fn each_edge_is_open_to_its_caller_alone() {
    let mesh = bookinfo();
    let status = |from: &str, method, url: &str| mesh.call(from, &Call::new(method, url)).status;
    assert_eq!(status("productpage-v1", "GET", "http://details:9080/details/0"), 200);
    assert_eq!(status("productpage-v1", "POST", "http://details:9080/details/0"), 403);
    assert_eq!(status("productpage-v1", "GET", "http://details:9080/other"), 403);
    assert_eq!(status("productpage-v1", "GET", "http://ratings:9080/ratings/0"), 403);
    assert_eq!(status("reviews-v2", "GET", "http://ratings:9080/ratings/0"), 200);
    assert_eq!(status("reviews-v2", "GET", "http://details.bookinfo:9080/details/0"), 403);
    let by_full_name = "http://ratings.bookinfo.svc.cluster.local:9080/ratings/0";
    assert_eq!(status("reviews-v3", "GET", by_full_name), 200);
}

#[test]
fn hosts_that_nobody_declared_pass() {
    let mesh = bookinfo();
    for url in ["http://example.com/", "http://example.com:9080/", "http://203.0.113.9:5555/"] {
        let outcome = mesh.call("productpage-v1", &Call::get(url));
        assert_eq!(outcome.cluster, "PassthroughCluster", "{url}");
        assert_eq!(outcome.pod.as_deref(), Some("outside"));
    }
}

#[test]
fn nothing_is_found_wrong() {
    let mesh = bookinfo();
    assert_eq!(mesh.push.diagnostics(), &[]);
}
