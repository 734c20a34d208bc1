//! Who may see the pages.

use axum::body::Body;
use tower::ServiceExt as _;

use super::*;
use crate::configuration::Configuration;
use crate::metrics::Metrics;
use crate::source::FileSource;

fn pages() -> Pages {
    let dir = tempfile::tempdir().unwrap();
    let source = FileSource::new(vec![dir.path().to_owned()]).unwrap();
    let loaded = Configuration::new(source, Metrics::new().unwrap()).load();
    Pages {
        registry: Registry::new(crate::metrics::Metrics::new().unwrap().connected),
        loaded: Arc::new(ArcSwap::from_pointee(loaded)),
        authenticator: Authenticator::new(None, "cluster.local".into()),
        trust_domain: "cluster.local".into(),
        own_address: Some("10.244.0.1".parse().unwrap()),
    }
}

async fn status(router: Router, peer: Option<&str>, path: &str) -> StatusCode {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    if let Some(peer) = peer {
        let address: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
    }
    // What claims to be from here in a header proves nothing.
    request.headers_mut().insert("x-forwarded-for", "127.0.0.1".parse().unwrap());
    router.oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn pages_are_for_this_machine() {
    for page in PATHS {
        let page = page.replace("proxyID=", "proxyID=x");
        let expected = if page.contains('?') { StatusCode::NOT_FOUND } else { StatusCode::OK };
        for (peer, answer) in [
            (Some("127.0.0.1:9"), expected),
            (Some("[::1]:9"), expected),
            (Some("10.244.0.1:9"), expected),
            (Some("10.244.1.5:9"), StatusCode::UNAUTHORIZED),
            (None, StatusCode::UNAUTHORIZED),
        ] {
            let got = status(guarded(pages()), peer, &page).await;
            assert_eq!(got, answer, "{page} for {peer:?}");
        }
        assert_eq!(status(private(pages()), None, &page).await, expected, "{page}");
    }
}
