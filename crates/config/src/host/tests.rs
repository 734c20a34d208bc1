//! Host names as Istio resolves, compares and ranks them.

use super::*;

#[test]
fn short_names_belong_to_the_rules_namespace() {
    for (host, full) in [
        ("reviews", "reviews.shop.svc.cluster.local"),
        ("Reviews", "reviews.shop.svc.cluster.local"),
        ("reviews.other", "reviews.other"),
        ("*", "*"),
        ("*.com", "*.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("", ""),
    ] {
        assert_eq!(resolve_short_name(host, "shop", CLUSTER_DOMAIN), full, "{host}");
    }
}

#[test]
fn a_full_name_splits_into_name_and_namespace() {
    let split = |host| split_service_fqdn(host, CLUSTER_DOMAIN);
    assert_eq!(split("a.b.svc.cluster.local"), Some(("a", "b")));
    for host in ["a.b", "a.svc.cluster.local", "a.b.c.svc.cluster.local", ".b.svc.cluster.local"] {
        assert_eq!(split(host), None, "{host}");
    }
}

#[test]
fn a_wildcard_covers_what_is_below_it() {
    for (outer, inner, covered) in [
        ("*", "a.com", true),
        ("*", "*", true),
        ("*.foo.com", "a.foo.com", true),
        ("*.foo.com", "a.b.foo.com", true),
        ("*.foo.com", "*.b.foo.com", true),
        ("*.foo.com", "*.foo.com", true),
        ("*.FOO.com", "a.foo.COM", true),
        ("*.foo.com", "foo.com", false),
        ("*.foo.com", "afoo.com", false),
        ("*.b.foo.com", "*.foo.com", false),
        ("*.foo.com", "*", false),
        ("a.com", "A.com", true),
        ("a.com", "*.com", false),
    ] {
        assert_eq!(covers(outer, inner), covered, "{outer} covers {inner}");
    }
    assert!(overlaps("a.com", "*.com") && overlaps("*.com", "a.com"));
    assert!(!overlaps("*.com", "*.org"));
}

#[test]
fn the_most_specific_pattern_wins() {
    let patterns = ["*", "*.com", "*.foo.com", "a.foo.com", "*.foo.com"];
    let best = |host| most_specific(host, patterns);
    assert_eq!(best("a.foo.com"), Some("a.foo.com"));
    assert_eq!(best("b.foo.com"), Some("*.foo.com"));
    assert_eq!(best("b.com"), Some("*.com"));
    assert_eq!(best("b.org"), Some("*"));
    assert_eq!(most_specific("b.org", ["*.com"]), None);
    assert_eq!(most_specific("*.foo.com", ["*.foo.com", "*.com"]), Some("*.foo.com"));
}
