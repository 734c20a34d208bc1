//! TLS at the ingress gateway, from outside: certificates from Secrets, client certificates,
//! redirects, TLS that is passed through; on our proxy and on a stock Envoy.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use pki::{CertifiedIdentity, TrustBundle, tls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::ServerName;
use testkit::mesh::{Mesh, free_address};

use crate::{mizzen, turn, wait_until};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/ingress-tls");

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
struct Pair {
    chain: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("key");
        let pem = params.self_signed(&key).expect("certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("parameters");
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        Pair { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// The example's Secret.
    fn secret(&self, gateway: &Pair) -> String {
        let text = |pem: &str| serde_json::to_string(pem).expect("text");
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: shop-credential, namespace: \
             istio-system}}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: {}\n  tls.key: \
             {}\n  ca.crt: {}\n",
            text(&gateway.chain),
            text(&gateway.key),
            text(&self.pem)
        )
    }
}

/// An answer, and the certificate that the server showed.
#[derive(Debug)]
struct Seen {
    answer: String,
    certificate: Vec<u8>,
}

/// A client outside of the mesh.
struct Client<'a> {
    address: SocketAddr,
    /// Who has to have signed the server's certificate.
    trust: &'a str,
    own: Option<&'a Pair>,
}

impl Client<'_> {
    fn get(&self, host: &str, path: &str) -> Result<Seen, String> {
        let trust = TrustBundle::from_pem(self.trust).expect("root");
        let own = self.own.map(|own| CertifiedIdentity::from_pem(&own.chain, &own.key));
        let own = own.map(|own| own.expect("certificate"));
        let alpn = vec![b"http/1.1".to_vec()];
        let server = tls::ServerAuth::WebPki(trust);
        let config = tls::client_config(own.as_ref(), server, alpn, tls::Versions::default())
            .expect("configuration");
        let name = ServerName::try_from(host.to_owned()).expect("name");
        let connection =
            rustls::ClientConnection::new(Arc::clone(&config), name).expect("connection");
        let stream = TcpStream::connect(self.address).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("time-out");
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // Who closes without TLS's own goodbye has still answered.
            Err(error) if answer.is_empty() => return Err(error.to_string()),
            _ if answer.is_empty() => return Err("closed".to_owned()),
            _ => {}
        }
        let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
        Ok(Seen {
            answer: String::from_utf8_lossy(&answer).into_owned(),
            certificate: shown.map(|certificate| certificate.to_vec()).unwrap_or_default(),
        })
    }
}

/// A workload that speaks TLS by itself, and a server that passes it through.
fn vault(directory: &Path) -> String {
    let script = "import http.server, ssl\n\
        class Vault(http.server.BaseHTTPRequestHandler):\n\
        \x20   def do_GET(self):\n\
        \x20       self.send_response(200)\n\
        \x20       self.send_header('content-length', '6')\n\
        \x20       self.end_headers()\n\
        \x20       self.wfile.write(b'inside')\n\
        server = http.server.ThreadingHTTPServer(('0.0.0.0', 9443), Vault)\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        context.load_cert_chain('CHAIN', 'KEY')\n\
        server.socket = context.wrap_socket(server.socket, server_side=True, \
        do_handshake_on_connect=False)\n\
        server.serve_forever()\n"
        .replace("CHAIN", &directory.join("vault.crt").display().to_string())
        .replace("KEY", &directory.join("vault.key").display().to_string());
    let script = serde_json::to_string(&script).expect("text");
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: vault, namespace: shop}}\nspec: {{selector: \
         {{app: vault}}, ports: [{{name: tls, port: 443, targetPort: 9443}}]}}\n---\napiVersion: \
         apps/v1\nkind: Deployment\nmetadata: {{name: vault, namespace: shop}}\nspec:\n  selector: \
         {{matchLabels: {{app: vault}}}}\n  template:\n    metadata: {{labels: {{app: \
         vault}}}}\n    spec:\n      serviceAccountName: details\n      containers:\n        - name: \
         vault\n          command: [python3, -c, {script}]\n          ports: [{{containerPort: \
         9443}}]\n---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: vault, \
         namespace: shop}}\nspec:\n  selector: {{istio: ingressgateway}}\n  servers: [{{port: \
         {{number: 443, name: tls-vault, protocol: TLS}}, hosts: [vault.example.com], tls: {{mode: \
         PASSTHROUGH}}}}]\n---\napiVersion: networking.istio.io/v1\nkind: \
         VirtualService\nmetadata: {{name: vault, namespace: shop}}\nspec:\n  hosts: \
         [vault.example.com]\n  gateways: [vault]\n  tls: [{{match: [{{sniHosts: \
         [vault.example.com]}}], route: [{{destination: {{host: vault, port: {{number: \
         443}}}}}}]}}]\n"
    )
}

