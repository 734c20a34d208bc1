//! A patch made ready: its value as a message of the type that it changes.

use std::sync::Arc;

use prost_reflect::{DeserializeOptions, DynamicMessage};

use super::merge::{Lists, merge};
use super::{ApplyTo, FilterClass, Match, Operation, PatchContext, encode};
use crate::ResourceType;

/// A patch that is ready to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// The EnvoyFilter, as `namespace/name`.
    pub owner: Arc<str>,
    /// The patch in words for a message: object, field, file and line.
    pub title: String,
    /// What it changes.
    pub apply_to: ApplyTo,
    /// How.
    pub operation: Operation,
    /// On which side of which proxy.
    pub context: PatchContext,
    /// What exactly.
    pub matches: Match,
    /// Where an added filter goes.
    pub class: FilterClass,
    pub(super) value: Option<DynamicMessage>,
}

impl Patch {
    /// Compiles a patch that changes everything of a kind; the other fields can be set then.
    ///
    /// # Errors
    /// When `value` is not a message of the type that `apply_to` says, or when the operation is
    /// none for it; the text says what is wrong.
    pub fn new(
        apply_to: ApplyTo,
        operation: Operation,
        value: Option<&serde_json::Value>,
    ) -> Result<Self, String> {
        if !allowed(apply_to, operation) {
            return Err("this operation is not possible for what the patch applies to".to_owned());
        }
        let value = match value {
            _ if operation == Operation::Remove => None,
            None => return Err("the patch has no value".to_owned()),
            Some(value) => Some(message(apply_to, value)?),
        };
        Ok(Self {
            owner: Arc::from(""),
            title: String::new(),
            apply_to,
            operation,
            context: PatchContext::Any,
            matches: Match::default(),
            class: FilterClass::Unspecified,
            value,
        })
    }

    /// Whether it changes resources of this type.
    pub(super) fn concerns(&self, kind: ResourceType) -> bool {
        match self.apply_to {
            ApplyTo::Cluster => kind == ResourceType::Cluster,
            ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
                matches!(kind, ResourceType::Listener | ResourceType::RouteConfiguration)
            }
            _ => kind == ResourceType::Listener,
        }
    }

    /// Merges the value into a message of its type.
    pub(super) fn merge_into(&self, target: &mut DynamicMessage) -> Result<(), String> {
        let lists = if self.operation == Operation::MergeAndReplaceList {
            Lists::Replace
        } else {
            Lists::Append
        };
        self.value.as_ref().map_or(Ok(()), |value| merge(target, value, lists))
    }
}

fn allowed(apply_to: ApplyTo, operation: Operation) -> bool {
    use Operation::{
        Add, InsertAfter, InsertBefore, InsertFirst, Merge, MergeAndReplaceList, Remove, Replace,
    };
    match operation {
        Merge | MergeAndReplaceList => true,
        Add | Remove => apply_to != ApplyTo::RouteConfiguration,
        InsertBefore | InsertAfter | InsertFirst => matches!(
            apply_to,
            ApplyTo::NetworkFilter
                | ApplyTo::HttpFilter
                | ApplyTo::ListenerFilter
                | ApplyTo::HttpRoute
        ),
        Replace => matches!(
            apply_to,
            ApplyTo::NetworkFilter | ApplyTo::HttpFilter | ApplyTo::ListenerFilter
        ),
    }
}

fn type_name(apply_to: ApplyTo) -> &'static str {
    match apply_to {
        ApplyTo::Listener => "envoy.config.listener.v3.Listener",
        ApplyTo::FilterChain => "envoy.config.listener.v3.FilterChain",
        ApplyTo::NetworkFilter => "envoy.config.listener.v3.Filter",
        ApplyTo::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
        ApplyTo::HttpFilter => {
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
        }
        ApplyTo::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
        ApplyTo::VirtualHost => "envoy.config.route.v3.VirtualHost",
        ApplyTo::HttpRoute => "envoy.config.route.v3.Route",
        ApplyTo::Cluster => "envoy.config.cluster.v3.Cluster",
    }
}

fn message(apply_to: ApplyTo, value: &serde_json::Value) -> Result<DynamicMessage, String> {
    let name = type_name(apply_to);
    let descriptor = encode::descriptor(name)?;
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let mut message = DynamicMessage::deserialize_with_options(descriptor, value, &options)
        .map_err(|error| format!("not a {}: {error}", name.rsplit('.').next().unwrap_or(name)))?;
    encode::normalize(&mut message);
    Ok(message)
}
