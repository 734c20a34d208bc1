//! SIGTERM ends a service well. Alone in its binary: the signal goes to the whole process.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use bookinfo::Options;
use clap::Parser;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

async fn connected(address: (&str, u16)) -> TcpStream {
    loop {
        if let Ok(stream) = TcpStream::connect(address).await {
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn sigterm_ends_a_service_well() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let words = ["bookinfo", "details", "--address", "127.0.0.1", "--port", &port.to_string()];
    let running = tokio::spawn(bookinfo::run(Cli::parse_from(words).options));
    let connecting = tokio::time::timeout(Duration::from_secs(5), connected(("127.0.0.1", port)));
    let mut stream = connecting.await.unwrap();
    stream.write_all(b"GET /details/0 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 4096];
    let length = stream.read(&mut buffer).await.unwrap();
    assert!(buffer[..length].starts_with(b"HTTP/1.1 200"));

    let process = std::process::id().to_string();
    assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await;
    ended.unwrap().unwrap().unwrap();
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}