#[test]
fn the_gateway_ends_tls_with_certificates_from_secrets() {
    let Some(_turn) = turn() else { return };
    on_a_gateway(None, &[]);
}

#[test]
fn a_stock_envoy_as_the_gateway_does_the_same() {
    let Some(_turn) = turn() else { return };
    let Some(envoy) = testkit::peers::envoy() else {
        return testkit::skip("no stock Envoy: `cargo xtask test` fetches it");
    };
    let path = envoy.display().to_string();
    on_a_gateway(Some(super::envoy::GATEWAY), &["--envoy-path", &path]);
}

fn on_a_gateway(gateway: Option<&str>, arguments: &[&str]) {
    let directory = tempfile::tempdir().expect("directory");
    let (ours, theirs) = (Authority::new("Shop CA"), Authority::new("Other CA"));
    let server = ours.sign(&["shop.example.com", "partners.example.com"]);
    let partner = ours.sign(&["partner.example.org"]);
    let stranger = theirs.sign(&["partner.example.org"]);
    let inner = theirs.sign(&["vault.example.com"]);
    fs::write(directory.path().join("vault.crt"), &inner.chain).expect("file");
    fs::write(directory.path().join("vault.key"), &inner.key).expect("file");
    let read = |name: &str| fs::read_to_string(Path::new(EXAMPLE).join(name)).expect("example");
    let (app, rules, vault) = (read("app.yaml"), read("gateway.yaml"), vault(directory.path()));
    let secret = ours.secret(&server);
    let mut files = vec![
        ("app.yaml", app.as_str()),
        ("gateway.yaml", rules.as_str()),
        ("secret.yaml", secret.as_str()),
        ("vault.yaml", vault.as_str()),
    ];
    files.extend(gateway.map(|text| ("ingressgateway.yaml", text)));
    let address = free_address().expect("address");
    let secure = format!("{address}=8443");
    let mut all = vec!["--gateway-address", secure.as_str()];
    all.extend(arguments);
    let mesh = Mesh::up_with(mizzen(), &files, &all).expect("it comes up");
    let client = Client { address, trust: &ours.pem, own: None };
    wait_until(Duration::from_secs(20), "the gateway serves", || {
        client.get("shop.example.com", "/details/0").is_ok()
    });

    let seen = client.get("shop.example.com", "/details/0").expect("an answer");
    assert!(seen.answer.starts_with("HTTP/1.1 200"), "{}", seen.answer);
    clients_are_checked(&client, &partner, &stranger);
    let stray = Client { own: None, ..client }.get("other.example.com", "/");
    assert!(stray.is_err(), "{stray:?}");
    let passed = Client { address, trust: &theirs.pem, own: None };
    let passed = passed.get("vault.example.com", "/").expect("the workload's own TLS");
    assert!(passed.answer.ends_with("inside"), "{}", passed.answer);
    plaintext_is_redirected(mesh.gateway);
    a_new_secret_is_shown(&mesh, &client, &ours, &seen.certificate);
    let log = fs::read_to_string(mesh.state().join("logs/control.log")).expect("log");
    let refusals: Vec<&str> =
        log.lines().filter(|line| line.contains("refused its configuration")).collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
    assert!(!log.contains("PRIVATE KEY"));
}

fn clients_are_checked(client: &Client<'_>, partner: &Pair, stranger: &Pair) {
    let with = |own| Client { own, ..*client }.get("partners.example.com", "/details/0");
    let seen = with(Some(partner)).expect("an answer");
    assert!(seen.answer.starts_with("HTTP/1.1 200"), "{}", seen.answer);
    for own in [None, Some(stranger)] {
        let refused = with(own);
        assert!(refused.is_err(), "{refused:?}");
    }
}

fn plaintext_is_redirected(gateway: SocketAddr) {
    let mut stream = TcpStream::connect(gateway).expect("the gateway");
    let request = "GET /details/0 HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
    assert!(answer.contains("location: https://shop.example.com/details/0"), "{answer}");
}

fn a_new_secret_is_shown(mesh: &Mesh, client: &Client<'_>, ours: &Authority, old: &[u8]) {
    let renewed = ours.sign(&["shop.example.com", "partners.example.com"]);
    mesh.write("secret.yaml", &ours.secret(&renewed)).expect("edit");
    wait_until(Duration::from_secs(10), "the new certificate is shown", || {
        let seen = client.get("shop.example.com", "/details/0").expect("an answer");
        assert!(seen.answer.starts_with("HTTP/1.1 200"), "{}", seen.answer);
        seen.certificate != old
    });
}
