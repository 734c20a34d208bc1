use config::k8s::{ContainerPort, PodTemplate};
use config::{Catalog, Service, Spec};

use super::*;
use crate::plan::{ProxyKind, Role};

fn wanted(labels: &[(&str, &str)], web: u16) -> Wanted {
    let mut template = PodTemplate::default();
    template.metadata.labels =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut container = Container { name: "main".into(), ..Container::default() };
    container.ports.push(ContainerPort {
        name: "web".into(),
        container_port: web,
        ..ContainerPort::default()
    });
    template.spec.containers.push(container);
    Wanted {
        namespace: "shop".into(),
        name: "cart".into(),
        replicas: 1,
        role: Role::Injected,
        proxy: ProxyKind::Mizzen,
        template,
        settings: Default::default(),
        ambiguous: false,
    }
}

fn service(target: IntOrString) -> WantedService {
    let mut spec = Service::default();
    spec.selector.insert("app".into(), "cart".into());
    spec.ports.push(ServicePort {
        name: "http".into(),
        port: 80,
        target_port: Some(target),
        ..ServicePort::default()
    });
    WantedService { namespace: "shop".into(), name: "cart".into(), spec }
}

fn entry<'a>(pod: &'a str, last: u8, deployment: &'a Wanted) -> PodEntry<'a> {
    PodEntry {
        pod,
        address: Ipv4Addr::new(10, 244, 0, last),
        deployment,
        running: true,
        ready: true,
        terminating: false,
    }
}

#[test]
fn named_ports_that_differ_make_two_slices() {
    let (old, new) = (wanted(&[("app", "cart")], 8080), wanted(&[("app", "cart")], 9090));
    let pods = [entry("cart-0", 2, &old), entry("cart-1", 3, &new)];
    let slices = endpoint_slices(&service(IntOrString::String("web".into())), &pods);
    let ports: Vec<_> = slices.iter().map(|slice| slice["ports"][0]["port"].clone()).collect();
    assert_eq!(ports, [json!(8080), json!(9090)]);
    let slices = endpoint_slices(&service(IntOrString::Int(7)), &pods);
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0]["endpoints"].as_array().unwrap().len(), 2);
}

#[test]
fn a_terminating_pod_is_not_ready() {
    let cart = wanted(&[("app", "cart")], 8080);
    let mut pod = entry("cart", 2, &cart);
    pod.terminating = true;
    let slices = endpoint_slices(&service(IntOrString::Int(8080)), &[pod]);
    let conditions = &slices[0]["endpoints"][0]["conditions"];
    assert_eq!(*conditions, json!({ "ready": false, "serving": true, "terminating": true }));
}

#[test]
fn hosts_name_one_ready_endpoint() {
    let cart = wanted(&[("app", "cart")], 8080);
    let mut dead = entry("cart-0", 2, &cart);
    dead.ready = false;
    let pods = [dead, entry("cart-1", 3, &cart)];
    let services = [service(IntOrString::Int(8080))];
    assert!(hosts("shop", &pods, &services).contains("10.244.0.3 cart.shop.svc.cluster.local"));
    assert!(hosts("shop", &pods, &services).contains(" cart\n"));
    assert!(!hosts("other", &pods, &services).contains(" cart\n"));
}

#[test]
fn files_are_written_once_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = Registry::new(directory.path().to_path_buf());
    let cart = wanted(&[("app", "cart")], 8080);
    let pods = [entry("cart", 2, &cart)];
    registry.write(render(&pods, &[service(IntOrString::Int(8080))])).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    registry.write(BTreeMap::new()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_control_plane_understands_what_is_written() {
    let cart = wanted(&[("app", "cart")], 8080);
    let pods = [entry("cart", 2, &cart)];
    let files = render(&pods, &[service(IntOrString::String("web".into()))]);
    let mut catalog = Catalog::default();
    let update = catalog.update(files.into_iter().map(|(name, text)| (name, Some(text))));
    assert!(update.refused.is_empty(), "{:?}", update.diagnostics);
    let ready = catalog.objects().any(|object| match &object.spec {
        Spec::Pod(pod) => pod.status.is_ready() && pod.status.pod_ip == "10.244.0.2",
        _ => false,
    });
    assert!(ready);
    let endpoints = catalog.objects().find_map(|object| match &object.spec {
        Spec::EndpointSlice(slice) => Some(slice.endpoints.len()),
        _ => None,
    });
    assert_eq!(endpoints, Some(1));
}
