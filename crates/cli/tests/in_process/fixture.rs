//! The control plane of a test, over a directory of its own.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use control::{Addresses, ControlPlane, Debounce, Options, Ports};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pki::{KeyKind, PrivateKey};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client;

/// A mesh's files and its control plane.
pub(crate) struct Mesh {
    dir: tempfile::TempDir,
    token_key: PrivateKey,
    ports: Ports,
    running: Option<(CancellationToken, JoinHandle<()>)>,
    addresses: Addresses,
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if let Some((stop, _)) = &self.running {
            stop.cancel();
        }
    }
}

impl Mesh {
    /// Starts a control plane over these files.
    pub(crate) async fn start(files: &[(&str, &str)]) -> Self {
        // Short, because paths of Unix sockets are.
        let dir = tempfile::Builder::new().prefix("mz").tempdir_in("/tmp").expect("a directory");
        std::fs::create_dir(dir.path().join("config")).expect("made");
        let token_key = PrivateKey::generate(KeyKind::EcdsaP256).expect("a key");
        std::fs::write(dir.path().join("issuer.pub.pem"), public_pem(&token_key)).expect("written");
        let ports = Ports { plaintext: 0, tls: 0, monitoring: 0, http: 0 };
        let (running, addresses) = start(dir.path(), ports, files).await;
        let ports = Ports {
            plaintext: addresses.plaintext.port(),
            tls: addresses.tls.port(),
            monitoring: addresses.monitoring.port(),
            http: addresses.http.port(),
        };
        Self { dir, token_key, ports, running: Some(running), addresses }
    }

    /// Stops the control plane and waits for its end.
    pub(crate) async fn stop_control(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            task.await.expect("it ends");
        }
    }

    /// Starts it again on the same ports.
    pub(crate) async fn start_control(&mut self) {
        let (running, _) = start(self.dir.path(), self.ports, &[]).await;
        self.running = Some(running);
    }

    /// Writes a file of the configuration, atomically, as editors do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        write(self.dir.path(), name, text);
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join("config").join(name)).expect("removed");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn discovery_address(&self) -> String {
        self.addresses.tls.to_string()
    }

    /// A token as the local runtime signs it.
    pub(crate) fn token(&self, namespace: &str, account: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let claims = json!({
            "iss": "mizzen-local", "aud": ["istio-ca"], "iat": now, "exp": now + 600,
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
        });
        let key = EncodingKey::from_ec_pem(self.token_key.to_pem().as_bytes()).expect("a key");
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).expect("signed")
    }

    /// A page of the control plane's debug interface, as JSON.
    pub(crate) async fn debug(&self, page: &str) -> Value {
        let text = self.debug_text(&format!("/debug/{page}")).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{page}: {error}: {text}"))
    }

    async fn debug_text(&self, path: &str) -> String {
        client::page(&self.path("debug.sock"), path).await.expect("a page")
    }

    /// Waits until this many proxies have accepted all that they were sent.
    pub(crate) async fn synced(&self, proxies: usize) {
        client::eventually("proxies in sync", || async {
            let page = self.debug("syncz").await;
            let all = page.as_array().cloned().unwrap_or_default();
            let in_sync = |one: &Value| {
                ["cluster", "listener", "route", "endpoint"]
                    .iter()
                    .all(|kind| one[format!("{kind}_sent")] == one[format!("{kind}_acked")])
            };
            let good = all.len() == proxies && all.iter().all(in_sync);
            if good { Ok(()) } else { Err(page) }
        })
        .await;
    }

    /// No proxy has refused anything.
    pub(crate) async fn assert_nothing_refused(&self) {
        let text = self.debug_text("/metrics").await;
        let refused = text
            .lines()
            .filter(|line| line.starts_with("pilot_total_xds_rejects") && !line.ends_with(" 0"));
        assert_eq!(refused.collect::<Vec<_>>(), [""; 0], "{}", self.debug("syncz").await);
    }
}

async fn start(
    dir: &Path,
    ports: Ports,
    files: &[(&str, &str)],
) -> ((CancellationToken, JoinHandle<()>), Addresses) {
    for (name, text) in files {
        write(dir, name, text);
    }
    let mut options = Options::new(vec![dir.join("config")], dir.join("ca"));
    options.token_key = Some(dir.join("issuer.pub.pem"));
    options.debug_socket = Some(dir.join("debug.sock"));
    options.ports = ports;
    options.debounce = Debounce { quiet: Duration::from_millis(20), ..Debounce::default() };
    let stop = CancellationToken::new();
    let plane = ControlPlane::start(options, stop.clone()).await.expect("a control plane");
    let addresses = plane.addresses();
    ((stop, tokio::spawn(plane.wait())), addresses)
}

fn write(dir: &Path, name: &str, text: &str) {
    let fresh = dir.join("fresh.tmp");
    std::fs::write(&fresh, text).expect("written");
    std::fs::rename(fresh, dir.join("config").join(name)).expect("renamed");
}

fn public_pem(key: &PrivateKey) -> String {
    let body = STANDARD.encode(key.public_key_info());
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}
