//! The delta variant: requests change the subscription, responses tell what changed.

use std::collections::{BTreeMap, BTreeSet};

use pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};

use super::{Delivery, EventKind, Server, ServerEvent, SubscriptionChange, TypeState};
use crate::session::{
    Encoded, Protocol, ProtocolError, Removals,
    subscription::{WILDCARD, has_wildcard},
};

impl Server {
    /// Takes a request of a delta stream.
    ///
    /// # Errors
    /// When the request breaks the protocol; the stream should end with `INVALID_ARGUMENT`.
    pub fn on_request(
        &mut self,
        request: DeltaDiscoveryRequest,
    ) -> Result<ServerEvent, ProtocolError> {
        if self.protocol != Protocol::Delta {
            return Err(ProtocolError::WrongVariant(self.protocol));
        }
        if request.type_url.is_empty() {
            return Err(ProtocolError::MissingType);
        }
        let type_url = request.type_url;
        let first = !self.types.contains_key(&type_url);
        let state = self.types.entry(type_url.clone()).or_default();
        // A nonce of an earlier stream says nothing on this one.
        let kind = match first {
            true => EventKind::Subscribed,
            false => state.answer(&request.response_nonce, request.error_detail),
        };
        let mut change = SubscriptionChange { first, ..Default::default() };
        if first {
            state.owed = true;
            if request.resource_names_subscribe.is_empty() && has_wildcard(&type_url) {
                state.subscribe(WILDCARD.to_owned(), &mut change);
            }
        }
        for name in request.resource_names_subscribe {
            state.subscribe(name, &mut change);
        }
        if first {
            state.known = request.initial_resource_versions.into_iter().collect();
        }
        for name in request.resource_names_unsubscribe {
            state.unsubscribe(name, &mut change);
        }
        state.drop_unwanted();
        Ok(ServerEvent { type_url, kind, change })
    }

    /// What has to be sent so that the client has `resources`: all that it should see of the type
    /// now. None: nothing. What is not subscribed to is left out.
    pub fn push(
        &mut self,
        type_url: &str,
        resources: &BTreeMap<String, Encoded>,
        removals: Removals,
    ) -> Option<DeltaDiscoveryResponse> {
        let state = self.types.get(type_url).filter(|_| self.protocol == Protocol::Delta)?;
        let changed = state.changed(resources);
        let removed = state.removed(resources, removals);
        if changed.is_empty() && removed.is_empty() && !state.owed {
            return None;
        }
        let nonce = self.next_nonce();
        self.endpoints_follow(type_url, changed.iter().map(|resource| resource.name.as_str()));
        let state = self.types.get_mut(type_url)?;
        for resource in &changed {
            state.absent.remove(&resource.name);
            state.unsure.remove(&resource.name);
            state.known.insert(resource.name.clone(), resource.version.clone());
        }
        for name in &removed {
            state.known.remove(name);
            state.unsure.remove(name);
            if state.subscription.names.contains(name) {
                state.absent.insert(name.clone());
            }
        }
        state.deliver(Delivery { nonce: nonce.clone(), version: String::new() });
        Some(DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            resources: changed,
            removed_resources: removed.into_iter().collect(),
            nonce,
            ..Default::default()
        })
    }
}

impl TypeState {
    /// A name that is asked for again is sent again: the client may have forgotten what it had.
    fn subscribe(&mut self, name: String, change: &mut SubscriptionChange) {
        if name == WILDCARD {
            self.owed |= !self.subscription.wildcard;
            self.subscription.wildcard = true;
        } else {
            self.known.remove(&name);
            self.absent.remove(&name);
            self.owed = true;
            self.subscription.names.insert(name.clone());
        }
        change.added.push(name);
    }

    fn unsubscribe(&mut self, name: String, change: &mut SubscriptionChange) {
        if name == WILDCARD {
            self.subscription.wildcard = false;
        } else {
            self.subscription.names.remove(&name);
            self.absent.remove(&name);
            if self.subscription.wildcard {
                // The client cannot know whether the wildcard covers the name, so it is told.
                self.known.remove(&name);
                self.unsure.insert(name.clone());
                self.owed = true;
                change.added.push(name.clone());
            }
        }
        change.removed.push(name);
    }

    /// Forgets what is not wanted any more. The client does so too, but a response that it has not
    /// answered yet can still meet a later wish for everything.
    fn drop_unwanted(&mut self) {
        let subscription = &self.subscription;
        let unsure = &mut self.unsure;
        self.known.retain(|name, _| {
            let wanted = subscription.wants(name);
            if !wanted {
                unsure.insert(name.clone());
            }
            wanted
        });
        if self.in_flight.is_empty() {
            unsure.retain(|name| subscription.wants(name));
        }
    }

    fn changed(&self, resources: &BTreeMap<String, Encoded>) -> Vec<Resource> {
        let wanted = resources.iter().filter(|(name, _)| self.subscription.wants(name));
        wanted
            .filter(|(name, encoded)| self.known.get(*name) != Some(&encoded.version))
            .map(|(name, encoded)| Resource {
                name: name.clone(),
                version: encoded.version.clone(),
                resource: Some(encoded.any.clone()),
                ..Default::default()
            })
            .collect()
    }

    /// Names that the client has and should not, and names that it waits for in vain.
    fn removed(
        &self,
        resources: &BTreeMap<String, Encoded>,
        removals: Removals,
    ) -> BTreeSet<String> {
        let unsure = self.unsure.iter().filter(|name| self.subscription.wants(name));
        let had = self.known.keys().chain(unsure);
        let gone = had.filter(|_| removals == Removals::Now);
        let missing = self
            .subscription
            .names
            .iter()
            .filter(|name| !self.absent.contains(*name) && !self.known.contains_key(*name));
        gone.chain(missing).filter(|name| !resources.contains_key(*name)).cloned().collect()
    }
}
