//! PeerAuthentication and the client's TLS: who may come in, and how callers know it.

use crate::mesh::{Call, Mesh};

const PODS: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: server, namespace: shop}
spec:
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec: {serviceAccountName: server, containers: [{name: app, image: none}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec: {serviceAccountName: client, containers: [{name: app, image: none}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain, namespace: shop}
spec:
  selector: {matchLabels: {app: plain}}
  template:
    metadata: {labels: {app: plain, sidecar.istio.io/inject: 'false'}}
    spec: {containers: [{name: app, image: none}]}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: shop}
spec:
  selector: {app: server}
  ports:
    - {name: http, port: 80, targetPort: 8080}
    - {name: tcp, port: 7000}
    - {name: auto, port: 9000}
---
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: shop}
spec: {selector: {app: plain}, ports: [{name: http, port: 80}]}
";

fn peer_authentication(namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: \
         p{number}, namespace: {namespace}}}\nspec: {spec}\n",
        number = spec.len()
    )
}

fn mesh(policies: &[String]) -> Mesh {
    Mesh::new(&(PODS.to_owned() + &policies.concat()))
}

/// Whether (the mesh's client, a plaintext caller) get in on the workload's port.
fn who(mesh: &Mesh, port: u16, target: u16) -> (bool, bool) {
    let inside = mesh.call("client", &Call::get(&format!("http://server:{port}/")));
    let ip = mesh.pods["server"].ip;
    let outside = mesh.call("plain", &Call::get(&format!("http://{ip}:{target}/")));
    (inside.status == 200 && inside.mtls, outside.status == 200)
}

#[test]
fn permissive_takes_both_and_strict_only_the_mesh() {
    for port in [(80, 8080), (7000, 7000), (9000, 9000)] {
        assert_eq!(who(&mesh(&[]), port.0, port.1), (true, true), "{port:?}");
        let strict = mesh(&[peer_authentication("istio-system", "{mtls: {mode: STRICT}}")]);
        assert_eq!(who(&strict, port.0, port.1), (true, false), "{port:?}");
    }
}

#[test]
fn a_port_that_no_service_is_behind_is_as_strict() {
    let strict = mesh(&[peer_authentication("shop", "{mtls: {mode: STRICT}}")]);
    let ip = strict.pods["server"].ip;
    assert_eq!(strict.call("plain", &Call::get(&format!("http://{ip}:4444/"))).status, 503);
    assert_eq!(mesh(&[]).call("plain", &Call::get(&format!("http://{ip}:4444/"))).status, 200);
}

#[test]
fn the_narrowest_scope_decides_and_ports_stand_alone() {
    let policies = [
        peer_authentication("istio-system", "{mtls: {mode: STRICT}}"),
        peer_authentication("shop", "{mtls: {mode: PERMISSIVE}}"),
        peer_authentication(
            "shop",
            "{selector: {matchLabels: {app: server}}, mtls: {mode: STRICT}, portLevelMtls: {8080: \
             {mode: PERMISSIVE}, 4444: {mode: PERMISSIVE}}}",
        ),
    ];
    let mesh = mesh(&policies);
    assert_eq!(who(&mesh, 80, 8080), (true, true));
    assert_eq!(who(&mesh, 7000, 7000), (true, false));
    let ip = mesh.pods["server"].ip;
    assert_eq!(mesh.call("plain", &Call::get(&format!("http://{ip}:4444/"))).status, 200);
    assert_eq!(mesh.call("plain", &Call::get(&format!("http://{ip}:5555/"))).status, 503);
}

#[test]
fn a_port_without_mtls_is_called_in_plaintext() {
    let policies = [peer_authentication(
        "shop",
        "{selector: {matchLabels: {app: server}}, portLevelMtls: {8080: {mode: DISABLE}}}",
    )];
    let mesh = mesh(&policies);
    let outcome = mesh.call("client", &Call::get("http://server:80/"));
    assert_eq!((outcome.status, outcome.mtls), (200, false));
    let other = mesh.call("client", &Call::get("http://server:7000/"));
    assert_eq!((other.status, other.mtls), (200, true));
}

#[test]
fn a_workload_without_a_sidecar_is_called_in_plaintext() {
    let outcome = mesh(&[]).call("client", &Call::get("http://plain/"));
    assert_eq!((outcome.status, outcome.mtls), (200, false));
}

#[test]
fn a_destination_rule_overrules() {
    let rule = |mode: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: d, \
             namespace: shop}}\nspec: {{host: server, trafficPolicy: {{tls: {{mode: {mode}}}}}}}\n"
        )
    };
    let off = mesh(&[rule("DISABLE")]).call("client", &Call::get("http://server/"));
    assert_eq!((off.status, off.mtls), (200, false));
    let on = mesh(&[rule("ISTIO_MUTUAL")]).call("client", &Call::get("http://server/"));
    assert_eq!((on.status, on.mtls), (200, true));
}
