//! Reads as much of a connection as the listener filters need to tell what it is.

use std::io;

use bytes::BytesMut;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::inspect::{HelloParse, HttpParse, HttpVersion, parse_client_hello, parse_http};

/// What is to be found out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) tls: bool,
    pub(super) http: bool,
}

/// What was found out.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    /// `tls` or `raw_buffer`.
    pub(super) transport_protocol: &'static str,
    pub(super) server_name: Option<String>,
    pub(super) application_protocols: Vec<String>,
    pub(super) http: Option<HttpVersion>,
}

impl Default for Findings {
    fn default() -> Self {
        Self {
            transport_protocol: "raw_buffer",
            server_name: None,
            application_protocols: Vec::new(),
            http: None,
        }
    }
}

/// Reads into `buffer` until all is known.
///
/// # Errors
/// When the connection breaks or ends before its first byte.
pub(super) async fn sniff(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    wanted: Wanted,
) -> io::Result<Findings> {
    if !wanted.tls && !wanted.http {
        return Ok(Findings::default());
    }
    loop {
        if let Some(findings) = look(buffer, wanted) {
            return Ok(findings);
        }
        if stream.read_buf(buffer).await? == 0 {
            if buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return Ok(Findings::default());
        }
    }
}

/// None when more bytes are needed.
fn look(bytes: &[u8], wanted: Wanted) -> Option<Findings> {
    if wanted.tls {
        match parse_client_hello(bytes) {
            HelloParse::Incomplete => return None,
            HelloParse::Hello(hello) => {
                return Some(Findings {
                    transport_protocol: "tls",
                    server_name: hello.server_name,
                    application_protocols: hello.alpn,
                    http: None,
                });
            }
            HelloParse::NotTls => {}
        }
    }
    if !wanted.http {
        return Some(Findings::default());
    }
    match parse_http(bytes) {
        HttpParse::Incomplete => None,
        HttpParse::NotHttp => Some(Findings::default()),
        HttpParse::Http(version) => Some(Findings {
            application_protocols: vec![version.alpn().to_owned()],
            http: Some(version),
            ..Findings::default()
        }),
    }
}
