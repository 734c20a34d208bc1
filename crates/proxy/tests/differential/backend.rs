//! The application: notes the bytes of each request, and answers as its `x-do` header says, a
//! script. Scripts for later attempts of the same call follow after ` ;; `.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::script::{self, Step};

/// What the backend saw of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

/// A running application.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) echo: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let notes = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&notes)));
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let echo = listener.local_addr().expect("address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _copied = tokio::io::copy(&mut read, &mut write).await;
                    let _closed = write.shutdown().await;
                });
            }
        });
        Self { address, echo, seen }
    }

    /// What it saw since this was last asked.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut buffer).await {
        let script = head.headers.iter().find(|(name, _)| name == "x-do");
        let script = script.map_or("", |(_, value)| value).to_owned();
        let (length, chunked) = framing(&head);
        let continues = head.headers.iter().any(|(name, _)| name == "expect");
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(head);
            seen.len() - 1
        };
        if continues && stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
            return;
        }
        let early = script.starts_with("{early}");
        if !early {
            let note = |bytes: &[u8], whole| {
                if let Some(seen) = seen.lock().unwrap().get_mut(number) {
                    seen.body.extend_from_slice(bytes);
                    seen.whole = whole;
                }
            };
            let read = if chunked {
                read_chunks(&mut stream, &mut buffer, note).await
            } else {
                read_length(&mut stream, &mut buffer, length, note).await
            };
            if read.is_none() {
                return;
            }
        }
        let scripts: Vec<&str> = script.trim_start_matches("{early}").split(" ;; ").collect();
        let script = scripts[number.min(scripts.len() - 1)];
        let default = "HTTP/1.1 200 OK|x-app: one|content-length: 2||ok";
        let script = if script.is_empty() { default } else { script };
        if !play(&mut stream, &script::parse(script)).await || early {
            return;
        }
    }
}

/// Does what a script says; false when the connection is over.
async fn play(stream: &mut TcpStream, steps: &[Step]) -> bool {
    for step in steps {
        match step {
            Step::Send(bytes) => {
                if stream.write_all(bytes).await.is_err() {
                    return false;
                }
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(*millis)).await,
            Step::Close => return false,
            Step::Reset => {
                let _unsupported = stream.set_zero_linger();
                return false;
            }
            Step::Read => {
                let mut bytes = [0; 1024];
                let Ok(count) = stream.read(&mut bytes).await else { return false };
                if stream.write_all(&bytes[..count]).await.is_err() {
                    return false;
                }
            }
        }
    }
    true
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let count = stream.read_buf(buffer).await.ok()?;
    (count > 0).then_some(())
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        more(stream, buffer).await?;
    };
    let head: Vec<u8> = buffer.drain(..end + 4).collect();
    let text = latin1(&head[..end]);
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches(' ').to_owned()))
        .collect();
    Some(Seen { line, headers, ..Seen::default() })
}

/// Each byte as one character, so that nothing is lost.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn framing(head: &Seen) -> (usize, bool) {
    let value = |wanted: &str| {
        let found = head.headers.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let length = value("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    (length, value("transfer-encoding") == Some("chunked"))
}

async fn read_length(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    mut length: usize,
    note: impl Fn(&[u8], bool),
) -> Option<()> {
    loop {
        let part: Vec<u8> = buffer.drain(..length.min(buffer.len())).collect();
        length -= part.len();
        note(&part, length == 0);
        if length == 0 {
            return Some(());
        }
        more(stream, buffer).await?;
    }
}

async fn read_chunks(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    note: impl Fn(&[u8], bool),
) -> Option<()> {
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            more(stream, buffer).await?;
        };
        let line: Vec<u8> = buffer.drain(..end + 2).collect();
        let size = latin1(&line[..end]);
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        while buffer.len() < size + 2 {
            more(stream, buffer).await?;
        }
        let part: Vec<u8> = buffer.drain(..size + 2).collect();
        note(&part[..size], size == 0);
        if size == 0 {
            return Some(());
        }
    }
}
