//! ServiceEntries and WorkloadEntries: what is declared besides Kubernetes' Services, where calls to
//! it go, and what becomes of calls to what nobody declared.

use std::net::{IpAddr, SocketAddr};

use engine::{ConnectionInfo, NetworkFilter};

use crate::mesh::{Call, Mesh, snapshot};

/// Two clients in two namespaces, and two workloads that are not behind any Service.
const WORLD: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: none}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: other, namespace: back}
spec:
  selector: {matchLabels: {app: other}}
  template:
    metadata: {labels: {app: other}}
    spec: {serviceAccountName: other, containers: [{name: app, image: none}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}, {name: tcp, port: 7000, targetPort: 7001}]}
";

fn entry(name: &str, namespace: &str, spec: &str) -> String {
    object("ServiceEntry", name, namespace, spec)
}

fn object(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, \
         namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn mesh(objects: &[String]) -> Mesh {
    Mesh::new(&(WORLD.to_owned() + &objects.concat()))
}

const REGISTRY_ONLY: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, \
                             namespace: istio-system}\ndata: {mesh: 'outboundTrafficPolicy: {mode: \
                             REGISTRY_ONLY}'}\n";

/// The cluster that a connection from a pod's application goes to.
pub(crate) fn connect(mesh: &Mesh, from: &str, to: &str, sni: Option<&str>) -> String {
    let proxy = mesh.proxy(from);
    let snapshot = snapshot(&mesh.push, &proxy);
    let destination: SocketAddr = to.parse().expect("address");
    let listener = snapshot
        .listener_for(destination)
        .or_else(|| snapshot.listeners().get("virtualOutbound"))
        .expect("a listener");
    let source = SocketAddr::new(proxy.ips[0], 40000);
    let info = ConnectionInfo {
        destination,
        source,
        direct_source: source,
        transport_protocol: if sni.is_some() { "tls" } else { "raw_buffer" },
        server_name: sni,
        application_protocols: &[],
    };
    let chain = listener.select_filter_chain(&info).expect("a chain");
    match chain.filters.last() {
        Some(NetworkFilter::TcpProxy(tcp)) => tcp.cluster(0).expect("a cluster").to_owned(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn cluster(mesh: &Mesh, pod: &str, name: &str) -> Option<xds::Cluster> {
    mesh.push.clusters(&mesh.proxy(pod)).into_iter().find(|cluster| cluster.name == name)
}

fn addresses(mesh: &Mesh, pod: &str, name: &str) -> Vec<String> {
    let assignment = mesh.push.load_assignment(&mesh.proxy(pod), name).expect("endpoints");
    let endpoints = assignment.localities.into_iter().flat_map(|locality| locality.endpoints);
    endpoints.map(|endpoint| endpoint.address.to_string()).collect()
}

fn names(mesh: &Mesh, pod: &str) -> std::collections::BTreeMap<String, xds::NameInfo> {
    mesh.push.name_table(&mesh.proxy(pod)).table
}

#[test]
fn static_endpoints_outside_of_the_mesh() {
    let mesh = mesh(&[entry(
        "api",
        "shop",
        "{hosts: [API.example.com], ports: [{number: 80, name: http, protocol: HTTP, targetPort: \
         8080}, {number: 6379, name: redis, protocol: REDIS}], resolution: STATIC, endpoints: \
         [{address: 192.0.2.1, ports: {redis: 6380}, weight: 3}, {address: 192.0.2.2}]}",
    )]);
    let name = "outbound|80||api.example.com";
    for from in ["web", "other"] {
        let outcome = mesh.call(from, &Call::get("http://api.example.com/"));
        assert_eq!((outcome.status, outcome.cluster.as_str()), (200, name));
        assert_eq!(outcome.pod.as_deref(), Some("outside"));
    }
    assert_eq!(addresses(&mesh, "web", name), ["192.0.2.1:8080", "192.0.2.2:8080"]);
    let redis = "outbound|6379||api.example.com";
    assert_eq!(addresses(&mesh, "web", redis), ["192.0.2.1:6380", "192.0.2.2:6379"]);
    let assignment = mesh.push.load_assignment(&mesh.proxy("web"), redis).expect("endpoints");
    assert_eq!(assignment.localities[0].load_balancing_weight, Some(4));
    // Bytes are known by the address that DNS tells, and by no other.
    let vip = names(&mesh, "web")["api.example.com"].ips[0];
    assert!(vip.to_string().starts_with("240.240."), "{vip}");
    assert_eq!(connect(&mesh, "web", &format!("{vip}:6379"), None), redis);
    assert_eq!(connect(&mesh, "web", "192.0.2.1:6379", None), "PassthroughCluster");
    let cluster = cluster(&mesh, "web", name).expect("cluster");
    assert!(cluster.transport_socket_matches.is_empty(), "no mutual TLS to what is outside");
    assert_eq!(cluster.metadata.0["istio"]["external"], xds::Value::Bool(true));
    assert_eq!(names(&mesh, "web")["api.example.com"].registry, "External");
}

#[test]
fn addresses_and_networks_of_bytes() {
    let mesh = mesh(&[entry(
        "net",
        "shop",
        "{hosts: [net.example], addresses: [198.51.100.9, 203.0.113.0/24], ports: [{number: 9000, \
         name: tcp, protocol: TCP}], resolution: NONE}",
    )]);
    let name = "outbound|9000||net.example";
    assert_eq!(connect(&mesh, "web", "198.51.100.9:9000", None), name);
    assert_eq!(connect(&mesh, "web", "203.0.113.77:9000", None), name);
    assert_eq!(connect(&mesh, "web", "203.0.114.77:9000", None), "PassthroughCluster");
    let cluster = cluster(&mesh, "web", name).expect("cluster");
    assert_eq!(cluster.discovery, xds::Discovery::OriginalDst);
    assert!(names(&mesh, "web").get("net.example").is_some_and(|info| info.ips.len() == 1));
}

#[test]
fn wildcards_by_host_and_by_server_name() {
    let mesh = mesh(&[
        entry(
            "wild",
            "shop",
            "{hosts: ['*.wild.example'], ports: [{number: 80, name: http, protocol: HTTP}, \
             {number: 443, name: tls, protocol: TLS}], resolution: NONE}",
        ),
        object(
            "VirtualService",
            "one",
            "shop",
            "{hosts: [one.wild.example], http: [{route: [{destination: {host: cart}}]}]}",
        ),
        REGISTRY_ONLY.to_owned(),
    ]);
    let wild = mesh.call("web", &Call::get("http://a.wild.example/"));
    assert_eq!((wild.status, wild.cluster.as_str()), (200, "outbound|80||*.wild.example"));
    assert_eq!(mesh.call("web", &Call::get("http://wild.example/")).status, 502);
    let ruled = mesh.call("web", &Call::get("http://one.wild.example/"));
    assert_eq!(ruled.cluster, "outbound|80||cart.shop.svc.cluster.local");
    let tls = "outbound|443||*.wild.example";
    assert_eq!(connect(&mesh, "web", "203.0.113.1:443", Some("b.wild.example")), tls);
    assert_eq!(connect(&mesh, "web", "203.0.113.1:443", Some("evil.example")), "BlackHoleCluster");
}

#[test]
fn names_are_resolved_by_the_proxy() {
    let mesh = mesh(&[
        entry(
            "dns",
            "shop",
            "{hosts: [dns.example], ports: [{number: 80, name: http, protocol: HTTP, targetPort: \
             8080}], resolution: DNS}",
        ),
        entry(
            "robin",
            "shop",
            "{hosts: [robin.example], ports: [{number: 80, name: http, protocol: HTTP}], \
             resolution: DNS_ROUND_ROBIN, endpoints: [{address: behind.example, ports: {http: 81}}]}",
        ),
        entry(
            "empty",
            "shop",
            "{hosts: [empty.example], ports: [{number: 80, name: http, protocol: HTTP}], \
             resolution: DNS, workloadSelector: {labels: {app: nobody}}}",
        ),
    ]);
    let hosts = |names: &xds::LoadAssignment| -> Vec<String> {
        let endpoints = names.localities.iter().flat_map(|locality| &locality.endpoints);
        endpoints.map(|endpoint| endpoint.address.to_string()).collect()
    };
    match cluster(&mesh, "web", "outbound|80||dns.example").expect("cluster").discovery {
        xds::Discovery::StrictDns(names) => assert_eq!(hosts(&names), ["dns.example:8080"]),
        other => panic!("{other:?}"),
    }
    match cluster(&mesh, "web", "outbound|80||robin.example").expect("cluster").discovery {
        xds::Discovery::LogicalDns(names) => assert_eq!(hosts(&names), ["behind.example:81"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster(&mesh, "web", "outbound|80||empty.example"), None);
    for host in ["dns.example", "robin.example"] {
        let outcome = mesh.call("web", &Call::get(&format!("http://{host}/")));
        assert_eq!((outcome.status, outcome.cluster), (200, format!("outbound|80||{host}")));
        assert!(names(&mesh, "web")[host].ips[0].to_string().starts_with("240.240."));
    }
}

#[test]
fn workloads_that_are_selected() {
    let mesh = mesh(&[
        entry(
            "vm",
            "back",
            "{hosts: [vm.example], location: MESH_INTERNAL, ports: [{number: 80, name: http, \
             protocol: HTTP, targetPort: 8080}], resolution: STATIC, workloadSelector: {labels: \
             {app: other}}}",
        ),
        object(
            "WorkloadEntry",
            "vm-1",
            "back",
            "{address: 192.0.2.10, labels: {app: other}, serviceAccount: vm, ports: {http: 9080}, \
             locality: r1/z1}",
        ),
        object("WorkloadEntry", "elsewhere", "shop", "{address: 192.0.2.11, labels: {app: other}}"),
        object(
            "WorkloadEntry",
            "cart",
            "shop",
            "{address: 192.0.2.12, labels: {app: cart}, ports: {tcp: 17001}}",
        ),
    ]);
    let name = "outbound|80||vm.example";
    let pod = mesh.pods["other"].ip;
    let mut found = addresses(&mesh, "web", name);
    found.sort();
    assert_eq!(found, [format!("{pod}:8080"), "192.0.2.10:9080".to_owned()]);
    let tls = cluster(&mesh, "web", name).expect("cluster").transport_socket_matches;
    let tls = tls[0].transport_socket.as_ref().expect("TLS to workloads of the mesh");
    let expected = &tls.common.validation.as_ref().expect("validation").match_subject_alt_names;
    let expected: Vec<_> = expected.iter().map(|name| name.matcher.clone()).collect();
    let account =
        |name: &str| xds::StringMatcher::exact(format!("spiffe://cluster.local/ns/back/sa/{name}"));
    assert_eq!(expected, [account("other"), account("vm")]);
    // The pod's proxy serves the port for it, too.
    let inbound = cluster(&mesh, "other", "inbound|8080||");
    assert!(inbound.is_some());
    // A Kubernetes Service selects such workloads as well.
    assert_eq!(
        addresses(&mesh, "web", "outbound|7000||cart.shop.svc.cluster.local"),
        ["192.0.2.12:17001"]
    );
    assert_eq!(
        addresses(&mesh, "web", "outbound|80||cart.shop.svc.cluster.local"),
        ["192.0.2.12:80"]
    );
}

#[test]
fn kubernetes_keeps_its_names() {
    let squat = "{hosts: [cart.shop.svc.cluster.local], ports: [{number: 80, name: http, protocol: \
                 HTTP}], resolution: STATIC, endpoints: [{address: 192.0.2.66}], subjectAltNames: \
                 [spiffe://other/sa/cart]}";
    let name = "outbound|80||cart.shop.svc.cluster.local";
    // In its namespace only the names to expect count.
    let decorated = mesh(&[entry("a-cart", "shop", squat)]);
    assert_eq!(addresses(&decorated, "web", name), Vec::<String>::new());
    let transport = cluster(&decorated, "web", name).expect("cluster").transport_socket_matches;
    let tls = transport[0].transport_socket.as_ref().expect("TLS");
    let expected = &tls.common.validation.as_ref().expect("validation").match_subject_alt_names;
    assert_eq!(expected[0].matcher, xds::StringMatcher::exact("spiffe://other/sa/cart"));
    // Elsewhere it is for its own namespace, and for no other.
    let squatted = mesh(&[entry("cart", "back", squat)]);
    assert_eq!(addresses(&squatted, "web", name), Vec::<String>::new());
    assert_eq!(addresses(&squatted, "other", name), ["192.0.2.66:80"]);
}

#[test]
fn who_sees_it() {
    let spec = |address: &str, export: &str| {
        format!(
            "{{hosts: [twin.example], ports: [{{number: 80, name: http, protocol: HTTP}}], \
             resolution: STATIC, endpoints: [{{address: {address}}}], exportTo: [{export}]}}"
        )
    };
    let name = "outbound|80||twin.example";
    let both = mesh(&[
        entry("a", "back", &spec("192.0.2.1", "'*'")),
        entry("b", "shop", &spec("192.0.2.2", "'.'")),
    ]);
    assert_eq!(addresses(&both, "web", name), ["192.0.2.2:80"]);
    assert_eq!(addresses(&both, "other", name), ["192.0.2.1:80"]);
    let private = mesh(&[entry("b", "shop", &spec("192.0.2.2", "'.'"))]);
    assert_eq!(cluster(&private, "other", name), None);
    assert!(!names(&private, "other").contains_key("twin.example"));
    let outcome = private.call("other", &Call::get("http://twin.example/"));
    assert_eq!(outcome.cluster, "PassthroughCluster");
}

#[test]
fn what_nobody_declared() {
    let declared = entry(
        "api",
        "shop",
        "{hosts: [api.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}",
    );
    let open = mesh(std::slice::from_ref(&declared));
    let call = |mesh: &Mesh, url: &str| mesh.call("web", &Call::get(url));
    assert_eq!(call(&open, "http://unknown.example/").cluster, "PassthroughCluster");
    assert_eq!(connect(&open, "web", "203.0.113.1:5432", None), "PassthroughCluster");
    let closed = mesh(&[declared, REGISTRY_ONLY.to_owned()]);
    assert_eq!(call(&closed, "http://unknown.example/").status, 502);
    assert_eq!(connect(&closed, "web", "203.0.113.1:5432", None), "BlackHoleCluster");
    assert_eq!(call(&closed, "http://api.example/").cluster, "outbound|80||api.example");
}

#[test]
fn tls_is_originated() {
    let secure = |tls: &str, sans: &str| {
        let mesh = mesh(&[
            entry(
                "api",
                "shop",
                &format!(
                    "{{hosts: [api.example], ports: [{{number: 80, name: http, protocol: HTTP, \
                     targetPort: 443}}], resolution: DNS, subjectAltNames: [{sans}]}}"
                ),
            ),
            object(
                "DestinationRule",
                "api",
                "shop",
                &format!("{{host: api.example, trafficPolicy: {{tls: {tls}}}}}"),
            ),
        ]);
        cluster(&mesh, "web", "outbound|80||api.example").expect("cluster")
    };
    let plain = secure("{mode: SIMPLE}", "");
    assert!(plain.http.auto_sni && plain.http.auto_san_validation);
    let tls = plain.transport_socket.expect("TLS");
    let validation = tls.common.validation.expect("validation");
    assert_eq!(validation.trusted_ca, xds::TrustedCa::System);
    let named = secure("{mode: SIMPLE, sni: edge.example}", "api.example, other.example");
    assert!(!named.http.auto_sni && !named.http.auto_san_validation);
    let tls = named.transport_socket.expect("TLS");
    assert_eq!(tls.sni, "edge.example");
    let expected = tls.common.validation.expect("validation").match_subject_alt_names;
    assert_eq!(expected.len(), 2);
    let own = secure("{mode: SIMPLE, sni: x, subjectAltNames: [only.example]}", "api.example");
    let tls = own.transport_socket.expect("TLS");
    let expected = tls.common.validation.expect("validation").match_subject_alt_names;
    assert_eq!(expected[0].matcher, xds::StringMatcher::exact("only.example"));
}

#[test]
fn the_same_address_for_names_and_listeners() {
    let port = "ports: [{number: 5432, name: tcp, protocol: TCP}]";
    let hosts: Vec<String> = (0..40)
        .map(|number| {
            entry(
                &format!("e{number}"),
                "shop",
                &format!("{{hosts: [h{number}.example], {port}, resolution: DNS}}"),
            )
        })
        .collect();
    let mesh = mesh(&hosts);
    let table = names(&mesh, "web");
    for number in 0..40 {
        let host = format!("h{number}.example");
        let ip: IpAddr = table[&host].ips[0];
        let reached = connect(&mesh, "web", &format!("{ip}:5432"), None);
        assert_eq!(reached, format!("outbound|5432||{host}"));
    }
}

#[test]
fn what_is_not_supported_is_told() {
    let mesh = mesh(&[entry(
        "dynamic",
        "shop",
        "{hosts: ['*.dyn.example'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: \
         DYNAMIC_DNS}",
    )]);
    let told: Vec<String> = mesh.push.diagnostics().iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|line| line.contains("spec.resolution")), "{told:?}");
    let outcome = mesh.call("web", &Call::get("http://a.dyn.example/"));
    assert_eq!(outcome.cluster, "outbound|80||*.dyn.example");
}

#[test]
fn stock_envoy_takes_every_resolution() {
    let Some(envoy) = testkit::peers::envoy() else { return testkit::skip("no stock Envoy") };
    let mesh = Mesh::new(&(WORLD.to_owned() + EVERYTHING));
    crate::envoy::validate(&envoy, &mesh, None);
    crate::envoy::validate(&envoy, &mesh, Some(1337));
}

#[test]
fn what_is_sent_is_what_arrives() {
    let mesh = Mesh::new(&(WORLD.to_owned() + EVERYTHING));
    crate::laws::round_trip(&mesh);
}

const EVERYTHING: &str = include_str!("entries.yaml");
