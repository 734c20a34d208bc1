use super::*;

/// A hello with a server name and ALPN names, in records of at most `record` bytes.
fn hello(server_name: &str, alpn: &[&str], record: usize) -> Vec<u8> {
    let mut config = rustls::ClientConfig::builder_with_provider(pki::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.max_fragment_size = Some(record.max(64));
    let name = rustls_pki_types::ServerName::try_from(server_name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn reads_server_name_and_alpn_of_a_hello_however_it_is_split() {
    for record in [64, 100, 16_000] {
        let bytes = hello("Reviews.Bookinfo", &["istio", "h2"], record);
        for end in 0..bytes.len() {
            assert_eq!(parse_client_hello(&bytes[..end]), HelloParse::Incomplete, "{end}");
        }
        let wanted = ClientHello {
            server_name: Some("reviews.bookinfo".into()),
            alpn: vec!["istio".into(), "h2".into()],
        };
        assert_eq!(parse_client_hello(&bytes), HelloParse::Hello(wanted));
    }
}

#[test]
fn refuses_what_only_looks_like_tls() {
    assert_eq!(parse_client_hello(b"GET / HTTP/1.1\r\n"), HelloParse::NotTls);
    assert_eq!(parse_client_hello(&[22, 2, 0]), HelloParse::NotTls);
    assert_eq!(parse_client_hello(&[22, 3, 1, 0, 0]), HelloParse::NotTls);
    assert_eq!(parse_client_hello(&[22, 3, 1, 0xff, 0xff]), HelloParse::NotTls);
    assert_eq!(parse_client_hello(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), HelloParse::NotTls);
    assert_eq!(parse_client_hello(&[22, 3, 1, 0, 4, 1, 0, 0, 0]), HelloParse::NotTls);
}

#[test]
fn no_bytes_make_the_parsers_fail() {
    let bytes = hello("a.b", &["h2"], 16_000);
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            let _found = parse_client_hello(&changed);
            let _found = parse_http(&changed);
        }
    }
}

#[test]
fn tells_http_versions_apart() {
    let cases: &[(&[u8], HttpParse)] = &[
        (b"GET / HTTP/1.1\r\nHost: a\r\n", HttpParse::Http(HttpVersion::Http11)),
        (b"\r\nGET / HTTP/1.1\n", HttpParse::Http(HttpVersion::Http11)),
        (b"POST /a b HTTP/1.0\r\n", HttpParse::Http(HttpVersion::Http10)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HttpParse::Http(HttpVersion::H2c)),
        (b"PRI * HTTP/2.0\r\n\r\nSM", HttpParse::Incomplete),
        (b"GET /", HttpParse::Incomplete),
        (b"GE", HttpParse::Incomplete),
        (b"", HttpParse::Incomplete),
        (b"GET / SIP/2.0\r\n", HttpParse::NotHttp),
        (b"get / HTTP/1.1\r\n", HttpParse::NotHttp),
        (b"\x00\x01\x02", HttpParse::NotHttp),
        (b"*1\r\n$4\r\nPING\r\n", HttpParse::NotHttp),
        (b"GET \x00\x00", HttpParse::NotHttp),
    ];
    for (bytes, wanted) in cases {
        assert_eq!(parse_http(bytes), *wanted, "{:?}", String::from_utf8_lossy(bytes));
    }
}
