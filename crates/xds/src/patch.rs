//! EnvoyFilter's patches: changes to encoded resources, by reflection on their protobuf messages.
//!
//! Pure. A patch is compiled once ([`Patch::new`]) and applied to what was generated for a proxy
//! ([`apply`]). A patch that cannot be applied is left out and told, and the others go on; a
//! resource that no patch changes keeps its bytes. The rules are those of Istio's EnvoyFilter
//! (<https://istio.io/latest/docs/reference/config/networking/envoy-filter/>).

mod compile;
mod encode;
mod list;
mod listener;
mod matching;
mod merge;
mod refusal;
mod route;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use prost_reflect::{DynamicMessage, Value};

use crate::ResourceType;
pub use compile::Patch;
pub use matching::{
    ClusterMatch, FilterChainSelector, ListenerMatch, Match, RouteConfigurationMatch,
    RouteSelector, VirtualHostMatch,
};

/// What a patch changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApplyTo {
    /// A listener.
    Listener,
    /// A filter chain of a listener.
    FilterChain,
    /// A network filter of a chain.
    NetworkFilter,
    /// An HTTP filter of a connection manager.
    HttpFilter,
    /// A listener filter.
    ListenerFilter,
    /// A route configuration.
    RouteConfiguration,
    /// A virtual host of one.
    VirtualHost,
    /// A route of a virtual host.
    HttpRoute,
    /// A cluster.
    Cluster,
}

/// How it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// By protobuf's merge; lists grow.
    Merge,
    /// The same, but lists are replaced.
    MergeAndReplaceList,
    /// Adds to the list.
    Add,
    /// Takes what matches away.
    Remove,
    /// Inserts before what matches; at the beginning when nothing is asked for.
    InsertBefore,
    /// Inserts after what matches; at the end when nothing is asked for.
    InsertAfter,
    /// Inserts at the beginning.
    InsertFirst,
    /// Puts another in the place of what matches.
    Replace,
}

/// Which side of which proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PatchContext {
    /// All.
    #[default]
    Any,
    /// Into a sidecar's workload.
    SidecarInbound,
    /// Out of it.
    SidecarOutbound,
    /// A gateway.
    Gateway,
}

impl PatchContext {
    fn includes(self, other: Self) -> bool {
        self == Self::Any || self == other
    }
}

/// Where an added filter goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FilterClass {
    /// Before the last filter.
    #[default]
    Unspecified,
    /// After authentication.
    Authn,
    /// After authorization.
    Authz,
    /// Before metrics.
    Stats,
}

/// The patches for one proxy, in their order, and what matching needs to know of it.
#[derive(Clone, Debug, Default)]
pub struct Patches {
    /// In the order of application.
    pub patches: Vec<Arc<Patch>>,
    /// Whether the proxy is a gateway.
    pub gateway: bool,
    /// The services behind each port of a sidecar's workload: host name and service port.
    pub inbound: BTreeMap<u16, Vec<(String, u16)>>,
    /// Leave out what Mizzen's own proxy does not take: for a proxy that would refuse it.
    pub must_decode: bool,
}

/// What became of one patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its place in [`Patches::patches`].
    pub patch: usize,
    /// How many resources it changed.
    pub applied: usize,
    /// Why it was not applied to others, as resource and reason; each reason once.
    pub errors: Vec<String>,
}

/// Resources of one type after patching.
#[derive(Clone, Debug, Default)]
pub struct Patched {
    /// By name, in the order given, added ones at the end.
    pub resources: Vec<(String, pb::Any)>,
    /// Of the patches for this type.
    pub outcomes: Vec<Outcome>,
}

/// A resource on its way through the patches.
struct Item {
    name: String,
    original: pb::Any,
    message: DynamicMessage,
    changed: bool,
    removed: bool,
}

/// Applies the patches for `kind` to its resources.
#[must_use]
pub fn apply(kind: ResourceType, resources: Vec<(String, pb::Any)>, patches: &Patches) -> Patched {
    let mut ordered: Vec<(usize, &Patch)> =
        patches.patches.iter().map(AsRef::as_ref).enumerate().collect();
    ordered.retain(|(_, patch)| patch.concerns(kind));
    if ordered.is_empty() {
        return Patched { resources, outcomes: Vec::new() };
    }
    ordered.sort_by_key(|(_, patch)| phase(patch));
    let mut items: Vec<Item> = Vec::new();
    let mut untouched = Vec::new();
    for (name, any) in resources {
        match encode::decode(&any) {
            Ok(message) => {
                items.push(Item { name, original: any, message, changed: false, removed: false })
            }
            Err(_) => untouched.push((name, any)),
        }
    }
    let outcomes = ordered
        .into_iter()
        .map(|(index, patch)| {
            let mut outcome = Outcome { patch: index, applied: 0, errors: Vec::new() };
            one(kind, &mut items, patch, patches, &mut outcome);
            outcome
        })
        .collect();
    let kept = items.into_iter().filter(|item| !item.removed).map(|item| {
        let any = if item.changed { encode::any(&item.message) } else { item.original };
        (item.name, any)
    });
    Patched { resources: kept.chain(untouched).collect(), outcomes }
}

