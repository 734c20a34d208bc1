//! Sidecars: what a proxy is told of the mesh, and how calls come in.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::{
    laws::everything,
    mesh::{Call, Mesh},
    service_entry::{cluster, connect},
};

const SERVICES: [(&str, &str, &str); 5] = [
    ("cart", "shop", "{selector: {app: cart}, ports: [{name: http, port: 80}]}"),
    ("db", "shop", "{selector: {app: cart}, ports: [{name: tcp, port: 5432}]}"),
    ("stock", "back", "{selector: {app: stock}, ports: [{name: http, port: 80}]}"),
    ("any", "back", "{selector: {app: stock}, ports: [{name: x, port: 5000}]}"),
    ("pods", "back", "{clusterIP: None, selector: {app: stock}, ports: [{name: tcp, port: 6000}]}"),
];

fn deployment(name: &str, namespace: &str, app: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nspec:\n  selector: {{matchLabels: {{app: {app}}}}}\n  template:\n    \
         metadata: {{labels: {{app: {app}}}}}\n    spec: {{containers: [{{name: app, image: \
         none}}]}}\n"
    )
}

fn object(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, \
         namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn sidecar(name: &str, namespace: &str, spec: &str) -> String {
    object("Sidecar", name, namespace, spec)
}

fn mesh(objects: &[String]) -> Mesh {
    let mut text = deployment("web", "shop", "web")
        + &deployment("cart", "shop", "cart")
        + &deployment("stock", "back", "stock")
        + &object(
            "ServiceEntry",
            "api",
            "back",
            "{hosts: [api.example], ports: [{number: 80, name: http, protocol: HTTP}, {number: \
             443, name: tls, protocol: TLS}], resolution: DNS}",
        );
    for (name, namespace, spec) in SERVICES {
        text += &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec: {spec}\n"
        );
    }
    Mesh::new(&(text + &objects.concat()))
}

/// The host names that a pod's proxy has clusters for.
fn known(mesh: &Mesh, pod: &str) -> BTreeSet<String> {
    let clusters = mesh.push.clusters(&mesh.proxy(pod)).into_iter();
    clusters
        .filter_map(|cluster| {
            Some(cluster.name.strip_prefix("outbound|")?.rsplit('|').next()?.to_owned())
        })
        .map(|host| host.trim_end_matches(".svc.cluster.local").to_owned())
        .collect()
}

fn reached(mesh: &Mesh, url: &str) -> String {
    let outcome = mesh.call("web", &Call::get(url));
    if outcome.status == 200 { outcome.cluster } else { outcome.status.to_string() }
}

