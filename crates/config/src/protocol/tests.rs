//! Protocol selection, by Istio's table.

use super::*;

#[test]
fn a_port_speaks_what_it_says() {
    let tcp = Transport::Tcp;
    for (port, name, app, protocol) in [
        (80, "http", None, Protocol::Http),
        (80, "http-web", None, Protocol::Http),
        (80, "HTTP-web", None, Protocol::Http),
        (80, "httpweb", None, Protocol::Auto),
        (80, "http2-x", None, Protocol::Http2),
        (80, "grpc", None, Protocol::Grpc),
        (80, "grpc-web", None, Protocol::GrpcWeb),
        (80, "grpc-webx", None, Protocol::GrpcWeb),
        (80, "https-x", None, Protocol::Https),
        (80, "tls", None, Protocol::Tls),
        (80, "mongo-db", None, Protocol::Mongo),
        (80, "redis", None, Protocol::Redis),
        (80, "mysql", None, Protocol::MySql),
        (80, "udp-x", None, Protocol::Udp),
        (80, "", None, Protocol::Auto),
        (3306, "", None, Protocol::Tcp),
        (25, "smtp", None, Protocol::Tcp),
        (25, "http", None, Protocol::Http),
        (80, "tcp", Some("http"), Protocol::Http),
        (80, "http", Some("kubernetes.io/h2c"), Protocol::Http2),
        (80, "http", Some("kubernetes.io/ws"), Protocol::Http),
        (80, "http", Some("kubernetes.io/wss"), Protocol::Https),
        (80, "http", Some("my.company/thing"), Protocol::Auto),
    ] {
        assert_eq!(Protocol::of_port(port, name, app, tcp), protocol, "{port} {name} {app:?}");
    }
    assert_eq!(Protocol::of_port(80, "http", None, Transport::Udp), Protocol::Udp);
}

#[test]
fn a_gateway_has_eight_protocols() {
    assert_eq!(Protocol::of_gateway("http"), Some(Protocol::Http));
    assert_eq!(Protocol::of_gateway("GRPC-Web"), Some(Protocol::GrpcWeb));
    assert_eq!(Protocol::of_gateway("TLS"), Some(Protocol::Tls));
    assert_eq!(Protocol::of_gateway("UDP"), None);
    assert_eq!(Protocol::of_gateway("redis"), None);
}
