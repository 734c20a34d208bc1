//! A control plane over a directory of its own.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::{Addresses, ControlPlane, Options, Ports};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pki::{CertifiedIdentity, KeyKind, PrivateKey, SpiffeId, TrustBundle};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A service with one endpoint.
pub(crate) const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 9080, targetPort: 9080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: reviews-1
  namespace: shop
  labels: {kubernetes.io/service-name: reviews}
addressType: IPv4
endpoints:
- addresses: [10.244.0.20]
  conditions: {ready: true}
ports: [{name: http, port: 9080, protocol: TCP}]
";

pub(crate) struct Fixture {
    dir: Arc<tempfile::TempDir>,
    token_key: PrivateKey,
    stop: CancellationToken,
    addresses: Addresses,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("config")).unwrap();
        std::fs::write(dir.path().join("config/reviews.yaml"), SERVICE).unwrap();
        let token_key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        std::fs::write(dir.path().join("issuer.pub.pem"), public_pem(&token_key)).unwrap();
        Self::start_in(Arc::new(dir), token_key).await
    }

    async fn start_in(dir: Arc<tempfile::TempDir>, token_key: PrivateKey) -> Self {
        let stop = CancellationToken::new();
        let plane = ControlPlane::start(options(dir.path()), stop.clone()).await.unwrap();
        let addresses = plane.addresses();
        let running = Mutex::new(Some(tokio::spawn(plane.wait())));
        Self { dir, token_key, stop, addresses, running }
    }

    /// Options like the fixture's, for another control plane.
    pub(crate) fn options(&self, ca: &Path) -> Options {
        let mut options = options(self.dir.path());
        options.ca_dir = ca.join("ca");
        options.debug_socket = None;
        options
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    pub(crate) fn trust(&self) -> TrustBundle {
        let pem = std::fs::read_to_string(self.dir.path().join("ca/root-cert.pem")).unwrap();
        TrustBundle::from_pem(&pem).unwrap()
    }

    /// Writes a file of the configuration.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join("config").join(name), text).unwrap();
    }

    /// Moves the directory of the configuration away, and after a while a new one to its place.
    pub(crate) fn replace_config(&self, gap: Duration) {
        let (config, new) = (self.dir.path().join("config"), self.dir.path().join("new"));
        std::fs::create_dir(&new).unwrap();
        std::fs::copy(config.join("reviews.yaml"), new.join("reviews.yaml")).unwrap();
        std::fs::rename(&config, self.dir.path().join("old")).unwrap();
        std::thread::sleep(gap);
        std::fs::rename(&new, &config).unwrap();
    }

    /// Stops, and waits for the end.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        let running = self.running.lock().unwrap().take();
        if let Some(running) = running {
            running.await.unwrap();
        }
    }

    /// Stops it and starts another one over the same directory.
    pub(crate) async fn restart(&self) -> Self {
        self.stop().await;
        Self::start_in(Arc::clone(&self.dir), self.token_key.clone()).await
    }

    /// A token as the local runtime signs it.
    pub(crate) fn token(&self, namespace: &str, account: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": "mizzen-local",
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "aud": ["istio-ca"],
            "iat": now,
            "exp": now + 600,
        });
        let key = EncodingKey::from_ec_pem(self.token_key.to_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
    }

    /// A certificate that the CA's directory signs for a workload.
    pub(crate) async fn identity(&self, namespace: &str, account: &str) -> CertifiedIdentity {
        let now = SystemTime::now();
        let ca =
            pki::ca::load_or_create(&self.dir.path().join("ca"), "cluster.local", now).unwrap();
        let id = SpiffeId::new("cluster.local", namespace, account).unwrap();
        ca.workload_identity(&id, Duration::from_secs(600), now).unwrap()
    }

    /// Gets a page, with its head.
    pub(crate) async fn get(&self, path: &str) -> String {
        let address = match path {
            "/metrics" | "/version" => self.addresses.monitoring,
            _ => self.addresses.http,
        };
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Gets a page's body again and again until it has a text in it.
    pub(crate) async fn eventually(&self, path: &str, text: &str) -> String {
        let mut answer = String::new();
        for _ in 0..100 {
            answer = self.get(path).await;
            if answer.contains(text) {
                return answer.split_once("\r\n\r\n").unwrap().1.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        panic!("{path} never had {text:?} in it: {answer}");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn options(dir: &Path) -> Options {
    let mut options = Options::new(vec![dir.join("config")], dir.join("ca"));
    options.token_key = Some(dir.join("issuer.pub.pem"));
    options.debug_socket = Some(dir.join("debug.sock"));
    options.ports = Ports { plaintext: 0, tls: 0, monitoring: 0, http: 0 };
    options
}

fn public_pem(key: &PrivateKey) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(key.public_key_info());
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

/// Adds a bearer token to a call.
pub(crate) fn with_token<T>(message: T, token: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
