//! The server's state-of-the-world variant, by example.

use pb::{
    envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse},
    google::rpc::Status,
};

use super::{super::*, CLUSTERS, ENDPOINTS, resources, strings};

fn request(type_url: &str, names: &[&str], nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names: strings(names),
        response_nonce: nonce.to_owned(),
        ..Default::default()
    }
}

fn push(server: &mut Server, type_url: &str, all: &str) -> Option<(String, String)> {
    let response = server.sotw_push(type_url, "v", &resources(all))?;
    Some((summary(&response), response.nonce))
}

fn summary(response: &DiscoveryResponse) -> String {
    let text = |any: &pb::Any| String::from_utf8(any.value.clone()).unwrap();
    response.resources.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn subscribed(type_url: &str, names: &[&str]) -> Server {
    let mut server = Server::new(Protocol::Sotw);
    let event = server.on_sotw_request(request(type_url, names, "")).unwrap();
    assert!(event.wants_push());
    server
}

#[test]
fn clusters_come_all_together() {
    let mut server = subscribed(CLUSTERS, &[]);
    let (first, nonce) = push(&mut server, CLUSTERS, "a=1 b=1").unwrap();
    assert_eq!(first, "a=1 b=1");
    let event = server.on_sotw_request(request(CLUSTERS, &[], &nonce)).unwrap();
    assert_eq!(event.kind, EventKind::Acked { nonce });
    assert!(!event.wants_push());
    assert_eq!(push(&mut server, CLUSTERS, "a=1 b=1"), None);
    assert_eq!(push(&mut server, CLUSTERS, "a=1 b=2").unwrap().0, "a=1 b=2");
    assert_eq!(push(&mut server, CLUSTERS, "b=2").unwrap().0, "b=2");
    assert_eq!(push(&mut server, CLUSTERS, "").unwrap().0, "");
}

#[test]
fn of_endpoints_only_those_that_were_asked_for_and_changed() {
    let mut server = subscribed(ENDPOINTS, &["a", "b"]);
    let (first, nonce) = push(&mut server, ENDPOINTS, "a=1 b=1 c=1").unwrap();
    assert_eq!(first, "a=1 b=1");
    assert_eq!(push(&mut server, ENDPOINTS, "a=1 b=2 c=2").unwrap().0, "b=2");
    // It is gone: for endpoints absence says nothing, so nothing is sent.
    assert_eq!(push(&mut server, ENDPOINTS, "b=2"), None);
    // The answer to the first response is late; its names come again with the next answer.
    let late = server.on_sotw_request(request(ENDPOINTS, &["a", "b", "c"], &nonce)).unwrap();
    assert_eq!(late.kind, EventKind::Stale);
    assert!(!late.wants_push());
}

#[test]
fn a_change_of_names_carries_the_nonce_that_was_answered() {
    let mut server = subscribed(ENDPOINTS, &["a"]);
    let (_, nonce) = push(&mut server, ENDPOINTS, "a=1 b=1").unwrap();
    server.on_sotw_request(request(ENDPOINTS, &["a"], &nonce)).unwrap();
    let event = server.on_sotw_request(request(ENDPOINTS, &["a", "b"], &nonce)).unwrap();
    assert_eq!(event.kind, EventKind::Subscribed);
    assert_eq!(event.change.added, ["b"]);
    assert_eq!(push(&mut server, ENDPOINTS, "a=1 b=1").unwrap().0, "b=1");
    let event = server.on_sotw_request(request(ENDPOINTS, &["b"], &nonce)).unwrap();
    assert_eq!(event.kind, EventKind::Stale);
}

#[test]
fn no_names_after_names_means_nothing() {
    let mut server = subscribed(CLUSTERS, &["a"]);
    let (_, nonce) = push(&mut server, CLUSTERS, "a=1 b=1").unwrap();
    let event = server.on_sotw_request(request(CLUSTERS, &[], &nonce)).unwrap();
    assert_eq!(event.change.removed, ["a"]);
    assert!(server.subscription(CLUSTERS).unwrap().is_empty());
    server.on_sotw_request(request(CLUSTERS, &["*"], &nonce)).unwrap();
    assert_eq!(push(&mut server, CLUSTERS, "a=1 b=1").unwrap().0, "a=1 b=1");
}

#[test]
fn a_rejected_version_is_not_sent_again_until_it_changes() {
    let mut server = subscribed(CLUSTERS, &[]);
    let (_, nonce) = push(&mut server, CLUSTERS, "a=bad").unwrap();
    let error = Status { message: "no".to_owned(), ..Default::default() };
    let nack = DiscoveryRequest { error_detail: Some(error), ..request(CLUSTERS, &[], &nonce) };
    let event = server.on_sotw_request(nack).unwrap();
    assert_eq!(event.kind, EventKind::Nacked { nonce, detail: "no".to_owned() });
    assert!(!event.wants_push());
    assert_eq!(push(&mut server, CLUSTERS, "a=bad"), None);
    assert_eq!(push(&mut server, CLUSTERS, "a=good").unwrap().0, "a=good");
}

#[test]
fn endpoints_follow_a_cluster_that_changes() {
    let mut server = subscribed(CLUSTERS, &[]);
    push(&mut server, CLUSTERS, "a=1").unwrap();
    server.on_sotw_request(request(ENDPOINTS, &["a"], "")).unwrap();
    push(&mut server, ENDPOINTS, "a=1").unwrap();
    push(&mut server, CLUSTERS, "a=2").unwrap();
    assert_eq!(push(&mut server, ENDPOINTS, "a=1").unwrap().0, "a=1");
}

#[test]
fn the_delta_half_of_a_sotw_stream_is_closed() {
    let mut server = subscribed(CLUSTERS, &[]);
    assert_eq!(
        server.on_request(Default::default()),
        Err(ProtocolError::WrongVariant(Protocol::Sotw))
    );
    assert_eq!(server.push(CLUSTERS, &resources("a=1"), Removals::Now), None);
}
