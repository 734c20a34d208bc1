//! Laws of generation: the order of objects does not matter, every name that is referred to is
//! there, and a proxy is sent only what it knows.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use pilot::{Proxy, PushContext, World};
use proptest::prelude::*;

use crate::mesh::{EXTENSIONS, INGRESS, Mesh, parse, proxy, snapshot};

const BOOKINFO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bookinfo");

/// All that a proxy gets.
pub(crate) fn everything(push: &PushContext, proxy: &Proxy) -> Vec<xds::Resource> {
    let mut all = Vec::new();
    for cluster in push.clusters(proxy) {
        all.extend(push.load_assignment(proxy, &cluster.name).map(xds::Resource::LoadAssignment));
        all.push(xds::Resource::Cluster(Box::new(cluster)));
    }
    all.extend(push.listeners(proxy).into_iter().map(|l| xds::Resource::Listener(Box::new(l))));
    for name in push.route_names(proxy) {
        let routes = push.route_configuration(proxy, &name);
        all.extend(routes.map(xds::Resource::RouteConfiguration));
    }
    all.push(xds::Resource::NameTable(push.name_table(proxy)));
    all
}

/// The example, and rules that get into each other's way.
fn objects() -> Vec<Arc<config::Object>> {
    let mut objects = Mesh::objects(BOOKINFO);
    objects.extend(parse(CONFLICTS));
    objects
}

const CONFLICTS: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: another, namespace: bookinfo}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: another, namespace: bookinfo}
spec:
  host: reviews
  trafficPolicy: {loadBalancer: {simple: RANDOM}}
  subsets: [{name: v1, labels: {version: other}}, {name: v9, labels: {version: v9}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: another, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
---
apiVersion: v1
kind: Service
metadata: {name: another, namespace: bookinfo}
spec: {selector: {app: reviews}, ports: [{name: tcp, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: another, namespace: bookinfo}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: tcp, protocol: TCP}, hosts: ['*']}]
";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_order_of_objects_does_not_matter(seed in any::<u64>()) {
        let mesh = Mesh::of(objects());
        let mut objects = mesh.objects.clone();
        let mut state = seed;
        for index in (1..objects.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bound = index as u64 + 1;
            objects.swap(index, usize::try_from((state >> 33) % bound).unwrap_or(0));
        }
        let push = PushContext::new(Arc::new(World::new(objects)));
        prop_assert_eq!(push.diagnostics(), mesh.push.diagnostics());
        for pod in mesh.pods.keys() {
            let proxy = mesh.proxy(pod);
            let (a, b) = (everything(&mesh.push, &proxy), everything(&push, &proxy));
            prop_assert!(a == b, "{} differs", pod);
        }
    }
}

#[test]
fn every_cluster_that_a_route_names_is_sent() {
    let mesh = Mesh::dir(BOOKINFO);
    for pod in mesh.pods.keys() {
        let proxy = mesh.proxy(pod);
        let names: BTreeSet<String> =
            mesh.push.clusters(&proxy).into_iter().map(|cluster| cluster.name).collect();
        for name in mesh.push.route_names(&proxy) {
            let routes = mesh.push.route_configuration(&proxy, &name).expect("routes");
            for cluster in routes.virtual_hosts.iter().flat_map(|h| &h.routes).flat_map(named) {
                assert!(names.contains(&cluster), "{pod}: {name} names {cluster}");
            }
        }
    }
}

fn named(route: &xds::Route) -> Vec<String> {
    let xds::Action::Route(action) = &route.action else { return Vec::new() };
    match &action.cluster {
        xds::ClusterSpecifier::Cluster(name) => vec![name.clone()],
        xds::ClusterSpecifier::Weighted(list) => list.iter().map(|one| one.name.clone()).collect(),
    }
}

#[test]
fn a_stock_envoy_is_sent_nothing_of_istios() {
    let mesh = Mesh::dir(BOOKINFO);
    for pod in mesh.pods.values() {
        let kind = if pod.labels.contains_key("istio") { "router" } else { "sidecar" };
        let stock = proxy(pod, kind, &["envoy.filters.http.router"]);
        snapshot(&mesh.push, &stock);
        let text = format!("{:?}", mesh.push.listeners(&stock));
        for name in ["istio.stats", "istio.alpn", "metadata_exchange", "PeerMetadata"] {
            assert!(!text.contains(name), "{} has {name}", pod.name);
        }
        let text = format!("{:?}", mesh.push.clusters(&stock));
        for name in ["metadata_exchange", "istio-peer-exchange"] {
            assert!(!text.contains(name), "{} has {name}", pod.name);
        }
    }
}

