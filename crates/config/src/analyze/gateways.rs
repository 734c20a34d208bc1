//! Gateways: proxies that they select and secrets that they need.

use std::collections::BTreeSet;

use super::{Findings, did_you_mean, world::World};
use crate::{
    Gateway, Object,
    k8s::Secret,
    networking::ServerTlsMode,
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
    // Secrets are in the namespace of the gateway's proxies.
    let namespaces: BTreeSet<&str> =
        world.selected(None, &gateway.selector).map(|workload| workload.namespace).collect();
    let Some(namespace) = namespaces.first().copied() else { return };
    let list = spec.field("servers");
    for (index, server) in gateway.servers.iter().enumerate() {
        let Some(tls) = &server.tls else { continue };
        let server = list.index(index);
        let path = server.field("tls");
        let several = path.field("credentialNames");
        let asks = matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
        let mut names = vec![(path.field("credentialName"), &tls.credential_name)];
        let more = tls.credential_names.iter().enumerate();
        names.extend(more.map(|(index, name)| (several.index(index), name)));
        let ca = path.field("caCertCredentialName");
        let names = names.into_iter().filter(|(_, name)| is_plain(name));
        for (path, name) in names {
            match namespaces.iter().find_map(|namespace| world.secret(namespace, name)) {
                None => {
                    let message = format!("there is no Secret {namespace}/{}", excerpt(name));
                    let known = world.secrets.keys().map(|(_, name)| *name);
                    let help = did_you_mean(name, known);
                    findings.error((object, &path), "secret-not-found", message, help);
                }
                Some(secret) => {
                    let lacks = missing(secret, asks && tls.ca_cert_credential_name.is_empty());
                    let apart = world.secret(namespace, &format!("{name}-cacert")).is_some();
                    if let Some(lacks) = lacks.filter(|keys| !(apart && *keys == CA_KEYS)) {
                        let message = format!("the Secret {namespace}/{name} has no {lacks}");
                        findings.error((object, &path), "secret-incomplete", message, None);
                    }
                }
            }
        }
        let name = &tls.ca_cert_credential_name;
        let found = [name.clone(), format!("{name}-cacert")];
        if is_plain(name) && !found.iter().any(|name| world.secret(namespace, name).is_some()) {
            let message = format!("there is no Secret {namespace}/{}", excerpt(name));
            findings.error((object, &ca), "secret-not-found", message, None);
        }
    }
}

/// Names of other forms are not of Secrets, or hold a namespace.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains("://")
}

const CA_KEYS: &str = "ca.crt (or cacert) to check clients with";

/// The keys that a Secret lacks.
fn missing(secret: &Secret, asks: bool) -> Option<&'static str> {
    let has = |key: &str| secret.value(key).is_some();
    if !(has("tls.crt") && has("tls.key") || has("cert") && has("key")) {
        return Some("tls.crt and tls.key (or cert and key)");
    }
    (asks && !has("ca.crt") && !has("cacert")).then_some(CA_KEYS)
}
