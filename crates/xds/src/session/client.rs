//! The proxy's (or agent's) end of a delta stream, across reconnections.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pb::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    google::rpc::Status,
};

use super::subscription::{Subscription, WILDCARD, has_wildcard};
use crate::Node;

/// `google.rpc.Code.INVALID_ARGUMENT`: what a rejected response is answered with.
const INVALID_ARGUMENT: i32 = 3;

/// What a client wants to see of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Everything.
    Wildcard,
    /// These names.
    Names(BTreeSet<String>),
}

/// The proxy's end of a delta stream, across reconnections.
///
/// After each call, drain [`Client::next_request`]. When a stream breaks, open a new one and call
/// [`Client::reconnect`].
#[derive(Debug)]
pub struct Client {
    node: Node,
    node_sent: bool,
    /// Which stream this is; answers to responses of an earlier one are not sent.
    stream: u64,
    types: BTreeMap<String, TypeState>,
    answers: VecDeque<Answer>,
}

#[derive(Debug, Default)]
struct TypeState {
    wanted: Subscription,
    /// What this stream's requests asked for so far; none: nothing was sent.
    asked: Option<Subscription>,
    /// What was accepted: name to version.
    accepted: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Answer {
    type_url: String,
    nonce: String,
    error: Option<String>,
}

/// What a response brings: decode and apply it, then call [`Client::ack`] or [`Client::nack`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClientUpdate {
    /// The type.
    pub type_url: String,
    /// New and changed resources.
    pub updated: Vec<(String, pb::Any)>,
    /// Names that are gone or do not exist.
    pub removed: Vec<String>,
    /// The response's nonce.
    pub nonce: String,
    /// The server's version of all of its resources, if it tells one.
    pub system_version: String,
    versions: BTreeMap<String, String>,
    stream: u64,
}

impl Client {
    /// A client that has no subscription yet.
    pub fn new(node: Node) -> Self {
        let (types, answers) = (BTreeMap::new(), VecDeque::new());
        Self { node, node_sent: false, stream: 0, types, answers }
    }

    /// From now on, this is what is wanted of a type. [`crate::ResourceType::type_url`] names it.
    pub fn subscribe(&mut self, type_url: &str, interest: Interest) {
        let state = self.types.entry(type_url.to_owned()).or_default();
        state.wanted = match interest {
            Interest::Wildcard => Subscription { wildcard: true, names: BTreeSet::new() },
            Interest::Names(names) => Subscription { wildcard: false, names },
        };
        let wanted = &state.wanted;
        state.accepted.retain(|name, _| wanted.wants(name));
    }

    /// What is wanted of a type; none: it was never subscribed to.
    pub fn wanted(&self, type_url: &str) -> Option<&Subscription> {
        self.types.get(type_url).map(|state| &state.wanted)
    }

    /// Names and versions that were accepted of a type.
    pub fn accepted(&self, type_url: &str) -> Option<&BTreeMap<String, String>> {
        self.types.get(type_url).map(|state| &state.accepted)
    }

    /// Takes a response. What is not wanted (any more) is left out.
    pub fn on_response(&mut self, response: DeltaDiscoveryResponse) -> ClientUpdate {
        let nothing = Subscription::default();
        let wanted = self.types.get(&response.type_url).map_or(&nothing, |state| &state.wanted);
        let mut versions = BTreeMap::new();
        let mut updated = Vec::new();
        for resource in response.resources {
            // Without a body it only prolongs a time to live.
            let Some(any) = resource.resource.filter(|_| wanted.wants(&resource.name)) else {
                continue;
            };
            versions.insert(resource.name.clone(), resource.version);
            updated.push((resource.name, any));
        }
        let mut removed = response.removed_resources;
        removed.retain(|name| wanted.wants(name));
        ClientUpdate {
            type_url: response.type_url,
            updated,
            removed,
            nonce: response.nonce,
            system_version: response.system_version_info,
            versions,
            stream: self.stream,
        }
    }

