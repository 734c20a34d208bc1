//! A proxy in virtual time against the session: whatever is edited, in whatever order its answers
//! come, everything that its listeners and routes refer to is there.

use std::collections::BTreeMap;
use std::time::Duration;

use config::Catalog;
use pilot::{PushContext, World};
use proptest::prelude::*;
use xds::session::{Client, Interest};

use super::*;

/// What a user may have written: which services exist and where `a`'s calls go.
#[derive(Clone, Debug)]
struct Edit {
    services: [bool; 3],
    subsets: bool,
    target: usize,
    weight: u8,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Edit {
    fn yaml(&self) -> String {
        let mut text = String::new();
        for (name, _) in NAMES.iter().zip(self.services).filter(|(_, there)| *there) {
            text.push_str(&format!(
                "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{{addresses: [10.0.0.9]}}]
ports: [{{name: http, port: 80, protocol: TCP}}]
---"
            ));
        }
        if self.subsets && self.services[0] {
            text.push_str(
                "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec:
  host: a
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop}
spec:
  hosts: [a]
  http:
  - route:
    - {destination: {host: a, subset: v1}, weight: WEIGHT}
    - {destination: {host: a, subset: v2}, weight: REST}
---"
                .replace("WEIGHT", &self.weight.to_string())
                .replace("REST", &(100 - self.weight).to_string())
                .as_str(),
            );
        } else if self.services[0] && self.services[self.target] {
            text.push_str(&format!(
                "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: a, namespace: shop}}
spec:
  hosts: [a]
  http: [{{route: [{{destination: {{host: {}}}}}]}}]
---",
                NAMES[self.target]
            ));
        }
        text
    }

    fn snapshot(&self, number: u64, now: Instant) -> Arc<Snapshot> {
        let mut catalog = Catalog::default();
        let update = catalog.update([("all.yaml".to_owned(), Some(self.yaml()))]);
        assert!(update.refused.is_empty(), "{:?}", update.diagnostics);
        let world = World::new(catalog.objects().cloned());
        let context = Arc::new(PushContext::new(Arc::new(world)));
        Arc::new(Snapshot {
            context,
            number,
            version: number.to_string(),
            noticed: now,
            patched: crate::ads::patched::PatchStatus::default(),
        })
    }
}

fn proxy() -> Proxy {
    let mut node = xds::Node {
        id: "sidecar~10.0.0.1~pod.shop~shop.svc.cluster.local".into(),
        ..xds::Node::default()
    };
    node.metadata.insert("NAMESPACE".into(), "shop".into());
    Proxy::from_node(&node).unwrap()
}

/// A proxy that applies whatever it is sent.
struct Peer {
    client: Client,
    applied: BTreeMap<ResourceType, BTreeMap<String, xds::Resource>>,
}

impl Peer {
    fn new() -> Self {
        let mut client = Client::new(xds::Node::default());
        client.subscribe(Cluster.type_url(), Interest::Wildcard);
        client.subscribe(Listener.type_url(), Interest::Wildcard);
        Self { client, applied: BTreeMap::new() }
    }

