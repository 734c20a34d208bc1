//! Patches of listeners and of what is inside of them: chains, filters, inline routes.

use prost_reflect::{DynamicMessage, Value};

use super::list::{Target, edit};
use super::route::{self, list};
use super::{
    ApplyTo, FilterClass, Operation, Patch, PatchContext, Patches, child, encode, matching, text,
};

const MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// Applies a patch. Answers whether anything changed.
pub(super) fn change(
    message: &mut DynamicMessage,
    patch: &Patch,
    patches: &Patches,
) -> Result<bool, String> {
    let context = matching::listener_context(message, patches);
    if !matching::listener(message, patch, patches) {
        return Ok(false);
    }
    match patch.apply_to {
        ApplyTo::Listener => {
            patch.merge_into(message)?;
            Ok(true)
        }
        ApplyTo::ListenerFilter => {
            let wanted = patch.matches.listener_filter();
            let is_match = |filter: &DynamicMessage| matching::filter_name(filter, wanted);
            let filters = list(message, "listener_filters")?;
            let target =
                Target { is_match: &is_match, selects: !wanted.is_empty(), end: filters.len() };
            edit(filters, patch, &target)
        }
        ApplyTo::FilterChain => filter_chains(message, patch, patches),
        _ => each_chain(message, patch, patches, context),
    }
}

fn filter_chains(
    message: &mut DynamicMessage,
    patch: &Patch,
    patches: &Patches,
) -> Result<bool, String> {
    let is_virtual = matching::is_virtual(message);
    let is_match =
        |chain: &DynamicMessage| matching::filter_chain(chain, patch, is_virtual, patches);
    if patch.operation == Operation::Add {
        let Some(new) = &patch.value else { return Ok(false) };
        list(message, "filter_chains")?.push(Value::Message(new.clone()));
        return Ok(true);
    }
    let chains = list(message, "filter_chains")?;
    let target = Target { is_match: &is_match, selects: true, end: chains.len() };
    let mut changed = edit(chains, patch, &target)?;
    if child(message, "default_filter_chain").is_some_and(is_match) {
        if patch.operation == Operation::Remove {
            message.clear_field_by_name("default_filter_chain");
        } else if let Some(Value::Message(chain)) =
            message.get_field_by_name_mut("default_filter_chain")
        {
            patch.merge_into(chain)?;
        }
        changed = true;
    }
    Ok(changed)
}

/// Patches inside of each chain that matches.
fn each_chain(
    message: &mut DynamicMessage,
    patch: &Patch,
    patches: &Patches,
    context: PatchContext,
) -> Result<bool, String> {
    let is_virtual = matching::is_virtual(message);
    let has_default = message.has_field_by_name("default_filter_chain");
    let mut changed = false;
    let mut inside = |chain: &mut DynamicMessage| -> Result<(), String> {
        if matching::filter_chain(chain, patch, is_virtual, patches) {
            changed |= filters(chain, patch, patches, context)?;
        }
        Ok(())
    };
    for chain in list(message, "filter_chains")?.iter_mut().filter_map(Value::as_message_mut) {
        inside(chain)?;
    }
    if has_default
        && let Some(Value::Message(chain)) = message.get_field_by_name_mut("default_filter_chain")
    {
        inside(chain)?;
    }
    Ok(changed)
}

fn filters(
    chain: &mut DynamicMessage,
    patch: &Patch,
    patches: &Patches,
    context: PatchContext,
) -> Result<bool, String> {
    let wanted = patch.matches.network_filter();
    let filters = list(chain, "filters")?;
    if patch.apply_to == ApplyTo::NetworkFilter {
        let is_match = |filter: &DynamicMessage| matching::filter_name(filter, wanted);
        let end = end(filters, patch.class, |last| {
            matching::filter_name(last, "http_connection_manager")
                || matching::filter_name(last, "tcp_proxy")
        });
        let target = Target { is_match: &is_match, selects: !wanted.is_empty(), end };
        return edit(filters, patch, &target);
    }
    let mut changed = false;
    for filter in filters.iter_mut().filter_map(Value::as_message_mut) {
        if wanted.is_empty() || matching::filter_name(filter, wanted) {
            changed |= manager(filter, |manager| match patch.apply_to {
                ApplyTo::HttpFilter => http_filters(manager, patch),
                _ => inline_routes(manager, patch, context, patches),
            })?;
        }
    }
    Ok(changed)
}

/// Opens a connection manager's configuration, and closes it when it was changed.
fn manager(
    filter: &mut DynamicMessage,
    change: impl FnOnce(&mut DynamicMessage) -> Result<bool, String>,
) -> Result<bool, String> {
    let is_manager =
        |config: &DynamicMessage| text(config, "type_url").rsplit('/').next() == Some(MANAGER);
    let Some(config) = child(filter, "typed_config").filter(|config| is_manager(config)) else {
        return Ok(false);
    };
    let Some(mut opened) = encode::open(config)? else { return Ok(false) };
    if !change(&mut opened)? {
        return Ok(false);
    }
    if let Some(Value::Message(config)) = filter.get_field_by_name_mut("typed_config") {
        encode::close(config, &opened);
    }
    Ok(true)
}

fn http_filters(manager: &mut DynamicMessage, patch: &Patch) -> Result<bool, String> {
    let wanted = patch.matches.sub_filter();
    let is_match = |filter: &DynamicMessage| matching::filter_name(filter, wanted);
    let filters = list(manager, "http_filters")?;
    let end = end(filters, patch.class, |last| matching::filter_name(last, "router"));
    let target = Target { is_match: &is_match, selects: !wanted.is_empty(), end };
    edit(filters, patch, &target)
}

fn inline_routes(
    manager: &mut DynamicMessage,
    patch: &Patch,
    context: PatchContext,
    patches: &Patches,
) -> Result<bool, String> {
    if !manager.has_field_by_name("route_config") {
        return Ok(false);
    }
    match manager.get_field_by_name_mut("route_config") {
        Some(Value::Message(routes)) => route::change(routes, patch, context, patches),
        _ => Ok(false),
    }
}

/// Where an added filter goes.
// COMPAT: Istio puts it behind the filter that ends the chain, and no proxy takes the result.
fn end(filters: &[Value], class: FilterClass, ends: impl Fn(&DynamicMessage) -> bool) -> usize {
    let named = |names: &'static [&str]| {
        move |value: &Value| {
            let filter = value.as_message();
            filter.is_some_and(|f| names.iter().any(|name| matching::filter_name(f, name)))
        }
    };
    let last = match filters.last().and_then(Value::as_message) {
        Some(last) if ends(last) => filters.len() - 1,
        _ => filters.len(),
    };
    let after = |names: &'static [&str]| filters.iter().rposition(named(names)).map(|at| at + 1);
    const AUTHN: &[&str] = &["jwt_authn", "metadata_exchange", "peer_metadata"];
    const AUTHZ: &[&str] =
        &["rbac", "ext_authz", "jwt_authn", "metadata_exchange", "peer_metadata"];
    match class {
        FilterClass::Unspecified => last,
        FilterClass::Authn => after(AUTHN).unwrap_or(0),
        FilterClass::Authz => after(AUTHZ).unwrap_or(0),
        FilterClass::Stats => {
            filters.iter().position(named(&["stats", "grpc_stats"])).unwrap_or(last)
        }
    }
}
