//! Gateways with TLS: which server a client reaches by its server name, what is ended there, and
//! where it goes on.

use std::net::SocketAddr;

use engine::{ConnectionInfo, FilterChain, NetworkFilter, RequestInfo, Routes, Snapshot};
use xds::{SecretSource, TrustedCa};

use crate::mesh::{INGRESS, Mesh, snapshot};

const SERVICES: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: tcp-raw, port: 7000}]}
---
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: shop}
spec: {selector: {app: plain}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec: {containers: [{name: app, image: none}]}
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
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}
";

fn gateway(name: &str, servers: &[&str]) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, \
         namespace: shop}}\nspec:\n  selector: {{istio: ingressgateway}}\n  servers:\n    - {}\n",
        servers.join("\n    - ")
    )
}

fn rule(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, \
         namespace: shop}}\nspec: {spec}\n"
    )
}

struct Ingress {
    mesh: Mesh,
    snapshot: Snapshot,
}

impl Ingress {
    fn new(objects: &[String]) -> Self {
        let mesh = Mesh::new(&(SERVICES.to_owned() + "---" + INGRESS + &objects.concat()));
        let snapshot = snapshot(&mesh.push, &mesh.proxy("istio-ingressgateway"));
        Self { mesh, snapshot }
    }

    fn chain(&self, listener: &str, sni: Option<&str>, alpn: &[&str]) -> Option<&FilterChain> {
        let listener = self.snapshot.listeners().get(listener)?;
        let alpn: Vec<String> = alpn.iter().map(|name| (*name).to_owned()).collect();
        let port = listener.config.address.port().expect("port");
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        listener
            .select_filter_chain(&ConnectionInfo {
                destination: address(port),
                source: address(4000),
                direct_source: address(4000),
                transport_protocol: "tls",
                server_name: sni,
                application_protocols: &alpn,
            })
            .map(AsRef::as_ref)
    }

    fn tls(&self, listener: &str, sni: &str) -> &xds::DownstreamTls {
        let chain = self.chain(listener, Some(sni), &["h2"]).expect("a chain");
        chain.transport_socket.as_ref().expect("TLS")
    }

    /// The cluster that a connection or a request leads to.
    fn cluster(&self, listener: &str, sni: &str, host: &str) -> String {
        let Some(chain) = self.chain(listener, Some(sni), &[]) else { return "none".to_owned() };
        match chain.filters.last().expect("a filter") {
            NetworkFilter::TcpProxy(tcp) => tcp.cluster(0).expect("cluster").to_owned(),
            NetworkFilter::HttpConnectionManager(manager) => {
                let Routes::Rds(name) = &manager.routes else { panic!("inline routes") };
                let request = RequestInfo {
                    authority: host,
                    path: "/",
                    method: "GET",
                    scheme: "https",
                    headers: &http::HeaderMap::new(),
                };
                let table = &self.snapshot.routes[name];
                let route = table.route(&request, 0).and_then(|found| found.route);
                route.map_or("404".to_owned(), |r| r.cluster(0).expect("cluster").0.to_owned())
            }
            other => panic!("{other:?} ends nothing"),
        }
    }
}

const WEB: &str = "outbound|80||web.shop.svc.cluster.local";

