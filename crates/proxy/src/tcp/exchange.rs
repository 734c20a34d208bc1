//! Istio's exchange of peer metadata on connections that negotiated the ALPN name
//! `istio-peer-exchange`: each side sends one frame before the first byte of the application.
//!
//! A frame is a magic number and a length (both 32 bits, big endian), then a `google.protobuf.Any`
//! of a `Struct` with the fields `x-envoy-peer-metadata` and `x-envoy-peer-metadata-id`.

use std::{io, time::Duration};

use bytes::{Buf as _, BytesMut};
use prost::Message as _;
use prost_types::{Any, Struct, value::Kind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::stats::{LocalPeer, Peer};

const MAGIC: u32 = 0x3D23_0467;
const HEADER: usize = 8;
/// The longest frame that is read, in bytes.
const LARGEST: usize = 64 * 1024;
/// A peer that says nothing for so long is served without knowing who it is.
const PATIENCE: Duration = Duration::from_secs(10);
const METADATA: &str = "x-envoy-peer-metadata";
const METADATA_ID: &str = "x-envoy-peer-metadata-id";
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";

/// Our own frame.
pub(crate) fn frame(metadata: Struct, id: &str) -> Vec<u8> {
    let field = |kind| prost_types::Value { kind: Some(kind) };
    let fields = [
        (METADATA.to_owned(), field(Kind::StructValue(metadata))),
        (METADATA_ID.to_owned(), field(Kind::StringValue(id.to_owned()))),
    ];
    let told = Struct { fields: fields.into() };
    let any = Any { type_url: STRUCT.to_owned(), value: told.encode_to_vec() }.encode_to_vec();
    let mut frame = Vec::with_capacity(HEADER + any.len());
    frame.extend_from_slice(&MAGIC.to_be_bytes());
    frame.extend_from_slice(&u32::try_from(any.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&any);
    frame
}

/// What the other side said, and the application's bytes that came along with it.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) peer: Option<Peer>,
    pub(super) rest: BytesMut,
}

/// Tells the other side who we are, and listens to what it says. Both at once: neither side waits
/// for the other.
pub(super) async fn exchange<S>(stream: &mut S, local: &LocalPeer) -> io::Result<Heard>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reading, mut writing) = tokio::io::split(stream);
    let telling = async {
        writing.write_all(&local.frame).await?;
        writing.flush().await
    };
    let (told, heard) = tokio::join!(telling, listen(&mut reading));
    told?;
    heard
}

async fn listen<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Heard> {
    let mut seen = BytesMut::with_capacity(4 * 1024);
    let reading = async {
        loop {
            match parse(&seen) {
                Parsed::Incomplete => {}
                Parsed::Absent => return Ok(None),
                Parsed::Frame(length, peer) => {
                    seen.advance(length);
                    return Ok(peer);
                }
            }
            if stream.read_buf(&mut seen).await? == 0 {
                return Ok::<_, io::Error>(None);
            }
        }
    };
    let peer = match tokio::time::timeout(PATIENCE, reading).await {
        Ok(peer) => peer?,
        Err(_elapsed) => None,
    };
    Ok(Heard { peer, rest: seen })
}

enum Parsed {
    Incomplete,
    /// No frame: all of it is the application's.
    Absent,
    /// A frame of this length.
    Frame(usize, Option<Peer>),
}

fn parse(bytes: &[u8]) -> Parsed {
    let magic = MAGIC.to_be_bytes();
    let common = bytes.len().min(magic.len());
    if bytes[..common] != magic[..common] {
        return Parsed::Absent;
    }
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Parsed::Incomplete };
    let [.., a, b, c, d] = *header;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > LARGEST {
        return Parsed::Absent;
    }
    match bytes.get(HEADER..HEADER + length) {
        None => Parsed::Incomplete,
        Some(body) => Parsed::Frame(HEADER + length, read(body)),
    }
}

fn read(body: &[u8]) -> Option<Peer> {
    let any = Any::decode(body).ok()?;
    let told = Struct::decode(any.value.as_slice()).ok()?;
    match told.fields.get(METADATA)?.kind.as_ref()? {
        Kind::StructValue(metadata) => Some(Peer::from_struct(metadata)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn local(workload: &str) -> LocalPeer {
        LocalPeer::new(&xds::Node {
            id: "sidecar~1.2.3.4~a.ns~ns.svc.cluster.local".into(),
            metadata: [("WORKLOAD_NAME".to_owned(), workload.into())].into(),
            ..xds::Node::default()
        })
    }

    #[tokio::test]
    async fn both_sides_learn_who_the_other_is_and_lose_no_byte() {
        let (mut a, mut b) = duplex(7);
        let (client, server) = (local("client"), local("server"));
        let calling = async {
            let heard = exchange(&mut a, &client).await.unwrap();
            a.write_all(b"hello").await.unwrap();
            a.shutdown().await.unwrap();
            heard
        };
        let serving = async {
            let heard = exchange(&mut b, &server).await.unwrap();
            let mut rest = heard.rest.to_vec();
            b.read_to_end(&mut rest).await.unwrap();
            (heard.peer, rest)
        };
        let (client_heard, (server_heard, rest)) = tokio::join!(calling, serving);
        assert_eq!(client_heard.peer.unwrap().workload, "server");
        assert_eq!(server_heard.unwrap().workload, "client");
        assert_eq!(rest, b"hello");
    }

    #[test]
    fn what_is_no_frame_is_left_alone() {
        assert!(matches!(parse(b"GET / HTTP/1.1"), Parsed::Absent));
        assert!(matches!(parse(b""), Parsed::Incomplete));
        assert!(matches!(parse(&MAGIC.to_be_bytes()), Parsed::Incomplete));
        let mut huge = MAGIC.to_be_bytes().to_vec();
        huge.extend_from_slice(&[0xff; 4]);
        assert!(matches!(parse(&huge), Parsed::Absent));
        let mut garbage = MAGIC.to_be_bytes().to_vec();
        garbage.extend_from_slice(&[0, 0, 0, 2, 0xff, 0xff]);
        assert!(matches!(parse(&garbage), Parsed::Frame(10, None)));
    }
}
