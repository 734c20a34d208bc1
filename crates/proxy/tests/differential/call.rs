//! Makes one call, and notes everything that comes back.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, tcp::OwnedWriteHalf},
};

use crate::{backend::latin1, cases::Call, script::Step};

/// After a whole answer nothing more is expected for this long.
const AFTER_WHOLE: Duration = Duration::from_millis(40);
/// Who says nothing for this long has nothing to say.
const SILENCE: Duration = Duration::from_millis(1_300);

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// What came of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The client's address, by which the access log knows it.
    pub(crate) from: Option<Ipv4Addr>,
    pub(crate) replies: Vec<Reply>,
    /// Bytes that are no answer.
    pub(crate) rest: Vec<u8>,
    /// `open`, `closed`, or how it failed.
    pub(crate) end: String,
}

/// Makes a call.
pub(crate) async fn make(address: SocketAddr, from: Ipv4Addr, call: &Call) -> Outcome {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("a loopback address");
    let stream = socket.connect(address).await.expect("a connection");
    let mut outcome = match call {
        Call::Http1 { bytes, head_only } => {
            let head_only = *head_only;
            let (bytes, end) = talk(stream, bytes, |bytes, ended| {
                let (replies, _) = replies(bytes, head_only, ended);
                let last = replies.last();
                last.is_some_and(|last| last.whole && (last.status >= 200 || last.status == 101))
            })
            .await;
            let (replies, rest) = replies(&bytes, head_only, end == "closed");
            let leaving = replies.last().and_then(|last| last.header("connection"));
            let end = if leaving == Some("close") { "closed".to_owned() } else { end };
            Outcome { replies, rest, end, ..Outcome::default() }
        }
        Call::Tcp(steps) => {
            let (rest, end) = talk(stream, steps, |bytes, _| !bytes.is_empty()).await;
            Outcome { rest, end, ..Outcome::default() }
        }
        Call::Http2 { method, path, headers, body } => {
            let asked = http2(stream, method, path, headers, body);
            match tokio::time::timeout(SILENCE * 2, asked).await {
                Ok(Ok(reply)) => {
                    Outcome { replies: vec![reply], end: "open".into(), ..Outcome::default() }
                }
                Ok(Err(error)) => Outcome { end: failure(&error), ..Outcome::default() },
                Err(_) => Outcome { end: "silent".into(), ..Outcome::default() },
            }
        }
    };
    outcome.from = Some(from);
    outcome
}

fn failure(error: &h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_go_away() => format!("GOAWAY {reason:?}"),
        Some(reason) => format!("reset {reason:?}"),
        None => "closed".to_owned(),
    }
}

/// Plays the steps, and reads until the other side has said all.
async fn talk(
    stream: TcpStream,
    steps: &[Step],
    is_whole: impl Fn(&[u8], bool) -> bool,
) -> (Vec<u8>, String) {
    let (mut read, mut write) = stream.into_split();
    let mut bytes = Vec::new();
    let mut writing = std::pin::pin!(play(&mut write, steps));
    let mut written = false;
    loop {
        let patience = if written && is_whole(&bytes, false) { AFTER_WHOLE } else { SILENCE };
        tokio::select! {
            () = writing.as_mut(), if !written => written = true,
            read = tokio::time::timeout(patience, read.read_buf(&mut bytes)) => match read {
                Err(_) if !written => {}
                Err(_) => return (bytes, "open".to_owned()),
                Ok(Ok(0)) => return (bytes, "closed".to_owned()),
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return (bytes, "closed".to_owned()),
            },
        }
    }
}

async fn play(write: &mut OwnedWriteHalf, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Send(bytes) => {
                if write.write_all(bytes).await.is_err() {
                    return;
                }
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(*millis)).await,
            Step::Close => {
                let _closed = write.shutdown().await;
            }
            Step::Reset | Step::Read => panic!("a client does not do that"),
        }
    }
}

/// The answers in these bytes, and what follows them.
fn replies(bytes: &[u8], head_only: bool, ended: bool) -> (Vec<Reply>, Vec<u8>) {
    let mut replies = Vec::new();
    let mut rest = bytes;
    while let Some((reply, used)) = reply(rest, head_only, ended) {
        rest = &rest[used..];
        let last = !reply.whole || reply.status == 101;
        replies.push(reply);
        if last {
            break;
        }
    }
    (replies, rest.to_vec())
}

fn reply(bytes: &[u8], head_only: bool, ended: bool) -> Option<(Reply, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = latin1(&bytes[..end]);
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut reply = Reply { status, headers, ..Reply::default() };
    let body = &bytes[end + 4..];
    let none = head_only || status < 200 || status == 204 || status == 304;
    let used = if none {
        reply.whole = true;
        0
    } else if reply.header("transfer-encoding") == Some("chunked") {
        let (data, used, whole) = chunks(body);
        (reply.body, reply.whole) = (data, whole);
        used
    } else if let Some(length) = reply.header("content-length") {
        let length: usize = length.parse().ok()?;
        reply.whole = body.len() >= length;
        reply.body = body[..length.min(body.len())].to_vec();
        reply.body.len()
    } else {
        (reply.body, reply.whole) = (body.to_vec(), ended);
        body.len()
    };
    Some((reply, end + 4 + used))
}

fn chunks(bytes: &[u8]) -> (Vec<u8>, usize, bool) {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].windows(2).position(|two| two == b"\r\n");
        let size = line.and_then(|end| {
            let size = usize::from_str_radix(latin1(&bytes[at..at + end]).trim(), 16).ok()?;
            Some((at + end + 2, size))
        });
        let Some((start, size)) = size else { return (data, at, false) };
        if bytes.len() < start + size + 2 {
            return (data, at, false);
        }
        data.extend_from_slice(&bytes[start..start + size]);
        at = start + size + 2;
        if size == 0 {
            return (data, at, true);
        }
    }
}

async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &str,
) -> Result<Reply, h2::Error> {
    let (client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let mut builder = http::Request::builder().method(method);
    for (name, value) in headers {
        builder = match name.as_str() {
            "host" => builder.uri(format!("http://{value}{path}")),
            "x-host" => builder.header("host", value),
            _ => builder.header(name, value),
        };
    }
    let request = builder.body(()).expect("a request");
    let mut client = client.ready().await?;
    let (answer, mut send) = client.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        send.send_data(bytes::Bytes::copy_from_slice(body.as_bytes()), true)?;
    }
    let (parts, mut incoming) = answer.await?.into_parts();
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), latin1(value.as_bytes())));
    let mut reply =
        Reply { status: parts.status.as_u16(), headers: headers.collect(), ..Reply::default() };
    while let Some(data) = incoming.data().await {
        reply.body.extend_from_slice(&data?);
    }
    if let Some(trailers) = incoming.trailers().await? {
        let trailers = trailers.iter();
        reply.headers.extend(
            trailers.map(|(name, value)| (format!("trailer {name}"), latin1(value.as_bytes()))),
        );
    }
    reply.whole = true;
    Ok(reply)
}
