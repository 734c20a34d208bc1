//! Gateways: proxies that they select and secrets that they need.

use super::{Findings, did_you_mean, world::World};
use crate::{
    Gateway, Object,
    yaml::{Path, excerpt},
};

pub(super) fn check(
    object: &Object,
    gateway: &Gateway,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let spec = Path::Root.field("spec");
    if !world.has_gateway_proxy(&gateway.selector) {
        let message = "the Gateway selects nothing: no Deployment or Pod has these labels";
        let path = spec.field("selector");
        findings.warning((object, &path), "selects-nothing", message.to_owned(), None);
    }
    let list = spec.field("servers");
    for (index, server) in gateway.servers.iter().enumerate() {
        let Some(tls) = &server.tls else { continue };
        if tls.credential_name.is_empty() || tls.credential_name.contains("://") {
            continue;
        }
        // The Secret is in the namespace of the gateway's proxies.
        let namespaces: Vec<&str> =
            world.selected(None, &gateway.selector).map(|workload| workload.namespace).collect();
        let name = tls.credential_name.as_str();
        let found = world
            .secrets
            .iter()
            .any(|(namespace, other)| *other == name && namespaces.contains(namespace));
        if !found && !namespaces.is_empty() {
            let place = namespaces.first().copied().unwrap_or_default();
            let message = format!("there is no Secret {place}/{}", excerpt(name));
            let help = did_you_mean(name, world.secrets.iter().map(|(_, name)| *name));
            let server = list.index(index);
            let path = server.field("tls");
            let path = path.field("credentialName");
            findings.error((object, &path), "secret-not-found", message, help);
        }
    }
}
