//! The server on real sockets, with a resolver of the test's own behind it.

use std::path::PathBuf;

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};
use pb::istio::networking::nds::v1::{NameTable, name_table::NameInfo};

use super::*;
use crate::dns::forward::nameservers;

fn query(name: &str) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    message.to_vec().expect("written")
}

fn localhost() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

async fn start(resolvers: Vec<SocketAddr>) -> SocketAddr {
    let info = NameInfo { ips: vec!["10.96.0.1".into()], ..NameInfo::default() };
    let names = NameTable { table: [("a.b.svc.cluster.local".to_owned(), info)].into() };
    let table = Table::new(&names, "b", "cluster.local");
    let metrics = Metrics::new().expect("registered");
    let forwarder = Forwarder::new(resolvers, None, metrics.clone());
    let server = DnsServer::new(Arc::new(ArcSwapOption::from_pointee(table)), forwarder, metrics);
    let sockets = Sockets::bind(localhost(), None).await.expect("bound");
    let address = sockets.address().expect("an address");
    tokio::spawn(server.serve(sockets));
    address
}

async fn over_udp(server: SocketAddr, packet: &[u8]) -> Message {
    let socket = UdpSocket::bind(localhost()).await.expect("a socket");
    socket.send_to(packet, server).await.expect("sent");
    let mut buffer = [0; 2048];
    let received = timeout(Duration::from_secs(3), socket.recv(&mut buffer)).await;
    Message::from_vec(&buffer[..received.expect("in time").expect("received")]).expect("DNS")
}

async fn over_tcp(server: SocketAddr, packet: &[u8]) -> Message {
    let mut stream = TcpStream::connect(server).await.expect("connected");
    stream.write_all(&framed(packet)).await.expect("sent");
    let mut answer = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
    stream.read_exact(&mut answer).await.expect("an answer");
    Message::from_vec(&answer).expect("DNS")
}

/// A resolver that first sends a forged answer with another id, then the right one: refused.
async fn resolver() -> SocketAddr {
    let socket = UdpSocket::bind(localhost()).await.expect("a socket");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.expect("received");
            let query = Message::from_vec(&buffer[..length]).expect("DNS");
            let mut answer = query.clone().into_response();
            answer.metadata.response_code = ResponseCode::Refused;
            let mut forged = answer.clone();
            forged.metadata.id = forged.metadata.id.wrapping_add(1);
            forged.metadata.response_code = ResponseCode::NoError;
            for message in [forged, answer] {
                let bytes = message.to_vec().expect("written");
                socket.send_to(&bytes, client).await.expect("sent");
            }
        }
    });
    address
}

#[tokio::test]
async fn answers_names_of_the_mesh_over_both_transports() {
    let server = start(vec![]).await;
    for reply in [
        over_udp(server, &query("a.b.svc.cluster.local.")).await,
        over_tcp(server, &query("a.b.svc.cluster.local.")).await,
    ] {
        assert_eq!(reply.answers.len(), 1);
    }
}

#[tokio::test]
async fn survives_garbage() {
    let server = start(vec![]).await;
    let socket = UdpSocket::bind(localhost()).await.expect("a socket");
    for garbage in [&[0u8; 0][..], &[0xff; 3], &[0xff; 700], &[0; 12]] {
        socket.send_to(garbage, server).await.expect("sent");
        let mut stream = TcpStream::connect(server).await.expect("connected");
        stream.write_all(&framed(garbage)).await.expect("sent");
    }
    assert_eq!(over_udp(server, &query("a.b.svc.cluster.local.")).await.answers.len(), 1);
}

#[tokio::test]
async fn other_names_are_missing_without_a_resolver_and_asked_with_one() {
    let alone = start(vec![]).await;
    let reply = over_udp(alone, &query("example.com.")).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    let server = start(vec![resolver().await]).await;
    let reply = over_udp(server, &query("example.com.")).await;
    assert_eq!((reply.metadata.id, reply.metadata.response_code), (7, ResponseCode::Refused));
}

#[tokio::test]
async fn a_dead_resolver_is_passed_over() {
    let dead = {
        let socket = UdpSocket::bind(localhost()).await.expect("a socket");
        socket.local_addr().expect("an address")
    };
    let server = start(vec![dead, resolver().await]).await;
    let reply = over_udp(server, &query("example.com.")).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn reads_resolv_conf() {
    let dir = tempfile::tempdir().expect("a folder");
    let path: PathBuf = dir.path().join("resolv.conf");
    let text = "# comment\nsearch a.b\nnameserver 10.0.0.2\n nameserver\t::1\nnameserver bad\n";
    std::fs::write(&path, text).expect("written");
    let found = nameservers(&path).expect("read");
    assert_eq!(found, ["10.0.0.2:53".parse().expect("a"), "[::1]:53".parse().expect("b")]);
}
