//! Capture in a network namespace of the test's own: what the kernel does with the rules.
//!
//! Neither the machine's rules nor the other tests' are touched.

use std::{
    io::{Read as _, Write as _},
    net::{
        Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream,
        UdpSocket,
    },
    time::Duration,
};

use agent::capture::{CaptureOptions, Exempt, Ipv6Capture, Ports, apply, clean};
use nix::sys::socket::{
    getsockopt,
    sockopt::{Ip6tOriginalDst, OriginalDst},
};

use crate::namespace::{self, in_namespace};

const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;
const MARK: u32 = 1337;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 77);

#[derive(Clone, Copy, Debug)]
enum Who {
    Workload,
    Proxy(Exempt),
}

fn options(exempt: Exempt) -> CaptureOptions {
    CaptureOptions { ipv6: Ipv6Capture::Off, ..CaptureOptions::new(exempt) }
}

/// Connects as the workload or the proxy, from an address if one is given.
fn dial(who: Who, from: Option<Ipv4Addr>, to: (Ipv4Addr, u16)) -> std::io::Result<TcpStream> {
    as_user(who, || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        if let Who::Proxy(Exempt::Mark(mark)) = who {
            socket.set_mark(mark)?;
        }
        if let Some(from) = from {
            socket.bind(&SocketAddrV4::new(from, 0).into())?;
        }
        socket
            .connect_timeout(&SocketAddrV4::new(to.0, to.1).into(), Duration::from_millis(500))?;
        Ok(socket.into())
    })
}

/// Runs with the user that the rules tell apart; the socket keeps it.
fn as_user<T>(who: Who, work: impl FnOnce() -> T) -> T {
    match who {
        Who::Proxy(Exempt::Uid(uid)) => namespace::with_user(uid, work),
        _ => work(),
    }
}

fn listen(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free here")
}

/// Accepts one connection: where it was going.
fn original(listener: &TcpListener) -> SocketAddrV4 {
    let (stream, _) = listener.accept().expect("a connection arrives");
    let address = getsockopt(&stream, OriginalDst).expect("there is an original destination");
    SocketAddrV4::new(u32::from_be(address.sin_addr.s_addr).into(), u16::from_be(address.sin_port))
}

fn exemptions() -> Vec<Exempt> {
    if namespace::users_are_mapped() {
        vec![Exempt::Uid(1337), Exempt::Mark(MARK)]
    } else {
        vec![Exempt::Mark(MARK)]
    }
}

#[test]
fn workload_goes_to_the_outbound_listener_and_the_proxy_does_not() {
    in_namespace(|| {
        for exempt in exemptions() {
            apply(&options(exempt)).expect("the rules are accepted");
            let listener = listen(OUTBOUND);
            let _stream = dial(Who::Workload, None, (ELSEWHERE, 80)).expect("redirected");
            assert_eq!(original(&listener), SocketAddrV4::new(ELSEWHERE, 80));
            assert!(
                dial(Who::Proxy(exempt), None, (ELSEWHERE, 80)).is_err(),
                "{exempt}: nobody is there, and the proxy is not redirected"
            );
        }
    });
}

#[test]
fn loopback_is_left_alone_and_calls_to_oneself_come_in() {
    in_namespace(|| {
        for exempt in exemptions() {
            apply(&options(exempt)).expect("the rules are accepted");
            let _outbound = listen(OUTBOUND);
            let inbound = listen(INBOUND);
            let application = listen(8080);
            let direct = |who, from, to| {
                let stream = dial(who, from, (to, 8080)).expect("the application listens");
                let (_, peer) = application.accept().expect("it arrives there");
                assert_eq!(peer, stream.local_addr().expect("it has an address"));
            };
            direct(Who::Workload, None, Ipv4Addr::LOCALHOST);
            direct(Who::Workload, None, ADDRESS);
            direct(Who::Proxy(exempt), None, Ipv4Addr::LOCALHOST);
            direct(Who::Proxy(exempt), Some(Ipv4Addr::new(127, 0, 0, 6)), ADDRESS);
            let _to_self = dial(Who::Proxy(exempt), None, (ADDRESS, 8080)).expect("redirected");
            assert_eq!(original(&inbound), SocketAddrV4::new(ADDRESS, 8080));
        }
    });
}

#[test]
fn what_comes_in_goes_to_the_inbound_listener() {
    in_namespace(|| {
        apply(&CaptureOptions { exclude_inbound_ports: vec![2222], ..options(Exempt::Mark(MARK)) })
            .expect("the rules are accepted");
        let inbound = listen(INBOUND);
        let excluded = listen(2222);
        let health = listen(15021);
        namespace::from_neighbour(|| {
            TcpStream::connect((ADDRESS, 80)).expect("redirected");
            TcpStream::connect((ADDRESS, 2222)).expect("direct");
            TcpStream::connect((ADDRESS, 15021)).expect("direct");
        });
        assert_eq!(original(&inbound), SocketAddrV4::new(ADDRESS, 80));
        excluded.accept().expect("the excluded port is reached");
        health.accept().expect("the health port is reached");
    });
}

