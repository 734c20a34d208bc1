//! `mizzen explain` over the example that users meet first.

use serde_json::Value;

use crate::{bookinfo, end, mizzen, reason};

/// What conditions of a step's losers say, joined.
fn misses(steps: &Value, stage: &str) -> String {
    let steps = steps.as_array().expect("steps").iter().filter(|step| step["stage"] == stage);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    steps
        .flat_map(|step| list(&step["passed_over"]))
        .flat_map(|miss| list(&miss["why"]))
        .map(|why| why.as_str().unwrap_or_default().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn reviews_are_shared_out_among_three_subsets() {
    let journey = bookinfo(&["--from", "productpage-v1", "GET", "http://reviews:9080/reviews/0"]);
    let shares: Vec<(String, f64)> = journey["destinations"]
        .as_array()
        .expect("destinations")
        .iter()
        .map(|one| {
            (
                one["subset"].as_str().unwrap_or_default().to_owned(),
                one["percent"].as_f64().unwrap_or_default(),
            )
        })
        .collect();
    let wanted = [("v1", 50.0), ("v2", 30.0), ("v3", 20.0)];
    assert_eq!(shares, wanted.map(|(subset, percent)| (subset.to_owned(), percent)));
    assert_eq!(journey["subset"], "v1");
    assert_eq!(journey["cluster"], "outbound|9080|v1|reviews.bookinfo.svc.cluster.local");
    assert_eq!(journey["virtual_host"], "reviews.bookinfo.svc.cluster.local:9080");
    assert_eq!(end(&journey), (Some(200), "-"));
    let endpoint = &journey["destinations"][1]["endpoints"][0];
    assert_eq!(endpoint["workload"], "bookinfo/reviews-v2");
    assert_eq!(endpoint["transport"], "mtls");
}

#[test]
fn a_policy_that_refuses_is_named_with_what_it_asks_for() {
    let journey = bookinfo(&["--from", "bookinfo/ratings-v1", "http://details:9080/details/0"]);
    assert_eq!(end(&journey), (Some(403), "-"));
    assert!(reason(&journey).contains("RBAC: access denied"), "{}", reason(&journey));
    assert!(reason(&journey).contains("bookinfo/details rule 0"), "{}", reason(&journey));
    assert!(reason(&journey).contains("sa/bookinfo-ratings"), "{}", reason(&journey));
    let steps = &journey["destinations"][0]["endpoints"][0]["steps"];
    assert!(misses(steps, "policy").contains("it has no rule"), "{steps:#}");
    let method = bookinfo(&["--from", "productpage-v1", "POST", "http://details:9080/details/0"]);
    assert_eq!(end(&method), (Some(403), "-"));
    assert!(reason(&method).contains("the method \"POST\" is not \"GET\""), "{}", reason(&method));
    let path = bookinfo(&["--from", "productpage-v1", "http://details:9080/secrets"]);
    assert!(reason(&path).contains("the path /secrets is not \"/details/*\""), "{}", reason(&path));
}

#[test]
fn a_host_outside_passes_and_a_mistyped_one_is_noticed() {
    let outside = bookinfo(&["--from", "productpage-v1", "http://example.com/"]);
    assert_eq!(outside["cluster"], "PassthroughCluster");
    assert_eq!(end(&outside), (Some(200), "-"));
    let typo = bookinfo(&["--from", "productpage-v1", "http://reveiws:9080/reviews/0"]);
    assert_eq!(end(&typo), (None, "-"));
    assert_eq!(typo["served"], false);
    assert!(reason(&typo).contains("reviews.bookinfo.svc.cluster.local"), "{}", reason(&typo));
    let port = bookinfo(&["--from", "productpage-v1", "http://details:9999/"]);
    assert!(reason(&port).contains("no port 9999, only 9080"), "{}", reason(&port));
}

#[test]
fn strict_refuses_plain_text() {
    let journey =
        bookinfo(&["--from", "productpage-v1", "--plaintext", "http://details:9080/details/0"]);
    assert_eq!(end(&journey), (Some(503), "UC"));
    assert!(reason(&journey).contains("PeerAuthentication istio-system/default"), "{journey:#}");
    let steps = &journey["destinations"][0]["endpoints"][0]["steps"];
    assert!(misses(steps, "filter_chain").contains("it wants TLS"), "{steps:#}");
}

#[test]
fn a_gateway_knows_some_paths() {
    let page = bookinfo(&["--to-gateway", "istio-ingressgateway", "http://x/productpage"]);
    assert_eq!(end(&page), (Some(200), "-"));
    assert_eq!(page["listener"], "0.0.0.0_8080");
    assert_eq!(page["route_config"], "http.8080");
    let other = bookinfo(&["--to-gateway", "bookinfo-gateway", "GET", "http://x/nope"]);
    assert_eq!(end(&other), (Some(404), "NR"));
    assert_eq!(other["cluster"], Value::Null);
    assert!(misses(&other["steps"], "route").contains("exactly /productpage"), "{other:#}");
    let closed = bookinfo(&["--to-gateway", "istio-ingressgateway", "http://x:81/"]);
    assert!(reason(&closed).contains("no listener of the gateway is on port 81"), "{closed:#}");
}

#[test]
fn programs_can_rely_on_the_form() {
    let journey = bookinfo(&["--from", "productpage-v1", "GET", "http://details:9080/details/0"]);
    insta::assert_json_snapshot!("details", journey);
}

#[test]
fn people_read_a_journey() {
    let output = mizzen(&[
        "explain",
        "-f",
        "examples/bookinfo",
        "--to-gateway",
        "bookinfo-gateway",
        "http://x/nope",
    ])
    .assert()
    .success();
    let text = String::from_utf8(output.get_output().stdout.clone()).expect("text");
    insta::assert_snapshot!("nope", text);
}

#[test]
fn a_question_that_makes_no_sense_is_an_error() {
    let ask = |arguments: &[&str], said: &str| {
        let mut all = vec!["explain", "-f", "examples/bookinfo"];
        all.extend(arguments);
        let output = mizzen(&all).assert().code(1);
        let error = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(error.contains(said), "{error}");
    };
    ask(&["--from", "nobody", "http://x/"], "the workloads are: bookinfo/details-v1,");
    ask(&["--to-gateway", "details-v1", "http://x/"], "is no gateway");
    ask(&["http://x/"], "say who");
    ask(&["--from", "ratings-v1", "ftp://x/"], "use http, https, tcp or tls");
    ask(&["--from", "ratings-v1", "-H", "x", "http://x/"], "name: value");
}
