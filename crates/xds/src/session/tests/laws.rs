//! Both ends over a link that breaks: whatever happens, once it is quiet the client has what the
//! server published, and nothing more is sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use proptest::prelude::*;

use super::{super::*, CLUSTERS, ENDPOINTS, encoded};
use crate::Node;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Versions that a client rejects.
fn is_bad(version: u8) -> bool {
    version % 5 == 4
}

#[derive(Clone, Debug)]
enum Step {
    Publish { kind: usize, name: usize, version: Option<u8> },
    Push { kind: usize, removals: Removals },
    Subscribe { kind: usize, wildcard: bool, names: u8 },
    ToServer,
    ToClient,
    Break,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let removals = prop_oneof![Just(Removals::Now), Just(Removals::Later)];
    let step = prop_oneof![
        4 => (0..2usize, 0..NAMES.len(), prop::option::weighted(0.8, 0..20u8))
            .prop_map(|(kind, name, version)| Step::Publish { kind, name, version }),
        4 => (0..2usize, removals).prop_map(|(kind, removals)| Step::Push { kind, removals }),
        2 => (0..2usize, any::<bool>(), 0..32u8)
            .prop_map(|(kind, wildcard, names)| Step::Subscribe { kind, wildcard, names }),
        6 => Just(Step::ToServer),
        6 => Just(Step::ToClient),
        1 => Just(Step::Break),
    ];
    prop::collection::vec(step, 0..80)
}

fn some_names(bits: u8) -> BTreeSet<String> {
    let names = NAMES.iter().enumerate().filter(|(index, _)| bits & (1 << index) != 0);
    names.map(|(_, name)| (*name).to_owned()).collect()
}

/// What is published of each type: name to version.
type World = [BTreeMap<String, u8>; 2];

const TYPES: [&str; 2] = [CLUSTERS, ENDPOINTS];

fn published(world: &World, kind: usize) -> Resources {
    let entries = world[kind].iter();
    entries.map(|(name, version)| (name.clone(), encoded(name, &version.to_string()))).collect()
}

fn version_in(any: &pb::Any) -> u8 {
    let text = std::str::from_utf8(&any.value).unwrap();
    text.split_once('=').unwrap().1.parse().unwrap()
}

struct Delta {
    world: World,
    server: Server,
    client: Client,
    /// What the client applied.
    has: World,
    to_server: VecDeque<DeltaDiscoveryRequest>,
    to_client: VecDeque<DeltaDiscoveryResponse>,
}

