//! Patches of route configurations, whether they are resources or inside of a connection manager.

use prost_reflect::{DynamicMessage, Value};

use super::list::{Target, edit};
use super::{ApplyTo, Operation, Patch, PatchContext, Patches, matching};

/// Applies a patch. Answers whether anything changed.
pub(super) fn change(
    message: &mut DynamicMessage,
    patch: &Patch,
    context: PatchContext,
    patches: &Patches,
) -> Result<bool, String> {
    if !matching::route_configuration(message, patch, context, patches) {
        return Ok(false);
    }
    let selector = patch.matches.virtual_host();
    let is_host = |host: &DynamicMessage| matching::virtual_host(host, selector);
    match patch.apply_to {
        ApplyTo::RouteConfiguration => {
            patch.merge_into(message)?;
            Ok(true)
        }
        ApplyTo::VirtualHost => {
            let hosts = list(message, "virtual_hosts")?;
            if patch.operation == Operation::Add && is_there(hosts, patch) {
                return Err("a virtual host with this name is already there".to_owned());
            }
            let target =
                Target { is_match: &is_host, selects: selector.is_some(), end: hosts.len() };
            edit(hosts, patch, &target)
        }
        ApplyTo::HttpRoute => {
            let route = selector.and_then(|selector| selector.route.as_ref());
            let is_route = |message: &DynamicMessage| matching::route(message, route);
            let mut changed = false;
            let hosts = list(message, "virtual_hosts")?.iter_mut();
            for host in hosts.filter_map(Value::as_message_mut) {
                if !is_host(host) {
                    continue;
                }
                let routes = list(host, "routes")?;
                let target =
                    Target { is_match: &is_route, selects: route.is_some(), end: routes.len() };
                changed |= edit(routes, patch, &target)?;
            }
            Ok(changed)
        }
        _ => Ok(false),
    }
}

fn is_there(hosts: &[Value], patch: &Patch) -> bool {
    let name = |host: &DynamicMessage| super::text(host, "name").to_owned();
    let new = patch.value.as_ref().map(name);
    hosts.iter().filter_map(Value::as_message).any(|host| Some(name(host)) == new)
}

/// A list field, to be changed.
pub(super) fn list<'a>(
    message: &'a mut DynamicMessage,
    field: &str,
) -> Result<&'a mut Vec<Value>, String> {
    match message.get_field_by_name_mut(field) {
        Some(Value::List(values)) => Ok(values),
        _ => Err(format!("the definition of the message has no list {field}")),
    }
}
