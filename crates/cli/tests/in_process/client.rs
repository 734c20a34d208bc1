//! One call at a time, each on a connection of its own, and waiting for what comes later.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use testkit::load::Answer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// What has to happen happens within this time, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

/// `GET path` with `Host: shop.example` and these headers.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    try_get(address, path, headers).await.expect("an answer")
}

/// The same, where there may be no answer.
pub(crate) async fn try_get(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    call(stream, path, headers).await
}

/// A page of an admin interface, its body only.
pub(crate) async fn page(socket: &Path, path: &str) -> Result<String, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
    Ok(call(stream, path, &[]).await?.body)
}

async fn call<S>(stream: S, path: &str, headers: &[(&str, &str)]) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::get(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "shop.example");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let calling = async {
        let io = TokioIo::new(stream);
        let (mut sender, driver) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(driver);
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers: BTreeMap<_, _> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect();
        Ok::<_, hyper::Error>(Answer { status: parts.status.as_u16(), headers, body: text(&body) })
    };
    let answer = tokio::time::timeout(PATIENCE, calling).await;
    answer.map_err(|_| "no answer in time".to_owned())?.map_err(|error| format!("{error:?}"))
}

/// Tries until it works.
pub(crate) async fn eventually<T, E, F, Fut>(what: &str, mut attempt: F) -> T
where
    E: Debug,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if Instant::now() > end => panic!("not in time: {what}: {error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Asks until the answer has this status.
pub(crate) async fn until_status(address: SocketAddr, path: &str, status: u16) -> Answer {
    eventually(&format!("{status} for {path}"), || async {
        let answer = try_get(address, path, &[]).await?;
        if answer.status == status { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
    .await
}

/// Asks until the application of this name answers.
pub(crate) async fn until_from(address: SocketAddr, path: &str, application: &str) {
    eventually(&format!("{application} for {path}"), || async {
        let answer = try_get(address, path, &[]).await?;
        if from(&answer) == application { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

/// The application that has answered; empty: none.
pub(crate) fn from(answer: &Answer) -> &str {
    answer.headers.get("x-application").map_or("", String::as_str)
}

/// For a load: the status.
pub(crate) fn by_status(answer: &Answer) -> String {
    answer.status.to_string()
}
