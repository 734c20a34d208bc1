//! An application: tells what it was asked, and misbehaves on demand.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A running application.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// Speaks HTTP/1.1 and HTTP/2. Paths: `/status/N`, `/delay/MS`, `/flaky/N` (the first N
    /// requests get 503), `/headers/NAME`, anything else tells the request.
    pub(crate) async fn http(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (connections, requests) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (seen, asked) = (Arc::clone(&connections), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                let asked = Arc::clone(&asked);
                let service = service_fn(move |request| answer(name, Arc::clone(&asked), request));
                tokio::spawn(async move {
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let served =
                        builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                    let _ended = served.await;
                });
            }
        });
        Self { address, connections, requests, task }
    }

    /// Sends back what it gets, and half-closes when the other side does.
    pub(crate) async fn echo() -> Self {
        Self::tcp(|mut stream| async move {
            let (mut read, mut write) = stream.split();
            let _copied = tokio::io::copy(&mut read, &mut write).await;
            let _closed = write.shutdown().await;
        })
        .await
    }

    /// Reads the head of a request and then does something rude.
    pub(crate) async fn rude(answer: &'static [u8]) -> Self {
        Self::tcp(move |mut stream| async move {
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).await.is_ok() {
                let _sent = stream.write_all(answer).await;
            }
        })
        .await
    }

    async fn tcp<F, Fut>(serve: F) -> Self
    where
        F: Fn(tokio::net::TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let connections = Arc::<AtomicUsize>::default();
        let seen = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        Self { address, connections, requests: Arc::default(), task }
    }
}

async fn answer(
    name: &'static str,
    asked: Arc<AtomicUsize>,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let number = asked.fetch_add(1, Ordering::SeqCst);
    if request.headers().get("upgrade").is_some_and(|value| value == "websocket") {
        return Ok(upgrade(&mut request));
    }
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let (kind, argument) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let mut builder = Response::builder().header("x-app", name);
    match kind {
        "status" => builder = builder.status(argument.parse::<u16>().expect("status")),
        "delay" => {
            let millis = argument.parse().expect("milliseconds");
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        "flaky" if number < argument.parse().expect("count") => {
            return Ok(builder.status(503).body(Full::from("flaky")).expect("response"));
        }
        _ => {}
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let host = parts.headers.get("host").map_or("", |value| value.to_str().expect("text"));
    let authority = parts.uri.authority().map_or(host, |authority| authority.as_str());
    let mut text = format!(
        "{name} {} {} {:?} host={authority}\n",
        parts.method,
        parts.uri.path_and_query().map_or("", |path| path.as_str()),
        parts.version
    );
    for (header, value) in &parts.headers {
        text.push_str(&format!("{header}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text.push_str(&format!("body={}", String::from_utf8_lossy(&body)));
    Ok(builder.body(Full::from(text)).expect("response"))
}

fn upgrade(request: &mut Request<Incoming>) -> Response<Full<Bytes>> {
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.expect("upgraded"));
        let mut buffer = [0; 1024];
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    });
    Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Full::default())
        .expect("response")
}

impl Upstream {
    /// Speaks gRPC's framing: sends back the message, and status 5 in trailers.
    pub(crate) async fn grpc() -> Self {
        Self::tcp(|stream| async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let head = Response::builder().header("content-type", "application/grpc");
                    let mut send = respond
                        .send_response(head.body(()).expect("response"), false)
                        .expect("sent");
                    while let Some(Ok(data)) = body.data().await {
                        let _released = body.flow_control().release_capacity(data.len());
                        let _sent = send.send_data(data, false);
                    }
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", http::HeaderValue::from_static("5"));
                    let _sent = send.send_trailers(trailers);
                });
            }
        })
        .await
    }
}
