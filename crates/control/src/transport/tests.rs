//! Clients that say nothing, and clocks that jump.

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn tls() -> ServerTls {
    let ca = Ca::self_signed("cluster.local", SystemTime::now()).unwrap();
    ServerTls::new(Arc::new(ca), "cluster.local".into()).unwrap()
}

#[tokio::test]
async fn silent_clients_keep_nobody_out() {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let tls = tls();
    let roots = tls.ca.roots().clone();
    let mut connections = std::pin::pin!(accept(listener, Some(tls), CancellationToken::new()));
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES + 20 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let client = pki::tls::client_config(
        None,
        pki::tls::ServerAuth::WebPki(roots),
        vec![b"h2".to_vec()],
        Versions::default(),
    );
    let connector = tokio_rustls::TlsConnector::from(client.unwrap());
    let name = SERVER_NAMES[0].try_into().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let both = async { tokio::join!(connector.connect(name, stream), connections.next()) };
    let (client, connection) =
        tokio::time::timeout(HANDSHAKE_LIMIT / 2, both).await.expect("kept out");
    assert!(client.is_ok() && connection.is_some());
}

#[tokio::test(start_paused = true)]
async fn http2_has_to_begin() {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let mut connections = std::pin::pin!(accept(listener, None, CancellationToken::new()));
    for (sent, closed) in [(&[b'P'; PREFACE - 1][..], true), (&[b'P'; PREFACE], false)] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        client.write_all(sent).await.unwrap();
        let mut buffer = [0; 64];
        connection.read_exact(&mut buffer[..sent.len()]).await.unwrap();
        let more = connection.read(&mut buffer);
        let ended = tokio::time::timeout(HANDSHAKE_LIMIT * 2, more).await;
        assert_eq!(ended.is_ok(), closed);
        assert!(ended.is_err() || ended.unwrap().is_err());
    }
}

#[test]
fn the_own_certificate_follows_the_clock() {
    let tls = tls();
    let now = SystemTime::now();
    let first = tls.current.load_full();
    let replaced = |at| {
        let before = tls.current.load_full();
        tls.renew_if_due(at);
        !Arc::ptr_eq(&before, &tls.current.load_full())
    };
    assert!(!replaced(now + SERVER_TTL / 4));
    assert!(replaced(now + SERVER_TTL * 3), "the machine slept");
    assert!(replaced(now), "the clock was set back");
    assert!(!replaced(now + SERVER_TTL / 4));
    assert!(!Arc::ptr_eq(&first, &tls.current.load_full()));
}
