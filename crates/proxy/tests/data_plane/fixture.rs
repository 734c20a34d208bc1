//! A proxy with its control plane and agent, and clients to call it with.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use pki::{Ca, CertifiedIdentity, SpiffeId};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::control::Control;

/// What has to happen happens within this time, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A running proxy.
pub(crate) struct Fixture {
    _dir: tempfile::TempDir,
    pub(crate) xds: Control,
    pub(crate) sds: Control,
    pub(crate) handle: proxy::Handle,
    admin: PathBuf,
    pub(crate) xds_socket: PathBuf,
    pub(crate) log: PathBuf,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

impl Fixture {
    /// Starts a proxy without any configuration.
    pub(crate) fn start() -> Self {
        Self::start_as("productpage")
    }

    /// Starts a proxy of a workload.
    pub(crate) fn start_as(app: &str) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name: &str| dir.path().join(name);
        let (xds, sds) = (Control::start(&path("xds.sock")), Control::start(&path("sds.sock")));
        let handle = proxy::Handle::new();
        let mut bootstrap = proxy::Bootstrap::new(
            node(app),
            proxy::ServiceAddress::Unix(path("xds.sock")),
            Some(proxy::ServiceAddress::Unix(path("sds.sock"))),
        );
        bootstrap.admin_address = None;
        bootstrap.stats_address = None;
        bootstrap.admin_socket = Some(path("admin.sock"));
        bootstrap.drain_time = Duration::from_millis(500);
        tokio::spawn(proxy::run(bootstrap, handle.clone()));
        Self {
            admin: path("admin.sock"),
            xds_socket: path("xds.sock"),
            log: path("access.log"),
            _dir: dir,
            xds,
            sds,
            handle,
        }
    }

    /// A page of the admin interface.
    pub(crate) async fn admin(&self, path: &str) -> String {
        self.admin_call("GET", path).await.1
    }

    pub(crate) async fn admin_call(&self, method: &str, path: &str) -> (StatusCode, String) {
        let stream = eventually("the admin socket", || UnixStream::connect(&self.admin)).await;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "admin")
            .body(Full::default());
        let answer = call(stream, request.expect("request")).await.expect("admin");
        (answer.status, answer.body)
    }

    /// One value of `/stats`.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let stats = self.admin("/stats").await;
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("{name} in {stats}")).parse().expect("number")
    }

    /// The access log, once it contains `text`.
    pub(crate) async fn log_with(&self, text: &str) -> String {
        eventually(&format!("a log line with {text:?}"), || async {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            if log.contains(text) { Ok(log) } else { Err(log) }
        })
        .await
    }
}

fn node(app: &str) -> xds::Node {
    let labels: xds::Struct =
        [("app".to_owned(), app.into()), ("version".to_owned(), "v1".into())].into();
    xds::Node {
        id: format!("sidecar~10.0.0.1~{app}-v1.bookinfo~bookinfo.svc.cluster.local"),
        cluster: format!("{app}.bookinfo"),
        metadata: [
            ("WORKLOAD_NAME".to_owned(), format!("{app}-v1").into()),
            ("NAMESPACE".to_owned(), "bookinfo".into()),
            ("CLUSTER_ID".to_owned(), "Kubernetes".into()),
            ("LABELS".to_owned(), xds::Value::Struct(labels)),
        ]
        .into(),
        extensions: proxy::EXTENSIONS.iter().map(ToString::to_string).collect(),
        ..xds::Node::default()
    }
}

/// Tries until it works.
pub(crate) async fn eventually<T, E, F, Fut>(what: &str, mut attempt: F) -> T
where
    E: std::fmt::Debug,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if tokio::time::Instant::now() > end => panic!("{what}: {error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// An address that nobody uses now.
pub(crate) async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("bind").local_addr().expect("address")
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// A request with `Host: reviews`, unless said otherwise.
pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    request("GET", path, headers, "")
}

pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        builder = builder.header("host", "reviews");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::from(body.to_owned())).expect("request")
}

/// Makes one HTTP/1.1 call on a stream.
pub(crate) async fn call<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: hyper::Error| format!("{error:?}");
    let calling = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
        tokio::spawn(connection);
        read(sender.send_request(request).await.map_err(text)?).await
    };
    tokio::time::timeout(PATIENCE, calling).await.map_err(|_| "took too long".to_owned())?
}

pub(crate) async fn read(
    response: http::Response<hyper::body::Incoming>,
) -> Result<Answer, String> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// Makes one call on a new connection.
pub(crate) async fn call_at(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = eventually("a connection", || TcpStream::connect(address)).await;
    call(stream, request).await.expect("answer")
}

/// Makes calls until one gets this status.
pub(crate) async fn until(address: SocketAddr, path: &str, status: u16) -> Answer {
    eventually(&format!("{status} for {path}"), || async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let answer = call(stream, get(path, &[])).await?;
        if answer.status == status { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
    .await
}

/// Sends bytes and reads until the other side closes, or says no more for a while.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = eventually("a connection", || TcpStream::connect(address)).await;
    stream.write_all(bytes).await.expect("written");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let reading = stream.read(&mut buffer);
        match tokio::time::timeout(Duration::from_millis(500), reading).await {
            Ok(Ok(count)) if count > 0 => answer.extend_from_slice(&buffer[..count]),
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}

/// A CA for tests.
pub(crate) fn ca() -> Ca {
    Ca::self_signed("cluster.local", SystemTime::now()).expect("ca")
}

pub(crate) fn identity(ca: &Ca, account: &str) -> CertifiedIdentity {
    let spiffe = SpiffeId::new("cluster.local", "bookinfo", account).expect("name");
    ca.workload_identity(&spiffe, Duration::from_secs(600), SystemTime::now()).expect("identity")
}

/// The secrets `default` and `ROOTCA`.
pub(crate) fn serve_secrets(sds: &Control, ca: &Ca, identity: &CertifiedIdentity) {
    sds.put(xds::Resource::Secret(xds::Secret {
        name: "default".into(),
        kind: xds::SecretKind::TlsCertificate {
            certificate_chain: identity.chain_pem().into_bytes(),
            private_key: identity.key().to_pem().into_bytes(),
        },
    }));
    sds.put(xds::Resource::Secret(xds::Secret {
        name: "ROOTCA".into(),
        kind: xds::SecretKind::ValidationContext { trusted_ca: ca.roots().to_pem().into_bytes() },
    }));
}