fn list(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn hosts_decide_what_is_known() {
    let all = ["any.back", "api.example", "cart.shop", "db.shop", "pods.back", "stock.back"];
    for (hosts, expected) in [
        ("'./*'", &["cart.shop", "db.shop"][..]),
        ("'*/*'", &all[..]),
        ("'~/*'", &[]),
        ("'back/*'", &["any.back", "api.example", "pods.back", "stock.back"]),
        ("'back/stock.back.svc.cluster.local'", &["stock.back"]),
        ("'shop/stock.back.svc.cluster.local'", &[]),
        ("'*/*.example', './*'", &["api.example", "cart.shop", "db.shop"]),
        ("'*/api.example'", &["api.example"]),
        ("'*/*.back.svc.cluster.local'", &["any.back", "pods.back", "stock.back"]),
        ("'*/*', '~back/*'", &["cart.shop", "db.shop"]),
        (
            "'*/*', '~/db.shop.svc.cluster.local', '~back/any.back.svc.cluster.local'",
            &["api.example", "cart.shop", "pods.back", "stock.back"],
        ),
    ] {
        let mesh = mesh(&[sidecar("own", "shop", &format!("{{egress: [{{hosts: [{hosts}]}}]}}"))]);
        assert_eq!(known(&mesh, "web"), list(expected), "{hosts}");
        assert_eq!(known(&mesh, "stock"), list(&all), "{hosts}");
        let names: BTreeSet<String> = mesh
            .push
            .name_table(&mesh.proxy("web"))
            .table
            .into_keys()
            .map(|name| name.trim_end_matches(".svc.cluster.local").to_owned())
            .collect();
        assert_eq!(names, list(expected), "{hosts}");
    }
}

#[test]
fn what_is_left_out_is_not_declared() {
    let scope = "egress: [{hosts: ['./*']}]";
    let open = mesh(&[sidecar("own", "shop", &format!("{{{scope}}}"))]);
    assert_eq!(reached(&open, "http://cart/"), "outbound|80||cart.shop.svc.cluster.local");
    assert_eq!(reached(&open, "http://stock.back/"), "PassthroughCluster");
    let closed = mesh(&[sidecar(
        "own",
        "shop",
        &format!("{{{scope}, outboundTrafficPolicy: {{mode: REGISTRY_ONLY}}}}"),
    )]);
    assert_eq!(reached(&closed, "http://cart/"), "outbound|80||cart.shop.svc.cluster.local");
    assert_eq!(reached(&closed, "http://stock.back/"), "502");
    assert_eq!(connect(&closed, "web", "203.0.113.1:5000", None), "BlackHoleCluster");
    // The others keep the mesh's own policy.
    let other = closed.call("stock", &Call::get("http://unknown.example/"));
    assert_eq!(other.cluster, "PassthroughCluster");
}

#[test]
fn unknown_calls_go_through_a_proxy() {
    let mesh = mesh(&[sidecar(
        "own",
        "shop",
        "{egress: [{hosts: ['./*']}], outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: \
         any.back.svc.cluster.local, port: {number: 5000}}}}",
    )]);
    let proxy = "outbound|5000||any.back.svc.cluster.local";
    assert_eq!(reached(&mesh, "http://unknown.example/"), proxy);
    assert_eq!(connect(&mesh, "web", "203.0.113.1:5001", None), proxy);
    assert!(cluster(&mesh, "web", proxy).is_some(), "it comes along");
}

#[test]
fn which_one_holds() {
    let only = |hosts: &str| format!("egress: [{{hosts: ['{hosts}']}}]");
    let selecting =
        |hosts: &str| format!("{{workloadSelector: {{labels: {{app: web}}}}, {}}}", only(hosts));
    let general = |hosts: &str| format!("{{{}}}", only(hosts));
    let stock = "back/stock.back.svc.cluster.local";
    let objects = [
        sidecar("a", "shop", &general("./*")),
        sidecar("b", "shop", &selecting(stock)),
        sidecar("c", "shop", &selecting("~/*")),
        sidecar("default", "istio-system", &general("./*")),
    ];
    let mesh = mesh(&objects);
    assert_eq!(known(&mesh, "web"), list(&["stock.back"]));
    assert_eq!(known(&mesh, "cart"), list(&["cart.shop", "db.shop"]));
    // The root namespace's holds where there is no other, from each namespace's own place.
    assert_eq!(
        known(&mesh, "stock"),
        list(&["any.back", "api.example", "pods.back", "stock.back"])
    );
}

#[test]
fn rules_bring_their_destinations() {
    let rule = object(
        "VirtualService",
        "cart",
        "shop",
        "{hosts: [cart], http: [{route: [{destination: {host: stock.back.svc.cluster.local, port: \
         {number: 80}}}], mirror: {host: api.example, port: {number: 80}}}]}",
    );
    let scope = sidecar("own", "shop", "{egress: [{hosts: ['./cart.shop.svc.cluster.local']}]}");
    let mesh = mesh(&[rule, scope]);
    assert_eq!(known(&mesh, "web"), list(&["api.example", "cart.shop", "stock.back"]));
    assert_eq!(reached(&mesh, "http://cart/"), "outbound|80||stock.back.svc.cluster.local");
    // It is a destination, and no host to call; of the others only the port that is meant is known.
    assert_eq!(reached(&mesh, "http://stock.back/"), "PassthroughCluster");
    assert_eq!(cluster(&mesh, "web", "outbound|443||api.example"), None);
}

#[test]
fn a_rule_that_is_left_out_does_not_hold() {
    let rule = object(
        "VirtualService",
        "cart",
        "back",
        "{hosts: [cart.shop.svc.cluster.local], http: [{fault: {abort: {httpStatus: 418, \
         percentage: {value: 100}}}, route: [{destination: {host: cart.shop.svc.cluster.local}}]}]}",
    );
    let all = mesh(std::slice::from_ref(&rule));
    assert_eq!(reached(&all, "http://cart/"), "418");
    let own = mesh(&[rule, sidecar("own", "shop", "{egress: [{hosts: ['./*']}]}")]);
    assert_eq!(reached(&own, "http://cart/"), "outbound|80||cart.shop.svc.cluster.local");
}

#[test]
fn listeners_with_a_port_of_their_own() {
    let mesh = mesh(&[sidecar(
        "own",
        "shop",
        "{egress: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['back/*']}, {port: \
         {number: 5432, name: tcp, protocol: TCP}, bind: 127.0.0.1, captureMode: NONE, hosts: \
         ['./db.shop.svc.cluster.local']}, {hosts: ['*/*']}]}",
    )]);
    // Port 80 is the first listener's alone.
    assert_eq!(reached(&mesh, "http://stock.back/"), "outbound|80||stock.back.svc.cluster.local");
    assert_eq!(reached(&mesh, "http://cart/"), "PassthroughCluster");
    assert_eq!(
        reached(&mesh, "http://any.back:5000/"),
        "outbound|5000||any.back.svc.cluster.local"
    );
    let listeners = mesh.push.listeners(&mesh.proxy("web"));
    let bound = listeners.iter().find(|l| l.name == "127.0.0.1_5432").expect("a listener");
    assert!(bound.bind_to_port && bound.default_filter_chain.is_none());
    assert_eq!(
        connect(&mesh, "web", "127.0.0.1:5432", None),
        "outbound|5432||db.shop.svc.cluster.local"
    );
}

#[test]
fn listeners_at_a_unix_socket() {
    let mesh = mesh(&[sidecar(
        "own",
        "shop",
        "{egress: [{port: {number: 0, name: http, protocol: HTTP}, bind: 'unix:///run/out.sock', \
         hosts: ['*/*']}]}",
    )]);
    let proxy = mesh.proxy("web");
    let listeners = mesh.push.listeners(&proxy);
    let socket = listeners.iter().find(|l| l.name == "/run/out.sock").expect("a listener");
    assert_eq!(socket.address, xds::Address::Pipe("/run/out.sock".to_owned()));
    let routes = mesh.push.route_configuration(&proxy, "/run/out.sock").expect("routes");
    let domains: BTreeSet<&str> =
        routes.virtual_hosts.iter().flat_map(|host| &host.domains).map(String::as_str).collect();
    for name in ["cart", "cart:80", "stock.back:80", "any.back:5000", "api.example", "*"] {
        assert!(domains.contains(name), "{name}: {domains:?}");
    }
    let told = mesh.push.diagnostics().iter().map(ToString::to_string).collect::<String>();
    assert!(told.contains("spec.egress[0].bind"), "{told}");
}

#[test]
fn ways_into_the_workload() {
    let rule = "{host: cart, trafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}}}";
    let spec = "{workloadSelector: {labels: {app: cart}}, ingress: [{port: {number: 80, name: http, \
                protocol: HTTP}, defaultEndpoint: '127.0.0.1:8080'}, {port: {number: 81, name: tcp, \
                protocol: TCP}, defaultEndpoint: 'unix:///run/app.sock', connectionPool: {tcp: \
                {maxConnections: 5}}}, {port: {number: 82, name: own, protocol: GRPC}, \
                defaultEndpoint: '0.0.0.0:8082'}, {port: {number: 83, name: x}}], \
                inboundConnectionPool: {tcp: {maxConnections: 4}}}";
    let mesh =
        mesh(&[object("DestinationRule", "cart", "shop", rule), sidecar("in", "shop", spec)]);
    let own = mesh.pods["cart"].ip;
    for (port, address, limit) in [
        (80, Some("127.0.0.1:8080".to_owned()), 4),
        (81, Some("/run/app.sock".to_owned()), 5),
        (82, Some(format!("{own}:8082")), 4),
        (83, None, 4),
    ] {
        let cluster = cluster(&mesh, "cart", &format!("inbound|{port}||")).expect("a cluster");
        let found = match &cluster.discovery {
            xds::Discovery::Static(hosts) => {
                Some(hosts.localities[0].endpoints[0].address.to_string())
            }
            xds::Discovery::OriginalDst => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, address, "{port}");
        assert_eq!(cluster.circuit_breakers.max_connections, Some(limit), "{port}");
    }
    // The Service's own port is not served any more.
    assert_eq!(cluster(&mesh, "cart", "inbound|5432||"), None);
    let outcome = mesh.call("web", &Call::get("http://cart/"));
    assert_eq!((outcome.status, outcome.mtls), (200, true));
    let without = self::mesh(&[object("DestinationRule", "cart", "shop", rule)]);
    let cluster = cluster(&without, "cart", "inbound|80||").expect("a cluster");
    assert_eq!(cluster.circuit_breakers.max_connections, Some(3));
}

#[test]
fn gateways_have_no_scope() {
    let gateway = crate::mesh::INGRESS;
    let scope = sidecar("all", "istio-system", "{egress: [{hosts: ['~/*']}]}");
    let mesh = mesh(&[scope, format!("---{gateway}")]);
    assert!(known(&mesh, "istio-ingressgateway").contains("cart.shop"));
    assert_eq!(known(&mesh, "web"), list(&[]));
}

const CHOICES: [&str; 9] = [
    "'./*'",
    "'*/*'",
    "'back/*'",
    "'*/api.example'",
    "'shop/cart.shop.svc.cluster.local'",
    "'*/*.back.svc.cluster.local'",
    "'*/*', '~back/*'",
    "'*/*', '~/api.example'",
    "'~/*'",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_scoped_world_generates_a_subset(picks in prop::collection::vec(0..CHOICES.len(), 1..3)) {
        // `~/*` stands alone.
        let picks: Vec<&str> = picks.iter().map(|pick| CHOICES[*pick]).collect();
        let alone = picks.contains(&"'~/*'");
        let hosts = if alone { "'~/*'".to_owned() } else { picks.join(", ") };
        let rule = object(
            "VirtualService",
            "cart",
            "shop",
            "{hosts: [cart], http: [{route: [{destination: {host: stock.back.svc.cluster.local}}]}]}",
        );
        let whole = mesh(std::slice::from_ref(&rule));
        let scope = sidecar("own", "shop", &format!("{{egress: [{{hosts: [{hosts}]}}]}}"));
        let scoped = mesh(&[rule, scope]);
        let of = |mesh: &Mesh| {
            let mut clusters = BTreeSet::new();
            let mut listeners = BTreeSet::new();
            let mut names = BTreeSet::new();
            for resource in everything(&mesh.push, &mesh.proxy("web")) {
                match resource {
                    xds::Resource::Cluster(cluster) => {
                        clusters.insert(format!("{cluster:?}"));
                    }
                    xds::Resource::LoadAssignment(hosts) => {
                        clusters.insert(format!("{hosts:?}"));
                    }
                    xds::Resource::Listener(listener) => {
                        listeners.insert(listener.name);
                    }
                    xds::Resource::RouteConfiguration(routes) => {
                        let hosts = routes.virtual_hosts.iter();
                        listeners.extend(hosts.flat_map(|host| &host.domains).map(|domain| {
                            format!("{} {domain}", routes.name)
                        }));
                    }
                    xds::Resource::NameTable(table) => {
                        names.extend(table.table.iter().map(|entry| format!("{entry:?}")));
                    }
                    other => panic!("{other:?}"),
                }
            }
            (clusters, listeners, names)
        };
        let (whole, scoped) = (of(&whole), of(&scoped));
        prop_assert!(scoped.0.is_subset(&whole.0), "{hosts}: {:?}", scoped.0.difference(&whole.0));
        prop_assert!(scoped.1.is_subset(&whole.1), "{hosts}: {:?}", scoped.1.difference(&whole.1));
        prop_assert!(scoped.2.is_subset(&whole.2), "{hosts}: {:?}", scoped.2.difference(&whole.2));
    }
}