    /// The update was applied.
    pub fn ack(&mut self, update: &ClientUpdate) {
        self.accept(update, &BTreeSet::new());
        self.answer(update, None);
    }

    /// Nothing of the update was applied.
    pub fn nack(&mut self, update: &ClientUpdate, detail: impl Into<String>) {
        self.answer(update, Some(detail.into()));
    }

    /// The update was applied except for the names in `rejected`.
    pub fn nack_some(
        &mut self,
        update: &ClientUpdate,
        rejected: &BTreeSet<String>,
        detail: impl Into<String>,
    ) {
        self.accept(update, rejected);
        self.answer(update, Some(detail.into()));
    }

    /// The stream broke: from now on requests are for a new one.
    pub fn reconnect(&mut self) {
        self.stream += 1;
        self.node_sent = false;
        self.answers.clear();
        for state in self.types.values_mut() {
            state.asked = None;
        }
    }

    /// The next request to send, if any.
    pub fn next_request(&mut self) -> Option<DeltaDiscoveryRequest> {
        let mut request = self.next_answer().or_else(|| self.next_subscription())?;
        if !self.node_sent {
            self.node_sent = true;
            request.node = Some(self.node.to_proto());
        }
        Some(request)
    }

    fn accept(&mut self, update: &ClientUpdate, rejected: &BTreeSet<String>) {
        let Some(state) = self.types.get_mut(&update.type_url) else {
            return;
        };
        for (name, version) in &update.versions {
            if state.wanted.wants(name) && !rejected.contains(name) {
                state.accepted.insert(name.clone(), version.clone());
            }
        }
        for name in &update.removed {
            state.accepted.remove(name);
        }
    }

    fn answer(&mut self, update: &ClientUpdate, error: Option<String>) {
        if update.stream == self.stream {
            let (type_url, nonce) = (update.type_url.clone(), update.nonce.clone());
            self.answers.push_back(Answer { type_url, nonce, error });
        }
    }

    fn next_answer(&mut self) -> Option<DeltaDiscoveryRequest> {
        let Answer { type_url, nonce, error } = self.answers.pop_front()?;
        let status = |message| Status { code: INVALID_ARGUMENT, message, details: Vec::new() };
        Some(DeltaDiscoveryRequest {
            type_url,
            response_nonce: nonce,
            error_detail: error.map(status),
            ..Default::default()
        })
    }

    fn next_subscription(&mut self) -> Option<DeltaDiscoveryRequest> {
        let mut types = self.types.iter_mut();
        types.find_map(|(type_url, state)| state.next_request(type_url))
    }
}

impl TypeState {
    fn next_request(&mut self, type_url: &str) -> Option<DeltaDiscoveryRequest> {
        if self.asked.as_ref() == Some(&self.wanted) {
            return None;
        }
        let mut request =
            DeltaDiscoveryRequest { type_url: type_url.to_owned(), ..Default::default() };
        match &self.asked {
            // Asking for no name at all would ask for everything.
            None if self.wanted.is_empty() => return None,
            None => {
                // Everything is asked for by no name where all control planes understand that.
                let implied = self.wanted.names.is_empty() && has_wildcard(type_url);
                let star = (self.wanted.wildcard && !implied).then(|| WILDCARD.to_owned());
                request.resource_names_subscribe =
                    self.wanted.names.iter().cloned().chain(star).collect();
                request.initial_resource_versions = self.accepted.clone().into_iter().collect();
            }
            Some(asked) => {
                let (wanted, asked_names) = (&self.wanted, &asked.names);
                let added = wanted.names.difference(asked_names).cloned();
                let removed = asked_names.difference(&wanted.names).cloned();
                let star = || WILDCARD.to_owned();
                request.resource_names_subscribe =
                    added.chain((wanted.wildcard && !asked.wildcard).then(star)).collect();
                request.resource_names_unsubscribe =
                    removed.chain((asked.wildcard && !wanted.wildcard).then(star)).collect();
            }
        }
        self.asked = Some(self.wanted.clone());
        Some(request)
    }
}