#[test]
fn dns_over_udp_is_answered_by_the_proxy_from_the_server_asked() {
    in_namespace(|| {
        for exempt in exemptions() {
            apply(&options(exempt)).expect("the rules are accepted");
            let server = dns_socket(exempt, 15053);
            // Twice from one source port: the second is the same connection to conntrack.
            let client = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
            client.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
            let resolver = SocketAddr::from((Ipv4Addr::new(10, 96, 0, 10), 53));
            client.connect(resolver).expect("a route");
            for _ in 0..2 {
                client.send(b"question").expect("sent");
                let mut buffer = [0; 64];
                let (length, from) = server.recv_from(&mut buffer).expect("the proxy gets it");
                server.send_to(&buffer[..length], from).expect("answered");
                // A connected socket takes datagrams from its peer only: the answer's source is
                // the address that was asked.
                let length = client.recv(&mut buffer).expect("the answer comes back");
                assert_eq!(&buffer[..length], b"question");
            }
        }
    });
}

#[test]
fn a_forwarded_query_from_a_used_port_is_not_sent_back_to_the_proxy() {
    in_namespace(|| {
        let exempt = Exempt::Mark(MARK);
        let applied = apply(&options(exempt)).expect("the rules are accepted");
        if !applied.notes.is_empty() {
            return testkit::skip(&applied.notes.join("; "));
        }
        let server = dns_socket(exempt, 15053);
        let resolver = SocketAddr::from((ELSEWHERE, 53));
        let client = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        let port = client.local_addr().expect("it has an address").port();
        client.send_to(b"question", resolver).expect("sent");
        let mut buffer = [0; 64];
        server.recv_from(&mut buffer).expect("the proxy gets it");
        drop(client);
        let forwarder = dns_socket(exempt, port);
        // There is nobody at the resolver's address; only a loop would deliver this.
        let _ = forwarder.send_to(b"forwarded", resolver);
        server.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        assert!(server.recv_from(&mut buffer).is_err(), "the query came back to the proxy");
    });
}

fn dns_socket(exempt: Exempt, port: u16) -> UdpSocket {
    as_user(Who::Proxy(exempt), || {
        let address = if port == 15053 { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let socket = UdpSocket::bind((address, port)).expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        if let Exempt::Mark(mark) = exempt {
            socket2::SockRef::from(&socket).set_mark(mark).expect("may mark");
        }
        socket
    })
}

#[test]
fn applying_twice_and_cleaning_are_idempotent() {
    in_namespace(|| {
        let all = options(Exempt::Mark(MARK));
        clean().expect("nothing to clean is no error");
        apply(&all).expect("first");
        apply(&all).expect("second");
        let narrowed = CaptureOptions { include_inbound_ports: Ports::List(vec![80]), ..all };
        apply(&narrowed).expect("changed");
        clean().expect("cleaned");
        clean().expect("cleaned again");
        let application = listen(8080);
        let mut stream = dial(Who::Proxy(Exempt::Mark(1)), None, (ADDRESS, 8080)).expect("direct");
        stream.write_all(b"x").expect("written");
        let (mut accepted, _) = application.accept().expect("it arrives");
        accepted.read_exact(&mut [0]).expect("read");
    });
}

#[test]
fn ipv6_is_captured_where_there_is_an_address() {
    in_namespace(|| {
        let automatic = CaptureOptions::new(Exempt::Mark(MARK));
        let applied = apply(&automatic).expect("the rules are accepted");
        if applied.families.len() < 2 {
            return testkit::skip("no IPv6 in this kernel");
        }
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, OUTBOUND)).expect("free");
        let to = SocketAddrV6::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x77), 80, 0, 0);
        let timeout = Duration::from_secs(2);
        let _stream = TcpStream::connect_timeout(&to.into(), timeout).expect("redirected");
        let (accepted, _) = listener.accept().expect("a connection arrives");
        let address = getsockopt(&accepted, Ip6tOriginalDst).expect("an original destination");
        let original = Ipv6Addr::from(address.sin6_addr.s6_addr);
        assert_eq!((original, u16::from_be(address.sin6_port)), (*to.ip(), 80));
        clean().expect("cleaned");
    });
}

#[test]
fn without_a_group_of_its_own_a_workload_is_not_the_proxy() {
    in_namespace(|| {
        if !namespace::users_are_mapped() {
            return;
        }
        apply(&options(Exempt::Uid(1337))).expect("the rules are accepted");
        let listener = listen(OUTBOUND);
        let _stream = namespace::with_user(1000, || dial(Who::Workload, None, (ELSEWHERE, 80)))
            .expect("redirected");
        assert_eq!(original(&listener), SocketAddrV4::new(ELSEWHERE, 80));
    });
}
