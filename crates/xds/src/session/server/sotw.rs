//! The state-of-the-world variant: each request names all that is wanted.

use std::collections::{BTreeMap, BTreeSet};

use pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};

use super::{Delivery, EventKind, Server, ServerEvent, SubscriptionChange, TypeState};
use crate::session::{
    Encoded, Protocol, ProtocolError, Subscription,
    subscription::{WILDCARD, has_wildcard},
};

impl Server {
    /// Takes a request of a state-of-the-world stream.
    ///
    /// # Errors
    /// When the request breaks the protocol; the stream should end with `INVALID_ARGUMENT`.
    pub fn on_sotw_request(
        &mut self,
        request: DiscoveryRequest,
    ) -> Result<ServerEvent, ProtocolError> {
        if self.protocol != Protocol::Sotw {
            return Err(ProtocolError::WrongVariant(self.protocol));
        }
        if request.type_url.is_empty() {
            return Err(ProtocolError::MissingType);
        }
        let type_url = request.type_url;
        let first = !self.types.contains_key(&type_url);
        let state = self.types.entry(type_url.clone()).or_default();
        let nonce = request.response_nonce;
        let latest = state.sent.as_ref().is_none_or(|sent| sent.nonce == nonce);
        let kind = match first {
            true => EventKind::Subscribed,
            // The client sends its names again when it answers the latest response.
            false if !latest && !nonce.is_empty() => EventKind::Stale,
            // A change of the subscription carries the nonce that was answered already.
            false => match state.answer(&nonce, request.error_detail) {
                EventKind::Stale => EventKind::Subscribed,
                kind => kind,
            },
        };
        let mut change = SubscriptionChange { first, ..Default::default() };
        let names = request.resource_names.into_iter().collect();
        if kind == EventKind::Stale {
            state.give_up(&names, &mut change);
        } else {
            state.owed |= first;
            state.resubscribe(names, has_wildcard(&type_url), &mut change);
        }
        Ok(ServerEvent { type_url, kind, change })
    }

    /// What has to be sent so that the client has `resources`: all that it should see of the type
    /// now. None: nothing. A response to a wildcard subscription holds everything, so that what it
    /// lacks is removed; one to named resources holds those that changed.
    pub fn sotw_push(
        &mut self,
        type_url: &str,
        version: &str,
        resources: &BTreeMap<String, Encoded>,
    ) -> Option<DiscoveryResponse> {
        let state = self.types.get_mut(type_url).filter(|_| self.protocol == Protocol::Sotw)?;
        let wanted: BTreeMap<&String, &Encoded> =
            resources.iter().filter(|(name, _)| state.subscription.wants(name)).collect();
        let before = state.known.len();
        state.known.retain(|name, _| wanted.contains_key(name));
        let gone = state.known.len() < before;
        let changed: BTreeSet<&String> = wanted
            .iter()
            .filter(|(name, encoded)| state.known.get(**name) != Some(&encoded.version))
            .map(|(name, _)| *name)
            .collect();
        let full = has_wildcard(type_url);
        if changed.is_empty() && !(gone && full) && !state.owed {
            return None;
        }
        let sent = wanted.iter().filter(|(name, _)| full || changed.contains(**name));
        let sent: Vec<pb::Any> = sent.map(|(_, encoded)| encoded.any.clone()).collect();
        for name in &changed {
            if let Some(encoded) = wanted.get(*name) {
                state.known.insert((*name).clone(), encoded.version.clone());
            }
        }
        let nonce = self.next_nonce();
        self.endpoints_follow(type_url, changed.iter().map(|name| name.as_str()));
        let state = self.types.get_mut(type_url)?;
        state.deliver(Delivery { nonce: nonce.clone(), version: version.to_owned() });
        Some(DiscoveryResponse {
            version_info: version.to_owned(),
            type_url: type_url.to_owned(),
            resources: sent,
            nonce,
            ..Default::default()
        })
    }
}

impl TypeState {
    /// What a stale request does not name was forgotten by the client, even if a later one names
    /// it again. What it names besides will come with the answer to the latest response.
    fn give_up(&mut self, names: &BTreeSet<String>, change: &mut SubscriptionChange) {
        if self.subscription.wildcard || names.contains(WILDCARD) {
            return;
        }
        let gone: Vec<String> = self.subscription.names.difference(names).cloned().collect();
        for name in &gone {
            self.subscription.names.remove(name);
            self.known.remove(name);
        }
        change.removed = gone;
    }

    /// The subscription becomes `names`; an empty list means everything (of a wildcard type) until
    /// the first list with names, and nothing from then on.
    fn resubscribe(
        &mut self,
        mut names: BTreeSet<String>,
        has_wildcard: bool,
        change: &mut SubscriptionChange,
    ) {
        let legacy = names.is_empty() && !self.explicit && has_wildcard;
        self.explicit |= !names.is_empty();
        let wildcard = names.remove(WILDCARD) || legacy;
        let next = Subscription { wildcard, names };
        let before = std::mem::replace(&mut self.subscription, next);
        let now = &self.subscription;
        change.added.extend(now.names.difference(&before.names).cloned());
        change.removed.extend(before.names.difference(&now.names).cloned());
        if now.wildcard && !before.wildcard {
            change.added.push(WILDCARD.to_owned());
        }
        if before.wildcard && !now.wildcard {
            change.removed.push(WILDCARD.to_owned());
        }
        self.owed |= !change.added.is_empty();
        let dropped = |name: &String| change.added.contains(name) || !now.wants(name);
        self.known.retain(|name, _| !dropped(name));
    }
}