/// Istio's order of kinds: what holds others first, and added listeners and clusters last.
fn phase(patch: &Patch) -> u8 {
    match patch.apply_to {
        ApplyTo::Listener | ApplyTo::Cluster if patch.operation == Operation::Add => 9,
        ApplyTo::Listener | ApplyTo::Cluster | ApplyTo::RouteConfiguration => 0,
        ApplyTo::ListenerFilter | ApplyTo::VirtualHost => 1,
        ApplyTo::FilterChain | ApplyTo::HttpRoute => 2,
        ApplyTo::NetworkFilter => 3,
        ApplyTo::HttpFilter => 4,
    }
}

/// Applies one patch to all resources of a type.
fn one(
    kind: ResourceType,
    items: &mut Vec<Item>,
    patch: &Patch,
    patches: &Patches,
    outcome: &mut Outcome,
) {
    let whole = matches!(patch.apply_to, ApplyTo::Listener | ApplyTo::Cluster);
    if whole && patch.operation == Operation::Add {
        return add(items, patch, patches, outcome);
    }
    for item in items.iter_mut().filter(|item| !item.removed) {
        if whole && patch.operation == Operation::Remove {
            if matching::resource(kind, &item.message, patch, patches) {
                item.removed = true;
                outcome.applied += 1;
            }
            continue;
        }
        let mut next = item.message.clone();
        let result = change(kind, &mut next, patch, patches).and_then(|changed| {
            if changed {
                accept(&item.original, &next, patches)?;
            }
            Ok(changed)
        });
        match result {
            Ok(true) => {
                item.message = next;
                item.changed = true;
                outcome.applied += 1;
            }
            Ok(false) => {}
            Err(reason) => note(outcome, &item.name, &reason),
        }
    }
}

fn change(
    kind: ResourceType,
    message: &mut DynamicMessage,
    patch: &Patch,
    patches: &Patches,
) -> Result<bool, String> {
    match kind {
        ResourceType::Cluster => {
            if !matching::resource(kind, message, patch, patches) {
                return Ok(false);
            }
            patch.merge_into(message)?;
            Ok(true)
        }
        ResourceType::Listener => listener::change(message, patch, patches),
        ResourceType::RouteConfiguration => {
            let context =
                if patches.gateway { PatchContext::Gateway } else { PatchContext::SidecarOutbound };
            route::change(message, patch, context, patches)
        }
        _ => Ok(false),
    }
}

/// Refuses what the proxy is known to refuse. What it refuses without the patch is not the
/// patch's fault.
fn accept(original: &pb::Any, next: &DynamicMessage, patches: &Patches) -> Result<(), String> {
    if !patches.must_decode {
        return Ok(());
    }
    match refusal::refusal(&encode::any(next)) {
        Some(reason) if refusal::refusal(original).is_none() => {
            Err(format!("Mizzen's proxy would refuse the result: {reason}"))
        }
        _ => Ok(()),
    }
}

fn add(items: &mut Vec<Item>, patch: &Patch, patches: &Patches, outcome: &mut Outcome) {
    let side = |context| patch.context.includes(context);
    let wanted = if patches.gateway {
        side(PatchContext::Gateway)
    } else {
        side(PatchContext::SidecarInbound) || side(PatchContext::SidecarOutbound)
    };
    let Some(message) = patch.value.as_ref().filter(|_| wanted) else { return };
    let name = text(message, "name").to_owned();
    if name.is_empty() {
        return note(outcome, "what is added", "it has no name");
    }
    if items.iter().any(|item| item.name == name && !item.removed) {
        return note(outcome, &name, "a resource with this name is already there");
    }
    let original = encode::any(message);
    if patches.must_decode
        && let Some(reason) = refusal::refusal(&original)
    {
        return note(outcome, &name, &format!("Mizzen's proxy would refuse it: {reason}"));
    }
    outcome.applied += 1;
    items.push(Item { name, original, message: message.clone(), changed: false, removed: false });
}

fn note(outcome: &mut Outcome, resource: &str, reason: &str) {
    let known = outcome.errors.iter().any(|error| error.ends_with(reason));
    if !known {
        outcome.errors.push(format!("{resource}: {reason}"));
    }
}

/// A text field; empty when it is unset or something else.
fn text<'a>(message: &'a DynamicMessage, field: &str) -> &'a str {
    match message.get_field_by_name(field) {
        Some(std::borrow::Cow::Borrowed(Value::String(text))) => text,
        _ => "",
    }
}

/// A message field that is set.
fn child<'a>(message: &'a DynamicMessage, field: &str) -> Option<&'a DynamicMessage> {
    if !message.has_field_by_name(field) {
        return None;
    }
    match message.get_field_by_name(field) {
        Some(std::borrow::Cow::Borrowed(Value::Message(inner))) => Some(inner),
        _ => None,
    }
}

/// A list field's values.
fn items<'a>(message: &'a DynamicMessage, field: &str) -> &'a [Value] {
    match message.get_field_by_name(field) {
        Some(std::borrow::Cow::Borrowed(Value::List(values))) => values,
        _ => &[],
    }
}

/// A whole number's field, or that of its wrapper message.
fn number(message: &DynamicMessage, field: &str) -> u32 {
    let Some(value) = message.get_field_by_name(field) else { return 0 };
    match value.as_ref() {
        Value::U32(number) => *number,
        Value::Message(wrapper) => number_of(wrapper),
        _ => 0,
    }
}

fn number_of(wrapper: &DynamicMessage) -> u32 {
    wrapper.get_field_by_name("value").and_then(|value| value.as_u32()).unwrap_or_default()
}