#[test]
fn credentials_come_from_the_control_plane() {
    let ingress = Ingress::new(&[gateway(
        "gw",
        &[
            "{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: \
             SIMPLE, credentialName: front, minProtocolVersion: TLSV1_3, cipherSuites: [AES128-SHA, X]}}",
            "{port: {number: 443, name: b, protocol: HTTPS}, hosts: [b.example.com], tls: {mode: \
             MUTUAL, credentialName: front, subjectAltNames: [me.example.com]}}",
            "{port: {number: 443, name: c, protocol: HTTPS}, hosts: ['*.c.example.com'], tls: {mode: \
             OPTIONAL_MUTUAL, credentialNames: [rsa, ec], caCertCredentialName: clients}}",
            "{port: {number: 443, name: d, protocol: HTTPS}, hosts: [d.example.com], tls: {mode: \
             ISTIO_MUTUAL}}",
        ],
    )]);
    let simple = ingress.tls("0.0.0.0_8443", "A.example.com");
    assert_eq!(simple.common.certificates, [SecretSource::ads("kubernetes://front")]);
    assert_eq!((simple.require_client_certificate, &simple.common.validation), (false, &None));
    assert_eq!(simple.common.params.min_version, Some(xds::TlsVersion::V1_3));
    assert_eq!(simple.common.params.cipher_suites, ["AES128-SHA"]);
    let mutual = ingress.tls("0.0.0.0_8443", "b.example.com");
    let ca = |tls: &xds::DownstreamTls| tls.common.validation.clone().expect("CA").trusted_ca;
    let from = |name: &str| TrustedCa::Secret(SecretSource::ads(name));
    assert!(mutual.require_client_certificate);
    assert_eq!(ca(mutual), from("kubernetes://front-cacert"));
    let optional = ingress.tls("0.0.0.0_8443", "x.c.example.com");
    assert!(!optional.require_client_certificate);
    assert_eq!(optional.common.certificates.len(), 2);
    assert_eq!(ca(optional), from("kubernetes://clients-cacert"));
    let mesh = ingress.tls("0.0.0.0_8443", "d.example.com");
    assert_eq!(mesh.common.certificates, [SecretSource::agent("default")]);
    assert!(mesh.require_client_certificate);
    assert!(ingress.chain("0.0.0.0_8443", Some("other.org"), &[]).is_none());
    assert!(ingress.chain("0.0.0.0_8443", None, &[]).is_none());
}

#[test]
fn each_server_name_has_its_own_way() {
    let ingress = Ingress::new(&[
        gateway(
            "gw",
            &[
                "{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example.com], tls: \
                 {mode: SIMPLE, credentialName: c}}",
                "{port: {number: 443, name: pass, protocol: TLS}, hosts: ['*.pass.example.com'], \
                 tls: {mode: PASSTHROUGH}}",
                "{port: {number: 443, name: inner, protocol: TLS}, hosts: [raw.example.com], tls: \
                 {mode: SIMPLE, credentialName: c}}",
                "{port: {number: 8500, name: bound, protocol: HTTPS}, bind: 127.0.0.1, hosts: ['*'], \
                 tls: {mode: SIMPLE, credentialName: c}}",
            ],
        ),
        rule(
            "web",
            "{hosts: [a.example.com], gateways: [gw], http: [{route: [{destination: {host: web, \
             port: {number: 80}}}]}]}",
        ),
        rule(
            "pass",
            "{hosts: ['*.pass.example.com'], gateways: [gw], tls: [{match: [{sniHosts: \
             [x.pass.example.com]}], route: [{destination: {host: web, port: {number: 7000}}}]}], \
             tcp: [{route: [{destination: {host: plain}}]}]}",
        ),
        rule(
            "raw",
            "{hosts: [raw.example.com], gateways: [gw], tcp: [{match: [{port: 443}], route: \
             [{destination: {host: web, port: {number: 7000}}}]}]}",
        ),
    ]);
    let at = |sni: &str, host: &str| ingress.cluster("0.0.0.0_8443", sni, host);
    let raw = "outbound|7000||web.shop.svc.cluster.local";
    assert_eq!(at("a.example.com", "a.example.com"), WEB);
    // What a client calls by another name than the certificate's is not served there.
    assert_eq!(at("a.example.com", "b.example.com"), "404");
    assert_eq!(at("x.pass.example.com", ""), raw);
    assert_eq!(at("y.pass.example.com", ""), "none");
    assert_eq!(at("raw.example.com", ""), raw);
    let inside = ingress.chain("0.0.0.0_8443", Some("raw.example.com"), &[]).expect("a chain");
    assert!(inside.transport_socket.is_some());
    let passed = ingress.chain("0.0.0.0_8443", Some("x.pass.example.com"), &[]).expect("a chain");
    assert!(passed.transport_socket.is_none());
    let names = ingress.mesh.push.route_names(&ingress.mesh.proxy("istio-ingressgateway"));
    assert_eq!(names, ["https.8443.https.gw.shop", "https.8500.bound.gw.shop.127.0.0.1"]);
    assert_eq!(ingress.cluster("127.0.0.1_8500", "any.org", "any.org"), "404");
}