impl Delta {
    fn new() -> Self {
        Self {
            world: World::default(),
            server: Server::new(Protocol::Delta),
            client: Client::new(Node { id: "node".to_owned(), ..Default::default() }),
            has: World::default(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { kind, name, version: Some(version) } => {
                self.world[kind].insert(NAMES[name].to_owned(), version);
            }
            Step::Publish { kind, name, version: None } => {
                self.world[kind].remove(NAMES[name]);
            }
            Step::Push { kind, removals } => self.push(kind, removals),
            Step::Subscribe { kind, wildcard: true, .. } => {
                self.subscribe(kind, Interest::Wildcard)
            }
            Step::Subscribe { kind, names, .. } => {
                self.subscribe(kind, Interest::Names(some_names(names)));
            }
            Step::ToServer => self.serve(),
            Step::ToClient => self.receive(),
            Step::Break => self.disconnect(),
        }
    }

    fn push(&mut self, kind: usize, removals: Removals) {
        let all = published(&self.world, kind);
        self.to_client.extend(self.server.push(TYPES[kind], &all, removals));
    }

    fn subscribe(&mut self, kind: usize, interest: Interest) {
        self.client.subscribe(TYPES[kind], interest);
        let wanted = self.client.wanted(TYPES[kind]).unwrap();
        self.has[kind].retain(|name, _| wanted.wants(name));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(request) = self.client.next_request() {
            self.to_server.push_back(request);
        }
    }

    fn serve(&mut self) {
        let Some(request) = self.to_server.pop_front() else { return };
        let event = self.server.on_request(request).unwrap();
        if event.wants_push() {
            let kind = TYPES.iter().position(|url| *url == event.type_url).unwrap();
            self.push(kind, Removals::Now);
        }
    }

    fn receive(&mut self) {
        let Some(response) = self.to_client.pop_front() else { return };
        let kind = TYPES.iter().position(|url| *url == response.type_url).unwrap();
        let update = self.client.on_response(response);
        let mut rejected = BTreeSet::new();
        for (name, any) in &update.updated {
            let version = version_in(any);
            match is_bad(version) {
                true => {
                    rejected.insert(name.clone());
                }
                false => {
                    self.has[kind].insert(name.clone(), version);
                }
            }
        }
        for name in &update.removed {
            self.has[kind].remove(name);
        }
        match rejected.is_empty() {
            true => self.client.ack(&update),
            false => self.client.nack_some(&update, &rejected, "bad"),
        }
        self.drain();
    }

    fn disconnect(&mut self) {
        self.to_server.clear();
        self.to_client.clear();
        self.server = Server::new(Protocol::Delta);
        self.client.reconnect();
        self.drain();
    }

    /// Lets everything in flight arrive; how many responses that took.
    fn settle(&mut self) -> usize {
        let mut responses = 0;
        for _ in 0..1000 {
            for kind in 0..TYPES.len() {
                self.push(kind, Removals::Now);
            }
            if self.to_client.is_empty() && self.to_server.is_empty() {
                return responses;
            }
            while !self.to_server.is_empty() {
                self.serve();
            }
            while !self.to_client.is_empty() {
                responses += 1;
                self.receive();
            }
        }
        panic!("the ends never agree");
    }
}

/// What a client should have: what is published and wanted. It keeps what it had of a resource
/// whose new version it rejects, so nothing is said of those.
fn check(world: &World, has: &World, kind: usize, wants: impl Fn(&str) -> bool) {
    for name in NAMES {
        let published = world[kind].get(name).filter(|_| wants(name)).copied();
        if published.is_none_or(|version| !is_bad(version)) {
            assert_eq!(has[kind].get(name).copied(), published, "{name} of {}", TYPES[kind]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn delta_is_the_state_of_the_world(steps in steps()) {
        let mut link = Delta::new();
        for step in steps {
            link.step(step);
        }
        link.settle();
        for (kind, type_url) in TYPES.into_iter().enumerate() {
            let wanted = link.client.wanted(type_url).cloned().unwrap_or_default();
            check(&link.world, &link.has, kind, |name| wanted.wants(name));
        }
        prop_assert_eq!(link.settle(), 0, "what was said is said again");
        // A stream that breaks now brings nothing but the rejected ones again.
        link.disconnect();
        link.settle();
        let again = link.has.clone();
        prop_assert_eq!(link.settle(), 0);
        prop_assert_eq!(&link.has, &again);
    }

    #[test]
    fn sotw_settles_too(steps in steps()) {
        let mut link = Sotw::new();
        for step in steps {
            link.step(step);
        }
        link.settle();
        for kind in 0..TYPES.len() {
            let wants = link.client[kind].clone();
            check_sotw(&link, kind, |name| wants.wants(name));
        }
        prop_assert_eq!(link.settle(), 0, "what was said is said again");
    }
}

/// What Envoy remembers of a type on a state-of-the-world stream.
#[derive(Clone, Default)]
struct Watch {
    asked: bool,
    wildcard: bool,
    names: BTreeSet<String>,
    nonce: String,
}

impl Watch {
    fn wants(&self, name: &str) -> bool {
        self.asked && (self.wildcard || self.names.contains(name))
    }
}

struct Sotw {
    world: World,
    server: Server,
    client: [Watch; 2],
    has: World,
    to_server: VecDeque<DiscoveryRequest>,
    to_client: VecDeque<DiscoveryResponse>,
}

impl Sotw {
    fn new() -> Self {
        Self {
            world: World::default(),
            server: Server::new(Protocol::Sotw),
            client: Default::default(),
            has: World::default(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { kind, name, version: Some(version) } => {
                self.world[kind].insert(NAMES[name].to_owned(), version);
            }
            // Of endpoints nothing is removed while somebody asks for them: their cluster goes.
            Step::Publish { kind: 0, name, version: None } => {
                self.world[0].remove(NAMES[name]);
            }
            Step::Publish { .. } => {}
            Step::Push { kind, .. } => self.push(kind),
            // As Envoy does: of clusters everything, of endpoints names.
            Step::Subscribe { kind: 0, .. } => self.subscribe(0, true, BTreeSet::new()),
            Step::Subscribe { names, .. } => self.subscribe(1, false, some_names(names)),
            Step::ToServer => self.serve(),
            Step::ToClient => self.receive(),
            Step::Break => self.disconnect(),
        }
    }

    fn push(&mut self, kind: usize) {
        let all = published(&self.world, kind);
        self.to_client.extend(self.server.sotw_push(TYPES[kind], "v", &all));
    }

    fn subscribe(&mut self, kind: usize, wildcard: bool, names: BTreeSet<String>) {
        let watch = &mut self.client[kind];
        (watch.asked, watch.wildcard, watch.names) = (true, wildcard, names);
        let watch = watch.clone();
        self.has[kind].retain(|name, _| watch.wants(name));
        self.request(kind);
    }

    fn request(&mut self, kind: usize) {
        let watch = &self.client[kind];
        self.to_server.push_back(DiscoveryRequest {
            type_url: TYPES[kind].to_owned(),
            resource_names: watch.names.iter().cloned().collect(),
            response_nonce: watch.nonce.clone(),
            ..Default::default()
        });
    }

    fn serve(&mut self) {
        let Some(request) = self.to_server.pop_front() else { return };
        let event = self.server.on_sotw_request(request).unwrap();
        if event.wants_push() {
            let kind = TYPES.iter().position(|url| *url == event.type_url).unwrap();
            self.push(kind);
        }
    }

    fn receive(&mut self) {
        let Some(response) = self.to_client.pop_front() else { return };
        let kind = TYPES.iter().position(|url| *url == response.type_url).unwrap();
        let watch = &mut self.client[kind];
        watch.nonce = response.nonce;
        let watch = watch.clone();
        if kind == 0 {
            self.has[kind].clear();
        }
        for any in &response.resources {
            let name = std::str::from_utf8(&any.value).unwrap().split_once('=').unwrap().0;
            if watch.wants(name) {
                self.has[kind].insert(name.to_owned(), version_in(any));
            }
        }
        self.request(kind);
    }

    fn disconnect(&mut self) {
        self.to_server.clear();
        self.to_client.clear();
        self.server = Server::new(Protocol::Sotw);
        for kind in 0..TYPES.len() {
            self.client[kind].nonce.clear();
            if self.client[kind].asked {
                self.request(kind);
            }
        }
    }

    fn settle(&mut self) -> usize {
        let mut responses = 0;
        for _ in 0..1000 {
            for kind in 0..TYPES.len() {
                self.push(kind);
            }
            if self.to_client.is_empty() && self.to_server.is_empty() {
                return responses;
            }
            while !self.to_server.is_empty() {
                self.serve();
            }
            while !self.to_client.is_empty() {
                responses += 1;
                self.receive();
            }
        }
        panic!("the ends never agree");
    }
}

fn check_sotw(link: &Sotw, kind: usize, wants: impl Fn(&str) -> bool) {
    for name in NAMES {
        let published = link.world[kind].get(name).filter(|_| wants(name));
        assert_eq!(link.has[kind].get(name), published, "{name} of {}", TYPES[kind]);
    }
}

#[test]
fn only_the_first_request_of_a_stream_has_the_node() {
    let mut client = Client::new(Node { id: "node".to_owned(), ..Default::default() });
    client.subscribe(CLUSTERS, Interest::Wildcard);
    client.subscribe(ENDPOINTS, Interest::Names(some_names(1)));
    let nodes = |client: &mut Client| {
        std::iter::from_fn(|| client.next_request()).map(|r| r.node.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(nodes(&mut client), [true, false]);
    client.reconnect();
    assert_eq!(nodes(&mut client), [true, false]);
}

#[test]
fn answers_to_an_earlier_stream_are_not_sent() {
    let mut client = Client::new(Node::default());
    client.subscribe(CLUSTERS, Interest::Wildcard);
    let _ = client.next_request();
    let update = client.on_response(DeltaDiscoveryResponse {
        type_url: CLUSTERS.to_owned(),
        nonce: "1".to_owned(),
        ..Default::default()
    });
    client.reconnect();
    client.ack(&update);
    let requests: Vec<_> = std::iter::from_fn(|| client.next_request()).collect();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].response_nonce, "");
}
