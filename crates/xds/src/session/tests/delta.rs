//! The server's delta variant, by example.

use pb::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    google::rpc::Status,
};

use super::{super::*, CLUSTERS, ENDPOINTS, resources, strings};

fn request(type_url: &str, subscribe: &[&str], unsubscribe: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names_subscribe: strings(subscribe),
        resource_names_unsubscribe: strings(unsubscribe),
        ..Default::default()
    }
}

fn answer(response: &DeltaDiscoveryResponse, error: Option<&str>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        error_detail: error.map(|text| Status { message: text.to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

/// What a push brings, as in `"a=1 -b"`; none: nothing is sent.
fn push(server: &mut Server, type_url: &str, all: &str, removals: Removals) -> Option<String> {
    let response = server.push(type_url, &resources(all), removals)?;
    Some(summary(&response))
}

fn summary(response: &DeltaDiscoveryResponse) -> String {
    let updated = response.resources.iter().map(|resource| {
        let any = resource.resource.as_ref().unwrap();
        String::from_utf8(any.value.clone()).unwrap()
    });
    let removed = response.removed_resources.iter().map(|name| format!("-{name}"));
    updated.chain(removed).collect::<Vec<_>>().join(" ")
}

fn subscribed(type_url: &str, names: &[&str]) -> Server {
    let mut server = Server::new(Protocol::Delta);
    server.on_request(request(type_url, names, &[])).unwrap();
    server
}

#[test]
fn the_first_request_without_names_asks_for_everything() {
    let mut server = subscribed(CLUSTERS, &[]);
    assert!(server.subscription(CLUSTERS).unwrap().is_wildcard());
    assert_eq!(push(&mut server, CLUSTERS, "a=1 b=1", Removals::Now).unwrap(), "a=1 b=1");
    assert_eq!(push(&mut server, CLUSTERS, "a=1 b=1", Removals::Now), None);
    assert_eq!(push(&mut server, CLUSTERS, "a=2 b=1", Removals::Now).unwrap(), "a=2");
    assert_eq!(push(&mut server, CLUSTERS, "a=2", Removals::Later), None);
    assert_eq!(push(&mut server, CLUSTERS, "a=2", Removals::Now).unwrap(), "-b");
}

#[test]
fn of_endpoints_there_is_no_everything_without_a_star() {
    let mut server = subscribed(ENDPOINTS, &[]);
    assert!(server.subscription(ENDPOINTS).unwrap().is_empty());
    assert_eq!(push(&mut server, ENDPOINTS, "a=1", Removals::Now).unwrap(), "");
    let mut server = subscribed(ENDPOINTS, &["*"]);
    assert_eq!(push(&mut server, ENDPOINTS, "a=1", Removals::Now).unwrap(), "a=1");
}

#[test]
fn an_empty_world_is_told_once() {
    let mut server = subscribed(CLUSTERS, &[]);
    assert_eq!(push(&mut server, CLUSTERS, "", Removals::Now).unwrap(), "");
    assert_eq!(push(&mut server, CLUSTERS, "", Removals::Now), None);
}

#[test]
fn names_are_answered_when_they_exist_and_when_they_do_not() {
    let mut server = subscribed(ENDPOINTS, &["a", "nowhere"]);
    assert_eq!(push(&mut server, ENDPOINTS, "a=1 b=1", Removals::Later).unwrap(), "a=1 -nowhere");
    assert_eq!(push(&mut server, ENDPOINTS, "a=1 b=1", Removals::Now), None);
    assert_eq!(
        push(&mut server, ENDPOINTS, "a=1 b=1 nowhere=1", Removals::Now).unwrap(),
        "nowhere=1"
    );
}

#[test]
fn a_name_that_is_asked_for_again_is_sent_again() {
    let mut server = subscribed(ENDPOINTS, &["a"]);
    push(&mut server, ENDPOINTS, "a=1", Removals::Now).unwrap();
    let event = server.on_request(request(ENDPOINTS, &["a"], &[])).unwrap();
    assert!(event.wants_push());
    assert_eq!(push(&mut server, ENDPOINTS, "a=1", Removals::Now).unwrap(), "a=1");
}

#[test]
fn what_is_given_up_is_forgotten() {
    let mut server = subscribed(ENDPOINTS, &["a", "b"]);
    push(&mut server, ENDPOINTS, "a=1 b=1", Removals::Now).unwrap();
    let event = server.on_request(request(ENDPOINTS, &[], &["a"])).unwrap();
    assert_eq!(event.change.removed, ["a"]);
    assert!(!event.wants_push());
    assert_eq!(push(&mut server, ENDPOINTS, "a=2 b=1", Removals::Now), None);
    server.on_request(request(ENDPOINTS, &["a"], &[])).unwrap();
    assert_eq!(push(&mut server, ENDPOINTS, "a=2 b=1", Removals::Now).unwrap(), "a=2");
}

#[test]
fn a_name_given_up_under_a_wildcard_is_told_again() {
    let mut server = subscribed(CLUSTERS, &["*", "a"]);
    push(&mut server, CLUSTERS, "a=1 b=1", Removals::Now).unwrap();
    let event = server.on_request(request(CLUSTERS, &[], &["a"])).unwrap();
    assert!(event.wants_push());
    assert_eq!(push(&mut server, CLUSTERS, "a=1 b=1", Removals::Now).unwrap(), "a=1");
}

#[test]
fn the_wildcard_can_be_given_up() {
    let mut server = subscribed(CLUSTERS, &["*", "a"]);
    push(&mut server, CLUSTERS, "a=1 b=1", Removals::Now).unwrap();
    server.on_request(request(CLUSTERS, &[], &["*"])).unwrap();
    assert_eq!(push(&mut server, CLUSTERS, "a=2 b=2", Removals::Now).unwrap(), "a=2");
    assert_eq!(server.known(CLUSTERS).len(), 1);
}

#[test]
fn a_reconnecting_client_gets_only_what_changed() {
    let mut server = Server::new(Protocol::Delta);
    let versions = [("same", "1"), ("changed", "1"), ("gone", "1")];
    let versions = versions.map(|(name, version)| (name.to_owned(), version.to_owned()));
    server
        .on_request(DeltaDiscoveryRequest {
            initial_resource_versions: versions.into(),
            // Of an earlier stream: it means nothing here.
            response_nonce: "17".to_owned(),
            ..request(CLUSTERS, &[], &[])
        })
        .unwrap();
    assert_eq!(
        push(&mut server, CLUSTERS, "same=1 changed=2 new=1", Removals::Now).unwrap(),
        "changed=2 new=1 -gone"
    );
}

#[test]
fn a_rejected_version_is_not_sent_again_until_it_changes() {
    let mut server = subscribed(CLUSTERS, &[]);
    let all = resources("a=bad");
    let response = server.push(CLUSTERS, &all, Removals::Now).unwrap();
    let event = server.on_request(answer(&response, Some("a: no"))).unwrap();
    let nonce = response.nonce.clone();
    assert_eq!(event.kind, EventKind::Nacked { nonce, detail: "a: no".to_owned() });
    assert!(!event.wants_push());
    assert_eq!(server.nacked(CLUSTERS).unwrap().1, "a: no");
    assert_eq!(server.push(CLUSTERS, &all, Removals::Now), None);
    let response = server.push(CLUSTERS, &resources("a=good"), Removals::Now).unwrap();
    assert_eq!(summary(&response), "a=good");
    server.on_request(answer(&response, None)).unwrap();
    assert_eq!(server.nacked(CLUSTERS), None);
    assert_eq!(server.acked(CLUSTERS).unwrap().nonce, response.nonce);
}

#[test]
fn answers_to_what_was_answered_are_stale() {
    let mut server = subscribed(CLUSTERS, &[]);
    let first = server.push(CLUSTERS, &resources("a=1"), Removals::Now).unwrap();
    let second = server.push(CLUSTERS, &resources("a=2"), Removals::Now).unwrap();
    let mut kind = |request| server.on_request(request).unwrap().kind;
    let acked = |nonce: &String| EventKind::Acked { nonce: nonce.clone() };
    assert_eq!(kind(answer(&first, None)), acked(&first.nonce));
    assert_eq!(kind(answer(&second, None)), acked(&second.nonce));
    assert_eq!(kind(answer(&first, Some("late"))), EventKind::Stale);
    assert_eq!(server.nacked(CLUSTERS), None);
}

#[test]
fn endpoints_follow_a_cluster_that_changes() {
    let mut server = subscribed(CLUSTERS, &[]);
    push(&mut server, CLUSTERS, "a=1 b=1", Removals::Now).unwrap();
    server.on_request(request(ENDPOINTS, &["a", "b"], &[])).unwrap();
    push(&mut server, ENDPOINTS, "a=1 b=1", Removals::Now).unwrap();
    push(&mut server, CLUSTERS, "a=2 b=1", Removals::Now).unwrap();
    assert_eq!(push(&mut server, ENDPOINTS, "a=1 b=1", Removals::Now).unwrap(), "a=1");
    assert_eq!(push(&mut server, ENDPOINTS, "a=1 b=1", Removals::Now), None);
}

#[test]
fn a_request_must_name_its_type_and_be_of_the_streams_variant() {
    let mut server = Server::new(Protocol::Delta);
    assert_eq!(server.on_request(Default::default()), Err(ProtocolError::MissingType));
    assert_eq!(
        server.on_sotw_request(Default::default()),
        Err(ProtocolError::WrongVariant(Protocol::Delta))
    );
    assert_eq!(server.push(CLUSTERS, &resources("a=1"), Removals::Now), None);
}