#[test]
fn auto_passthrough_takes_mesh_traffic_only() {
    let ingress = Ingress::new(&[gateway(
        "east-west",
        &["{port: {number: 15443, name: tls, protocol: TLS}, hosts: ['*.local'], tls: {mode: \
           AUTO_PASSTHROUGH}}"],
    )]);
    let listener = "0.0.0.0_15443";
    let name = "outbound_.80_.v1_.web.shop.svc.cluster.local";
    let chain = ingress.chain(listener, Some(name), &["istio-h2", "istio"]).expect("a chain");
    assert!(chain.transport_socket.is_none());
    assert!(ingress.chain(listener, Some(name), &["h2"]).is_none(), "not a call of the mesh");
    assert!(ingress.chain(listener, Some("web.shop.svc.cluster.local"), &["istio"]).is_none());
    let cluster = &ingress.snapshot.clusters[name];
    assert!(cluster.config.transport_socket.is_none());
    assert!(cluster.config.transport_socket_matches.is_empty());
    assert_eq!(cluster.hosts.hosts().count(), 1);
    // A workload that could not end the mesh's TLS gets none of it.
    let plain = "outbound_.80_._.plain.shop.svc.cluster.local";
    assert_eq!(ingress.snapshot.clusters[plain].hosts.hosts().count(), 0);
}

#[test]
fn the_oldest_gateway_has_the_port_and_the_name() {
    let ingress = Ingress::new(&[
        gateway(
            "a",
            &["{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example.com], tls: \
               {mode: SIMPLE, credentialName: old}}"],
        ),
        gateway(
            "b",
            &[
                "{port: {number: 443, name: https, protocol: HTTPS}, hosts: [b.example.com, \
                 A.example.com], tls: {mode: SIMPLE, credentialName: new}}",
                "{port: {number: 443, name: other, protocol: HTTPS}, hosts: [c.example.com], tls: \
                 {mode: SIMPLE, credentialName: new}}",
                "{port: {number: 443, name: http, protocol: HTTP}, hosts: ['*']}",
            ],
        ),
    ]);
    let certificate = |sni| ingress.tls("0.0.0.0_8443", sni).common.certificates[0].name.clone();
    assert_eq!(certificate("a.example.com"), "kubernetes://old");
    assert_eq!(certificate("c.example.com"), "kubernetes://new");
    assert!(ingress.chain("0.0.0.0_8443", Some("b.example.com"), &[]).is_none());
    let told: Vec<&str> = ingress.mesh.push.diagnostics().iter().map(|d| d.code).collect();
    assert_eq!(told, ["conflicting-port", "duplicate-host"]);
}

#[test]
fn secrets_are_of_the_proxys_namespace() {
    let mesh = Mesh::new(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: c, namespace: shop}\nstringData: {tls.crt: \
         A, tls.key: B, cacert: C}\n",
    );
    let ask = |namespace: &str, name: &str| mesh.push.secret(namespace, name).map(|s| s.name);
    for name in ["kubernetes://c", "kubernetes://shop/c", "kubernetes://c-cacert"] {
        assert_eq!(ask("shop", name).as_deref(), Some(name));
        assert_eq!(ask("other", name), None, "{name}");
    }
    for name in ["c", "kubernetes://d", "kubernetes://other/c", "default", "builtin://"] {
        assert_eq!(ask("shop", name), None, "{name}");
    }
}
