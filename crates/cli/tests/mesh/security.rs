//! What passes on the wire, and who may call whom.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use testkit::mesh::Mesh;

use crate::{get, mizzen, turn, up, wait_until};

/// A workload outside of the mesh that asks details for its page.
const LEGACY: &str = r#"
apiVersion: v1
kind: Namespace
metadata:
  name: legacy
---
apiVersion: v1
kind: Service
metadata:
  name: legacy
  namespace: legacy
spec:
  selector:
    app: legacy
  ports:
    - name: http
      port: 9080
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: legacy
  namespace: legacy
spec:
  selector:
    matchLabels:
      app: legacy
  template:
    metadata:
      labels:
        app: legacy
    spec:
      containers:
        - name: page
          command: ["mizzen", "bookinfo", "productpage"]
          env:
            - name: DETAILS_HOST
              value: details.bookinfo
            - name: REVIEWS_HOST
              value: reviews.bookinfo
          ports:
            - containerPort: 9080
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: legacy
  namespace: legacy
spec:
  hosts: ["*"]
  gateways: ["bookinfo/bookinfo-gateway"]
  http:
    - match:
        - uri:
            prefix: /legacy/
      rewrite:
        uri: /
      route:
        - destination:
            host: legacy
"#;

const PERMISSIVE: &str = r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: istio-system
spec:
  mtls:
    mode: PERMISSIVE
"#;

const STRICT: &str = r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: istio-system
spec:
  mtls:
    mode: STRICT
"#;

#[test]
fn strict_refuses_plaintext_and_permissive_serves_it() {
    let Some(_turn) = turn() else { return };
    let mesh = up(&[]);
    let policies = std::fs::read_to_string(mesh.dir.join("security.yaml")).expect("file");
    std::fs::write(mesh.dir.join("legacy.yaml"), LEGACY).expect("written");
    mesh.write("security.yaml", STRICT).expect("edit");
    wait_until(Duration::from_secs(30), "the workload outside of the mesh serves", || {
        get(&mesh, "/legacy/productpage").status == 200
    });
    let product = |mesh: &Mesh| get(mesh, "/legacy/api/v1/products/0");
    let strict = product(&mesh);
    assert_ne!(strict.status, 200, "{}", strict.body);
    mesh.write("security.yaml", PERMISSIVE).expect("edit");
    wait_until(Duration::from_secs(5), "plaintext is served", || product(&mesh).status == 200);
    assert!(product(&mesh).body.contains("ISBN"), "{}", product(&mesh).body);

    mesh.write("security.yaml", &policies).expect("edit");
    wait_until(Duration::from_secs(5), "policies hold again", || product(&mesh).status != 200);
    let denied = get(&mesh, "/api/v1/products/0/ratings");
    assert_eq!(denied.status, 403, "{}", denied.body);
    assert!(denied.body.contains("RBAC: access denied"), "{}", denied.body);
}

/// Reads the bridge for some seconds and names the kinds of first bytes of TCP payloads between
/// replicas: `tls` for records of TLS, else the bytes. Ports of the control plane are left out.
const SNIFFER: &str = r#"
import collections, socket, struct, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.settimeout(0.2)
end, seen = time.time() + float(sys.argv[1]), collections.Counter()
started = set()
while time.time() < end:
    try: p = s.recv(65536)
    except TimeoutError: continue
    if p[12:14] != b"\x08\x00" or p[23] != 6: continue
    ihl = (p[14] & 15) * 4; tcp = p[14 + ihl:]
    sp, dp = struct.unpack("!HH", tcp[:4]); data = tcp[(tcp[12] >> 4) * 4:struct.unpack("!H", p[16:18])[0] - ihl]
    src, dst = p[26:30], p[30:34]
    if not data or b"\x0a\xf4\x00\x01" in (src, dst): continue
    flow = (src, sp, dst, dp)
    if flow in started: continue
    started.add(flow)
    versions = (b"\x03\x01", b"\x03\x02", b"\x03\x03")
    tls = data[0] in (20, 21, 22, 23) and data[1:3] in versions
    seen["tls" if tls else repr(data[:16])] += 1
print(dict(seen))
"#;

#[test]
fn on_the_wire_there_is_only_tls() {
    let Some(_turn) = turn() else { return };
    let mesh = up(&[]);
    let state = mesh.state().display().to_string();
    let control = testkit::mesh::processes_with(&state)
        .into_iter()
        .find(|(_, line)| line.contains("mizzen control "))
        .expect("the control plane")
        .0;
    let sniffer = Command::new("nsenter")
        .args(["--target", &control.to_string(), "--user", "--net", "--preserve-credentials"])
        .args(["python3", "-c", SNIFFER, "4"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nsenter");
    std::thread::sleep(Duration::from_secs(1));
    // New connections: a fresh version of every replica's proxy would have warm ones.
    for _ in 0..20 {
        assert_eq!(get(&mesh, "/productpage").status, 200);
    }
    let output = sniffer.wait_with_output().expect("sniffer");
    let seen = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(seen.starts_with("{'tls': ") && seen.matches(':').count() == 1, "{seen}");
    let secret = mesh.ask(&["proxy-config", "secret", "reviews-v1"]).expect("secret");
    assert!(secret.contains("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews"), "{secret}");
    let _binary = mizzen();
}
