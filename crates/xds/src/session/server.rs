//! The control plane's end of one stream.

mod delta;
mod sotw;

use std::collections::{BTreeMap, BTreeSet};

use pb::google::rpc::Status;

use super::{Protocol, Subscription};
use crate::ResourceType;

/// How many unanswered responses of a type are remembered; answers to older ones are stale.
const MAX_IN_FLIGHT: usize = 256;

/// The control plane's end of one stream: make one for each.
///
/// Feed it each request; when [`ServerEvent::wants_push`] says so, and whenever resources change,
/// call [`Server::push`] (or [`Server::sotw_push`]) with all that the client should see of a type.
/// It finds out what has to be sent.
#[derive(Debug)]
pub struct Server {
    protocol: Protocol,
    last_nonce: u64,
    types: BTreeMap<String, TypeState>,
    nothing: BTreeMap<String, String>,
}

/// What one stream remembers of one type.
#[derive(Debug, Default)]
struct TypeState {
    subscription: Subscription,
    /// State of the world: a list of names was sent before, so an empty one now means none.
    explicit: bool,
    /// What the client has, or rejected: name to the version that was sent last.
    known: BTreeMap<String, String>,
    /// Names that were asked for and of which the client knows that they do not exist.
    absent: BTreeSet<String>,
    /// Names of which the client may or may not have the resource: tell it either way.
    unsure: BTreeSet<String>,
    /// The client waits for a response, even an empty one.
    owed: bool,
    /// Nonces that were not answered yet, with their versions, oldest first.
    in_flight: Vec<Delivery>,
    sent: Option<Delivery>,
    acked: Option<Delivery>,
    nacked: Option<(Delivery, String)>,
}

/// One response, as the server remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The response's nonce.
    pub nonce: String,
    /// The response's version (`version_info` or `system_version_info`).
    pub version: String,
}

/// How much one stream has to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Types that were asked for.
    pub types: usize,
    /// Bytes of names and versions of resources.
    pub text: usize,
}

/// What a request meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// The type that it is about.
    pub type_url: String,
    /// What it says of earlier responses.
    pub kind: EventKind,
    /// What it changes in the subscription; a request can do both.
    pub change: SubscriptionChange,
}

impl ServerEvent {
    /// Whether the client waits for something: push the type now.
    pub fn wants_push(&self) -> bool {
        self.change.first || !self.change.added.is_empty()
    }
}

/// What a request says of earlier responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Nothing: it is only about the subscription.
    Subscribed,
    /// The response with this nonce was accepted.
    Acked {
        /// The response's nonce.
        nonce: String,
    },
    /// The response with this nonce was rejected.
    Nacked {
        /// The response's nonce.
        nonce: String,
        /// The client's reason.
        detail: String,
    },
    /// It answers a response that was answered or superseded; what it says of it is ignored.
    Stale,
}

/// What a request changed in a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// It is the type's first request on this stream.
    pub first: bool,
    /// Names that were added (or asked for again); `*` is everything.
    pub added: Vec<String>,
    /// Names that were given up.
    pub removed: Vec<String>,
}

impl Server {
    /// A new stream.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, last_nonce: 0, types: BTreeMap::new(), nothing: BTreeMap::new() }
    }

    /// The variant that the stream speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What the client wants of a type; none: it never asked.
    pub fn subscription(&self, type_url: &str) -> Option<&Subscription> {
        self.types.get(type_url).map(|state| &state.subscription)
    }

    /// Names and versions that the client has of a type (or was sent and rejected).
    pub fn known(&self, type_url: &str) -> &BTreeMap<String, String> {
        self.types.get(type_url).map_or(&self.nothing, |state| &state.known)
    }

    /// The type's last response.
    pub fn sent(&self, type_url: &str) -> Option<&Delivery> {
        self.types.get(type_url)?.sent.as_ref()
    }

    /// The type's last response that the client accepted.
    pub fn acked(&self, type_url: &str) -> Option<&Delivery> {
        self.types.get(type_url)?.acked.as_ref()
    }

    /// The type's last response that the client rejected, with its reason, until it accepts one.
    pub fn nacked(&self, type_url: &str) -> Option<&(Delivery, String)> {
        self.types.get(type_url)?.nacked.as_ref()
    }

    /// How much the client made this end remember, to hold against a bound of the caller's.
    pub fn remembered(&self) -> Remembered {
        let text = |state: &TypeState| {
            let wanted = state.subscription.names.iter().chain(&state.absent).chain(&state.unsure);
            let known = state.known.iter().map(|(name, version)| name.len() + version.len());
            wanted.map(String::len).chain(known).sum::<usize>()
        };
        let text = self.types.iter().map(|(type_url, state)| type_url.len() + text(state)).sum();
        Remembered { types: self.types.len(), text }
    }

    /// Forgets that the client has a resource, so that the next push sends it again.
    pub fn forget(&mut self, type_url: &str, name: &str) {
        if let Some(state) = self.types.get_mut(type_url)
            && state.known.remove(name).is_some()
        {
            state.unsure.insert(name.to_owned());
        }
    }

    /// A cluster that is replaced warms up until its endpoints come, and Envoy does not ask again
    /// for a name that it is already subscribed to. So endpoints of the same name follow.
    fn endpoints_follow<'a>(&mut self, type_url: &str, clusters: impl Iterator<Item = &'a str>) {
        if type_url != ResourceType::Cluster.type_url() {
            return;
        }
        for name in clusters {
            self.forget(ResourceType::LoadAssignment.type_url(), name);
        }
    }

    fn next_nonce(&mut self) -> String {
        self.last_nonce += 1;
        self.last_nonce.to_string()
    }
}

impl TypeState {
    /// Takes note of a response that is about to be sent.
    fn deliver(&mut self, delivery: Delivery) {
        self.owed = false;
        if self.in_flight.len() == MAX_IN_FLIGHT {
            self.in_flight.remove(0);
        }
        self.in_flight.push(delivery.clone());
        self.sent = Some(delivery);
    }

    /// What an answer to `nonce` means.
    fn answer(&mut self, nonce: &str, error: Option<Status>) -> EventKind {
        if nonce.is_empty() {
            return EventKind::Subscribed;
        }
        let Some(at) = self.in_flight.iter().position(|delivery| delivery.nonce == nonce) else {
            return EventKind::Stale;
        };
        // A client answers in order, so what is older will not be answered any more.
        let Some(delivery) = self.in_flight.drain(..=at).next_back() else {
            return EventKind::Stale;
        };
        let nonce = delivery.nonce.clone();
        match error {
            None => {
                self.acked = Some(delivery);
                self.nacked = None;
                EventKind::Acked { nonce }
            }
            Some(Status { message: detail, .. }) => {
                self.nacked = Some((delivery, detail.clone()));
                EventKind::Nacked { nonce, detail }
            }
        }
    }
}