    fn of(&self, kind: ResourceType) -> impl Iterator<Item = &xds::Resource> {
        self.applied.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    fn apply(&mut self, response: DeltaDiscoveryResponse) {
        let kind = ResourceType::from_type_url(&response.type_url).unwrap();
        let update = self.client.on_response(response);
        let of_kind = self.applied.entry(kind).or_default();
        for (name, any) in &update.updated {
            of_kind.insert(name.clone(), xds::decode(any).unwrap().resource);
        }
        for name in &update.removed {
            of_kind.remove(name);
        }
        self.client.ack(&update);
        match kind {
            Cluster => {
                let names = self.endpoint_names();
                self.client.subscribe(LoadAssignment.type_url(), Interest::Names(names.clone()));
                self.applied.entry(LoadAssignment).or_default().retain(|n, _| names.contains(n));
            }
            Listener => {
                let names = self.route_names();
                self.client
                    .subscribe(RouteConfiguration.type_url(), Interest::Names(names.clone()));
                self.applied
                    .entry(RouteConfiguration)
                    .or_default()
                    .retain(|n, _| names.contains(n));
            }
            _ => {}
        }
    }

    fn endpoint_names(&self) -> BTreeSet<String> {
        self.of(Cluster)
            .filter_map(|resource| match resource {
                xds::Resource::Cluster(cluster) => match &cluster.discovery {
                    xds::Discovery::Eds { service_name } if service_name.is_empty() => {
                        Some(cluster.name.clone())
                    }
                    xds::Discovery::Eds { service_name } => Some(service_name.clone()),
                    _ => None,
                },
                _ => None,
            })
            .collect()
    }

    /// Route names are found in what a listener prints, whatever its nesting.
    fn route_names(&self) -> BTreeSet<String> {
        let listeners: Vec<xds::Listener> = self
            .of(Listener)
            .filter_map(|resource| match resource {
                xds::Resource::Listener(listener) => Some((**listener).clone()),
                _ => None,
            })
            .collect();
        let text = format!("{listeners:?}");
        text.split("Rds(\"").skip(1).filter_map(|t| Some(t.split_once('"')?.0.to_owned())).collect()
    }

    /// Everything that is referred to is there.
    fn check(&self, universe: &BTreeSet<String>) {
        let clusters = self.applied.get(&Cluster).cloned().unwrap_or_default();
        let used = self.of(Listener).chain(self.of(RouteConfiguration));
        for resource in used {
            let text = format!("{resource:?}");
            for name in universe.iter().filter(|name| text.contains(&format!("{name:?}"))) {
                assert!(clusters.contains_key(name), "{} uses {name}, gone", resource.name());
                let endpoints = self.applied.get(&LoadAssignment);
                assert!(
                    !matches!(&clusters[name], xds::Resource::Cluster(c)
                        if matches!(c.discovery, xds::Discovery::Eds { .. }))
                        || endpoints.is_some_and(|e| e.contains_key(name)),
                    "{} uses {name}, which has no endpoints",
                    resource.name()
                );
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Edit(Edit),
    /// The proxy reads so many responses.
    Read(u8),
    /// The proxy's requests arrive.
    Write,
    Wait,
    Reconnect,
}

fn edit() -> impl Strategy<Value = Edit> {
    (any::<[bool; 3]>(), any::<bool>(), 0..3_usize, 0..=100_u8)
        .prop_map(|(services, subsets, target, weight)| Edit { services, subsets, target, weight })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => edit().prop_map(Step::Edit),
        4 => (1..4_u8).prop_map(Step::Read),
        4 => Just(Step::Write),
        1 => Just(Step::Wait),
        1 => Just(Step::Reconnect),
    ]
}

/// The session, the proxy, and the wire between them.
struct Scene {
    session: Session,
    peer: Peer,
    wire: std::collections::VecDeque<Response>,
    universe: BTreeSet<String>,
    snapshot: Arc<Snapshot>,
    now: Instant,
}

impl Scene {
    fn new(first: &Edit) -> Self {
        let now = Instant::now();
        let snapshot = first.snapshot(0, now);
        let session = Session::new(Protocol::Delta, proxy(), Arc::clone(&snapshot), now);
        let (wire, universe) = Default::default();
        let mut scene = Self { session, peer: Peer::new(), wire, universe, snapshot, now };
        scene.learn();
        scene
    }

    fn learn(&mut self) {
        let clusters = self.snapshot.context.clusters(&proxy());
        self.universe.extend(clusters.into_iter().map(|cluster| cluster.name));
    }

    fn act(&mut self, step: &Step, number: u64) {
        match step {
            Step::Edit(edit) => {
                self.snapshot = edit.snapshot(number, self.now);
                self.learn();
                let snapshot = Arc::clone(&self.snapshot);
                self.wire.extend(self.session.on_snapshot(snapshot, self.now));
            }
            Step::Read(count) => {
                for _ in 0..*count {
                    let Some(Response::Delta(response)) = self.wire.pop_front() else { break };
                    self.peer.apply(response);
                    self.peer.check(&self.universe);
                }
            }
            Step::Write => {
                while let Some(request) = self.peer.client.next_request() {
                    let request = Request::Delta(request);
                    let (_, responses) = self.session.on_request(request, self.now).unwrap();
                    self.wire.extend(responses);
                }
            }
            Step::Wait => {
                // Not so long that the patience with clusters that do not come up ends.
                self.now += Duration::from_millis(10);
                self.wire.extend(self.session.on_time(self.now));
            }
            Step::Reconnect => {
                self.wire.clear();
                self.peer.client.reconnect();
                let snapshot = Arc::clone(&self.snapshot);
                self.session = Session::new(Protocol::Delta, proxy(), snapshot, self.now);
            }
        }
    }

    /// Lets everything arrive.
    fn settle(&mut self) {
        for _ in 0..50 {
            self.act(&Step::Write, 0);
            self.act(&Step::Read(u8::MAX), 0);
        }
        assert!(self.wire.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn make_before_break(first in edit(), steps in prop::collection::vec(step(), 0..40)) {
        let mut scene = Scene::new(&first);
        for (number, step) in steps.iter().enumerate() {
            scene.act(step, number as u64 + 1);
        }
        scene.settle();
        // In the end the proxy has what the last snapshot says, and nothing else.
        let snapshot = Arc::clone(&scene.snapshot);
        let clusters: BTreeSet<String> =
            snapshot.context.clusters(&proxy()).into_iter().map(|c| c.name).collect();
        let has: BTreeSet<String> = scene.peer.of(Cluster).map(|c| c.name().to_owned()).collect();
        prop_assert_eq!(has, clusters);
        prop_assert_eq!(scene.session.phase, Phase::Settled);
        for resource in scene.peer.of(RouteConfiguration) {
            let wanted = snapshot.context.route_configuration(&proxy(), resource.name());
            let wanted = wanted.map(xds::Resource::RouteConfiguration);
            prop_assert_eq!(Some(resource.clone()), wanted);
        }
    }
}

fn everything() -> Edit {
    Edit { services: [true; 3], subsets: true, target: 0, weight: 50 }
}

#[test]
fn clusters_go_only_after_the_routes_that_used_them() {
    let mut scene = Scene::new(&everything());
    scene.settle();
    scene.act(&Step::Edit(Edit { subsets: false, ..everything() }), 1);
    // One entry a turn of the conversation: types, and how many names each response removes.
    let mut turns: Vec<Vec<(String, usize)>> = Vec::new();
    while !scene.wire.is_empty() {
        turns.push(scene.wire.iter().map(of_interest).collect());
        scene.act(&Step::Read(u8::MAX), 0);
        scene.act(&Step::Write, 0);
    }
    let turn = |wanted: &dyn Fn(&(String, usize)) -> bool| {
        turns.iter().position(|turn| turn.iter().any(wanted)).unwrap()
    };
    let routes = turn(&|(url, _)| url == RouteConfiguration.type_url());
    let removal = turn(&|(url, removed)| url == Cluster.type_url() && *removed == 2);
    assert!(routes < removal, "{turns:?}");
}

fn of_interest(response: &Response) -> (String, usize) {
    match response {
        Response::Delta(r) => (r.type_url.clone(), r.removed_resources.len()),
        Response::Sotw(r) => (r.type_url.clone(), 0),
    }
}

#[test]
fn a_refused_route_keeps_its_clusters() {
    let mut scene = Scene::new(&everything());
    scene.settle();
    scene.act(&Step::Edit(Edit { subsets: false, ..everything() }), 1);
    while let Some(Response::Delta(response)) = scene.wire.pop_front() {
        assert!(response.removed_resources.is_empty(), "{response:?}");
        let routes = response.type_url == RouteConfiguration.type_url();
        let update = scene.peer.client.on_response(response);
        if routes {
            scene.peer.client.nack(&update, "no");
        } else {
            scene.peer.client.ack(&update);
        }
        scene.act(&Step::Write, 0);
    }
    assert_eq!(scene.session.phase, Phase::Switching);
    // Until it accepts something newer.
    scene.act(&Step::Edit(Edit { subsets: false, target: 1, ..everything() }), 2);
    scene.settle();
    assert_eq!(scene.session.phase, Phase::Settled);
}

#[test]
fn clusters_that_never_come_up_do_not_hold_up_routes_for_ever() {
    let mut scene = Scene::new(&Edit { services: [true, false, false], ..everything() });
    scene.settle();
    scene.act(&Step::Edit(everything()), 1);
    // The proxy says nothing at all.
    let listeners = |scene: &Scene| {
        scene.wire.iter().filter(|r| r.type_url() == RouteConfiguration.type_url()).count()
    };
    assert_eq!(listeners(&scene), 0);
    let deadline = scene.session.deadline().unwrap();
    assert_eq!(deadline, scene.now + WARMING_LIMIT);
    let responses = scene.session.on_time(deadline);
    scene.wire.extend(responses);
    assert_eq!(listeners(&scene), 1);
}

/// A client of the other variant, which accepts everything.
struct SotwPeer {
    session: Session,
    now: Instant,
    /// The newest of each type.
    newest: BTreeMap<String, DiscoveryResponse>,
}

impl SotwPeer {
    fn ask(&mut self, kind: ResourceType, names: &[String]) -> Vec<Response> {
        let url = kind.type_url();
        let newest = self.newest.get(url).cloned().unwrap_or_default();
        let request = Request::Sotw(DiscoveryRequest {
            type_url: url.to_owned(),
            resource_names: names.to_vec(),
            response_nonce: newest.nonce,
            version_info: newest.version_info,
            ..DiscoveryRequest::default()
        });
        self.session.on_request(request, self.now).unwrap().1
    }

    fn names_of_clusters(&self) -> BTreeSet<String> {
        let newest = &self.newest[Cluster.type_url()];
        let each = newest.resources.iter().map(|any| xds::decode(any).unwrap().resource);
        each.map(|resource| resource.name().to_owned()).collect()
    }

    /// Takes responses one by one, and answers each.
    fn converse(&mut self, responses: Vec<Response>, mut seen: impl FnMut(&Self, &str)) {
        let mut queue: std::collections::VecDeque<Response> = responses.into();
        while let Some(response) = queue.pop_front() {
            let Response::Sotw(response) = response else { panic!("the wrong variant") };
            let url = response.type_url.clone();
            self.newest.insert(url.clone(), response);
            seen(self, &url);
            let kind = ResourceType::from_type_url(&url).unwrap();
            let subscribed = self.session.server().subscription(&url).unwrap().names().clone();
            let names: Vec<String> = subscribed.into_iter().collect();
            queue.extend(self.ask(kind, &names));
        }
    }
}

#[test]
fn the_state_of_the_world_keeps_old_clusters_until_routes_are_accepted() {
    let now = Instant::now();
    let first = everything().snapshot(0, now);
    let endpoints: Vec<String> = first.clusters(&proxy()).1.into_iter().collect();
    let session = Session::new(Protocol::Sotw, proxy(), first, now);
    let mut peer = SotwPeer { session, now, newest: BTreeMap::new() };
    for (kind, names) in [
        (Cluster, vec![]),
        (LoadAssignment, endpoints),
        (Listener, vec![]),
        (RouteConfiguration, vec!["80".to_owned()]),
    ] {
        let responses = peer.ask(kind, &names);
        peer.converse(responses, |_, _| {});
    }
    let v1 = "outbound|80|v1|a.shop.svc.cluster.local";
    assert!(peer.names_of_clusters().contains(v1));
    assert_eq!(peer.session.phase, Phase::Settled);
    let without = Edit { subsets: false, ..everything() }.snapshot(1, now);
    let responses = peer.session.on_snapshot(without, now);
    let mut routes_seen = false;
    peer.converse(responses, |peer, url| {
        routes_seen |= url == RouteConfiguration.type_url();
        assert!(routes_seen || peer.names_of_clusters().contains(v1), "gone before the routes");
    });
    assert!(routes_seen);
    assert!(!peer.names_of_clusters().contains(v1), "never gone");
    assert_eq!(peer.session.phase, Phase::Settled);
}
