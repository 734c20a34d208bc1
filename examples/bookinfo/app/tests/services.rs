//! The four services over real sockets on loopback, without a mesh.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use bookinfo::{Options, Server};
use clap::Parser;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn options(words: &[&str]) -> Options {
    let fixed = ["bookinfo", "--address", "127.0.0.1", "--port", "0"];
    Cli::parse_from(fixed.iter().chain(words)).options
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

async fn start(words: &[&str]) -> Running {
    let server = Server::bind(options(words)).await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    Running { address, stop, task }
}

fn at<'a>(flag: &'a str, port: &'a str) -> [String; 4] {
    [format!("--{flag}-host"), "127.0.0.1".to_owned(), format!("--{flag}-port"), port.to_owned()]
}

async fn start_at(service: &[&str], upstreams: &[(&str, SocketAddr)]) -> Running {
    let mut words: Vec<String> = service.iter().map(|&word| word.to_owned()).collect();
    for (name, address) in upstreams {
        words.extend(at(name, &address.port().to_string()));
    }
    start(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, Request::get(path).header("host", "test").body(Full::default()).unwrap()).await
}

/// A port where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn the_page_shows_all_four_services() {
    let ratings = start(&["ratings"]).await;
    let details = start(&["details"]).await;
    for (version, color) in [("v1", None), ("v2", Some("black")), ("v3", Some("red"))] {
        let words = ["reviews", "--version", version, "--pod-name", "pod-7"];
        let reviews = start_at(&words, &[("ratings", ratings.address)]).await;
        let page = start_at(
            &["productpage"],
            &[("details", details.address), ("reviews", reviews.address)],
        )
        .await;
        let answer = get(page.address, "/productpage").await;
        assert_eq!(answer.status, 200);
        let html = answer.body;
        assert!(html.contains("Moby-Dick"), "title");
        assert!(html.contains("0142437247"), "details");
        assert!(html.contains("whole ocean"), "reviews");
        assert!(html.contains(&format!("data-reviews-version=\"{version}\"")), "version");
        assert!(html.contains("data-reviews-pod=\"pod-7\""), "pod");
        assert_eq!(html.matches("data-stars=").count(), if color.is_some() { 2 } else { 0 });
        if let Some(color) = color {
            assert!(html.contains(&format!("data-color=\"{color}\"")));
        }
    }
}

#[tokio::test]
async fn the_same_data_as_json() {
    let ratings = start(&["ratings"]).await;
    let details = start(&["details"]).await;
    let reviews = start_at(&["reviews", "--version", "v3"], &[("ratings", ratings.address)]).await;
    let page = start_at(
        &["productpage"],
        &[("details", details.address), ("reviews", reviews.address), ("ratings", ratings.address)],
    )
    .await;
    let products = get(page.address, "/api/v1/products").await.json();
    assert_eq!(products[0]["id"], 0);
    let product = get(page.address, "/api/v1/products/0").await.json();
    assert_eq!(product["details"]["ISBN-10"], "0142437247");
    let reviews = get(page.address, "/api/v1/products/0/reviews").await.json();
    assert_eq!(reviews["version"], "v3");
    assert_eq!(reviews["reviews"][1]["rating"]["stars"], 4);
    let ratings = get(page.address, "/api/v1/products/0/ratings").await.json();
    assert_eq!(ratings["ratings"]["Reviewer1"], 5);
    assert_eq!(get(page.address, "/api/v1/products/9").await.status, 404);
    assert_eq!(get(page.address, "/nothing").await.status, 404);
    assert_eq!(get(details.address, "/details/x").await.status, 400);
}

#[tokio::test]
async fn a_service_that_is_down_is_said_on_the_page() {
    let nobody = nobody().await;
    let reviews = start_at(&["reviews", "--version", "v2"], &[("ratings", nobody)]).await;
    let page =
        start_at(&["productpage"], &[("details", nobody), ("reviews", reviews.address)]).await;
    let answer = get(page.address, "/productpage").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("data-details-status=\"503\""));
    assert!(answer.body.contains("ratings are not available (status 503)"));
    assert!(answer.body.contains("whole ocean"), "the text of reviews is there without ratings");
    let json = get(page.address, "/api/v1/products/0").await;
    assert_eq!(json.status, 503);
    assert_eq!(json.json()["status"], 503);

    let page = start_at(&["productpage"], &[("details", nobody), ("reviews", nobody)]).await;
    let answer = get(page.address, "/productpage").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("data-reviews-status=\"503\""));
    assert!(answer.body.contains("Moby-Dick"));
}

#[tokio::test]
async fn signing_in_names_the_user_to_the_services_and_tracing_headers_go_along() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let reply = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 19\r\n\r\nRBAC: access denied";
        stream.write_all(reply).await.unwrap();
        String::from_utf8_lossy(&request[..length]).to_lowercase()
    });
    let page = start_at(&["productpage"], &[("reviews", fake), ("details", nobody().await)]).await;

    let login = Request::post("/login").header("host", "test");
    let answer = send(page.address, login.body("username=jason&x=y".into()).unwrap()).await;
    assert_eq!(answer.status, 303);
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap();

    let request = Request::get("/productpage")
        .header("host", "test")
        .header("cookie", cookie)
        .header("x-request-id", "id-1")
        .header("traceparent", "00-1-2-03")
        .header("x-b3-traceid", "77")
        .body(Full::default())
        .unwrap();
    let html = send(page.address, request).await.body;
    assert!(html.contains("jason"));
    assert!(html.contains("data-reviews-status=\"403\""));
    assert!(html.contains("RBAC: access denied"));

    let heard = heard.await.unwrap();
    assert!(heard.starts_with("get /reviews/0 http/1.1\r\n"), "{heard}");
    for line in [
        "end-user: jason",
        "x-request-id: id-1",
        "traceparent: 00-1-2-03",
        "x-b3-traceid: 77",
        "cookie: user=jason",
    ] {
        assert!(heard.contains(line), "{line} in {heard}");
    }

    let login = Request::post("/login").header("host", "test");
    let bad = send(page.address, login.body("username=a%0d%0ab".into()).unwrap()).await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn an_upstream_without_an_answer_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let reviews = start_at(&["reviews", "--version", "v2"], &[("ratings", silent)]).await;
    let answer = get(reviews.address, "/reviews/0").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["reviews"][0]["rating"]["status"], 504);
}

#[tokio::test]
async fn connections_are_kept_and_a_stop_finishes_open_requests() {
    // `ratings` that answers only when told to holds a request open in `reviews`.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap();
    let reviews = start_at(&["reviews", "--version", "v2"], &[("ratings", slow)]).await;

    let mut idle = TcpStream::connect(reviews.address).await.unwrap();
    let mut buffer = vec![0; 4096];
    for _ in 0..2 {
        idle.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let length = idle.read(&mut buffer).await.unwrap();
        assert!(buffer[..length].starts_with(b"HTTP/1.1 200"));
    }

    let mut open = TcpStream::connect(reviews.address).await.unwrap();
    open.write_all(b"GET /reviews/0 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let (mut ratings, _) = listener.accept().await.unwrap();
    let _ = ratings.read(&mut buffer).await.unwrap();

    reviews.stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), idle.read(&mut buffer)).await;
    assert_eq!(ended.unwrap().unwrap(), 0, "the idle connection closes");
    assert!(!reviews.task.is_finished(), "the open request is waited for");

    let body = r#"{"ratings":{"Reviewer1":2}}"#;
    let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    ratings.write_all(reply.as_bytes()).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert!(answer.contains("\"stars\":2"), "{answer}");
    reviews.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(reviews.address).await.is_err());
}