#[test]
fn a_socket_mark_is_on_every_cluster() {
    let mesh = Mesh::dir(BOOKINFO);
    let mut proxy = mesh.proxy("reviews-v1");
    proxy.socket_mark = Some(1337);
    for cluster in mesh.push.clusters(&proxy) {
        let options = cluster.bind.expect("bind").socket_options;
        assert_eq!((options[0].level, options[0].name, options[0].value), (1, 36, 1337));
    }
}

#[test]
fn conflicts_are_told() {
    let mesh = Mesh::of(objects());
    let text: Vec<String> = mesh.push.diagnostics().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn what_is_sent_is_what_arrives() {
    let everything_yaml = include_str!("everything.yaml").to_owned() + "---" + INGRESS;
    for mesh in [Mesh::dir(BOOKINFO), Mesh::new(&everything_yaml)] {
        round_trip(&mesh);
    }
}

/// Everything of every proxy passes the codec unchanged, and can be compiled.
pub(crate) fn round_trip(mesh: &Mesh) {
    for pod in mesh.pods.values() {
        let kind = if pod.labels.contains_key("istio") { "router" } else { "sidecar" };
        for extensions in [&EXTENSIONS[..], &[]] {
            let proxy = proxy(pod, kind, extensions);
            for resource in everything(&mesh.push, &proxy) {
                let decoded = xds::decode(&xds::encode(&resource)).expect("decodes");
                assert_eq!(decoded.ignored, Vec::<String>::new(), "{}", resource.name());
                let (got, wanted) = (format!("{:#?}", decoded.resource), format!("{resource:#?}"));
                let differs = got.lines().zip(wanted.lines()).find(|(a, b)| a != b);
                assert_eq!(differs, None, "{}", resource.name());
                assert!(decoded.resource == resource, "{} differs", resource.name());
            }
            snapshot(&mesh.push, &proxy);
        }
    }
}

#[test]
fn one_of_everything_is_all_supported() {
    let mesh = Mesh::new(&(include_str!("everything.yaml").to_owned() + "---" + INGRESS));
    assert_eq!(mesh.push.diagnostics(), &[]);
}

#[test]
fn what_is_not_supported_is_told() {
    let mesh = Mesh::new(include_str!("unsupported.yaml"));
    let text: Vec<String> = mesh.push.diagnostics().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}

/// A mesh of `services` services with rules, and one caller.
fn large(services: usize) -> Mesh {
    let mut text = String::new();
    for number in 0..services {
        let (name, spec) = match number % 4 {
            0 => ("tcp", "tcp"),
            1 => ("web", "http"),
            _ => ("http", "http"),
        };
        text += &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: n}}\nspec: \
             {{selector: {{app: a{number}}}, ports: [{{name: {name}, port: 80}}]}}\n---\napiVersion: \
             networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s{number}, namespace: \
             n}}\nspec: {{hosts: [s{number}], {spec}: [{{route: [{{destination: {{host: \
             s{number}}}}}]}}]}}\n---\napiVersion: networking.istio.io/v1\nkind: \
             DestinationRule\nmetadata: {{name: s{number}, namespace: n}}\nspec: {{host: s{number}, \
             subsets: [{{name: v1, labels: {{v: v1}}}}]}}\n"
        );
    }
    text += "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: n}\nspec:\n  \
             selector: {matchLabels: {app: a1}}\n  template:\n    metadata: {labels: {app: a1}}\n    \
             spec: {containers: [{name: app, image: none}]}\n";
    Mesh::new(&text)
}

/// How long a world, and all resources of some proxies, take.
#[expect(clippy::print_stderr, reason = "a measurement is to be read")]
fn measure(services: usize, proxies: usize) -> Duration {
    let mesh = large(services);
    let started = Instant::now();
    let push = PushContext::new(Arc::new(World::new(mesh.objects.clone())));
    let world = started.elapsed();
    let mut resources = 0;
    for _ in 0..proxies {
        resources += everything(&push, &mesh.proxy("web")).len();
    }
    let took = started.elapsed();
    assert!(resources > 4 * services * proxies, "{resources}");
    eprintln!("{services} services, {proxies} proxies: world {world:?}, all {took:?}");
    took
}

/// For `MIZZEN_MEASURE_PROXIES` proxies, where it is set, with `--release` and `--nocapture`.
#[test]
fn a_thousand_services_take_no_time() {
    let proxies = std::env::var("MIZZEN_MEASURE_PROXIES").ok();
    if let Some(proxies) = proxies.and_then(|text| text.parse().ok()) {
        for services in [250, 500, 1000] {
            measure(services, proxies);
        }
        return;
    }
    // A generous bound on what must not be quadratic, for an unoptimised build on a busy machine.
    let took = measure(1000, 1);
    assert!(took.as_secs() < 10, "{took:?}");
}
