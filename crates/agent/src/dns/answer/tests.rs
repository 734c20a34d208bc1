//! Packets in, packets out.

use pb::istio::networking::nds::v1::{NameTable, name_table::NameInfo};
use proptest::prelude::*;

use super::*;

fn table(addresses: usize) -> Table {
    let ips = (0..addresses).map(|i| format!("10.0.{}.{}", i / 250, i % 250)).collect();
    let info = NameInfo {
        ips,
        registry: "Kubernetes".into(),
        shortname: "reviews".into(),
        namespace: "bookinfo".into(),
    };
    let table = [("reviews.bookinfo.svc.cluster.local".to_owned(), info)].into();
    Table::new(&NameTable { table }, "bookinfo", "cluster.local")
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

fn ask(message: &Message, table: Option<&Table>, transport: Transport) -> Message {
    match answer(&message.to_vec().expect("written"), table, transport) {
        Outcome::Reply(bytes) => Message::from_vec(&bytes).expect("readable"),
        other => panic!("{other:?}"),
    }
}

const REVIEWS: &str = "reviews.bookinfo.svc.cluster.local.";

#[test]
fn a_known_host_has_its_addresses_for_thirty_seconds() {
    let reply = ask(&query(REVIEWS, RecordType::A), Some(&table(3)), Transport::Udp);
    assert_eq!(reply.metadata.id, 4711);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert!(reply.metadata.recursion_available && reply.metadata.recursion_desired);
    assert_eq!(reply.answers.len(), 3);
    assert!(reply.answers.iter().all(|record| record.ttl == 30));
    assert_eq!(reply.queries.len(), 1);
}

#[test]
fn a_known_host_without_the_family_is_empty_not_missing() {
    for kind in [RecordType::AAAA, RecordType::MX, RecordType::HTTPS] {
        let reply = ask(&query(REVIEWS, kind), Some(&table(1)), Transport::Udp);
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError, "{kind}");
        assert!(reply.answers.is_empty());
    }
}

#[test]
fn unknown_names_of_the_cluster_are_missing_at_once() {
    let name = "example.com.bookinfo.svc.cluster.local.";
    let reply = ask(&query(name, RecordType::A), Some(&table(1)), Transport::Udp);
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn other_names_are_forwarded_and_before_the_table_the_server_fails() {
    let message = query("example.com.", RecordType::A);
    let bytes = message.to_vec().expect("written");
    let outcome = answer(&bytes, Some(&table(1)), Transport::Udp);
    let Outcome::Forward { name, failure } = outcome else { panic!("{outcome:?}") };
    assert_eq!(name, "example.com.");
    let failure = Message::from_vec(&with_code(&failure, ResponseCode::NXDomain)).expect("read");
    assert_eq!(failure.metadata.response_code, ResponseCode::NXDomain);
    for name in [REVIEWS, "example.com."] {
        let reply = ask(&query(name, RecordType::A), None, Transport::Udp);
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    }
}

#[test]
fn large_answers_are_truncated_over_udp_only() {
    let table = table(400);
    let mut message = query(REVIEWS, RecordType::A);
    let plain = answer(&message.to_vec().expect("written"), Some(&table), Transport::Udp);
    let Outcome::Reply(plain) = plain else { panic!("{plain:?}") };
    assert!(plain.len() <= 512);
    let plain = Message::from_vec(&plain).expect("readable");
    assert!(plain.metadata.truncation && !plain.answers.is_empty());
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    let more = ask(&message, Some(&table), Transport::Udp);
    assert!(more.edns.is_some() && more.answers.len() > plain.answers.len());
    assert_eq!(ask(&message, Some(&table), Transport::Tcp).answers.len(), 400);
}

#[test]
fn odd_messages_have_odd_answers() {
    let mut message = query(REVIEWS, RecordType::A);
    message.metadata.op_code = OpCode::Update;
    let reply = answer(&message.to_vec().expect("written"), Some(&table(1)), Transport::Udp);
    assert!(matches!(reply, Outcome::Reply(_) | Outcome::Ignore));
    let mut two = query(REVIEWS, RecordType::A);
    two.add_query(Query::query(Name::root(), RecordType::A));
    let reply = ask(&two, Some(&table(1)), Transport::Udp);
    assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
    let mut response = query(REVIEWS, RecordType::A);
    response.metadata.message_type = MessageType::Response;
    let bytes = response.to_vec().expect("written");
    assert_eq!(answer(&bytes, Some(&table(1)), Transport::Udp), Outcome::Ignore);
    assert_eq!(answer(&[1, 2, 3], Some(&table(1)), Transport::Udp), Outcome::Ignore);
}

proptest! {
    #[test]
    fn any_bytes_have_a_harmless_outcome(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Outcome::Reply(reply) = answer(&bytes, Some(&table(1)), Transport::Udp) {
            prop_assert_eq!(&reply[..2], &bytes[..2]);
            prop_assert!(reply.len() <= 1232);
        }
    }

    #[test]
    fn a_damaged_query_has_a_harmless_outcome(at in 0usize..48, to in any::<u8>()) {
        let mut bytes = query(REVIEWS, RecordType::A).to_vec().expect("written");
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = answer(&bytes, Some(&table(1)), Transport::Udp);
    }
}
