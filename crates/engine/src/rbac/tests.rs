//! Policies against requests, plaintext peers first.

use http::HeaderMap;

use super::*;

fn rbac(action: xds::RbacAction, permission: xds::Permission, principal: xds::Principal) -> Rbac {
    let policy = xds::Policy { permissions: vec![permission], principals: vec![principal] };
    Rbac::new(&xds::Rbac { action, policies: [("p".to_owned(), policy)].into() }).expect("rbac")
}

fn input<'a>(headers: &'a HeaderMap, path: &'a str, principals: &'a [String]) -> RbacInput<'a> {
    let address = |text: &str| text.parse().expect("address");
    RbacInput {
        request: Some(RequestInfo { authority: "h", path, method: "GET", scheme: "http", headers }),
        direct_remote: address("10.0.0.9:4000"),
        remote: address("192.0.2.1:0"),
        destination: address("10.0.0.1:9080"),
        server_name: None,
        authenticated: !principals.is_empty(),
        principals,
    }
}

fn foo() -> xds::Principal {
    xds::Principal::Authenticated(Some(xds::StringMatcher::exact("spiffe://td/ns/n/sa/foo")))
}

#[test]
fn a_plaintext_peer_matches_no_identity() {
    let headers = HeaderMap::new();
    let any = xds::Principal::Authenticated(None);
    for principal in [foo(), any] {
        let allow = rbac(xds::RbacAction::Allow, xds::Permission::Any, principal.clone());
        assert!(!allow.evaluate(&input(&headers, "/", &[])).allowed);
        let deny = rbac(xds::RbacAction::Deny, xds::Permission::Any, principal);
        assert!(deny.evaluate(&input(&headers, "/", &[])).allowed);
    }
}

#[test]
fn names_are_ignored_unless_the_peer_was_verified() {
    let headers = HeaderMap::new();
    let names = ["spiffe://td/ns/n/sa/foo".to_owned()];
    let allow = rbac(xds::RbacAction::Allow, xds::Permission::Any, foo());
    assert!(allow.evaluate(&input(&headers, "/", &names)).allowed);
    let forged = RbacInput { authenticated: false, ..input(&headers, "/", &names) };
    assert!(!allow.evaluate(&forged).allowed);
}

#[test]
fn the_policy_that_matched_is_named() {
    let headers = HeaderMap::new();
    let deny = rbac(xds::RbacAction::Deny, xds::Permission::Any, xds::Principal::Any);
    let verdict = deny.evaluate(&input(&headers, "/", &[]));
    assert_eq!(verdict, Verdict { allowed: false, policy: Some("p") });
}

#[test]
fn a_path_is_matched_without_query_and_fragment() {
    let headers = HeaderMap::new();
    let path = xds::Permission::UrlPath(xds::StringMatcher::exact("/admin"));
    let deny = rbac(xds::RbacAction::Deny, path, xds::Principal::Any);
    for target in ["/admin", "/admin?x", "/admin?", "/admin#x"] {
        assert!(!deny.evaluate(&input(&headers, target, &[])).allowed, "{target}");
    }
    assert!(deny.evaluate(&input(&headers, "/administrator", &[])).allowed);
}

#[test]
fn http_attributes_match_nothing_on_a_connection() {
    let headers = HeaderMap::new();
    let plain = RbacInput { request: None, ..input(&headers, "/", &[]) };
    let path = xds::Permission::UrlPath(xds::StringMatcher::prefix("/"));
    assert!(!rbac(xds::RbacAction::Allow, path, xds::Principal::Any).evaluate(&plain).allowed);
    let port = xds::Permission::DestinationPort(9080);
    assert!(rbac(xds::RbacAction::Allow, port, xds::Principal::Any).evaluate(&plain).allowed);
}

#[test]
fn addresses() {
    let headers = HeaderMap::new();
    let range = |text: &str| text.parse().expect("range");
    let allows = |principal| {
        rbac(xds::RbacAction::Allow, xds::Permission::Any, principal)
            .evaluate(&input(&headers, "/", &[]))
            .allowed
    };
    assert!(allows(xds::Principal::DirectRemoteIp(range("10.0.0.0/8"))));
    assert!(!allows(xds::Principal::DirectRemoteIp(range("192.0.2.0/24"))));
    assert!(allows(xds::Principal::RemoteIp(range("192.0.2.0/24"))));
    let other = xds::Principal::DirectRemoteIp(range("192.0.2.0/24"));
    assert!(allows(xds::Principal::Not(Box::new(other))));
}
