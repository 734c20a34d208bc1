//! Gateways: servers that are not served, servers that give way to older ones, and settings that
//! have another effect than they seem to.

use std::collections::BTreeMap;

use config::{
    Diagnostic, Gateway,
    networking::{ServerTlsMode, ServerTlsSettings, TlsProtocol},
};

use crate::{
    World,
    gateway::{self, CIPHER_SUITES, Conflict, Unserved},
    world::Item,
};

pub(super) fn collect(world: &World, findings: &mut Vec<Diagnostic>) {
    let mut by_selector: BTreeMap<&BTreeMap<String, String>, Vec<&Item<Gateway>>> = BTreeMap::new();
    for item in &world.gateways {
        by_selector.entry(&item.spec.selector).or_default().push(item);
        servers(item, findings);
    }
    for items in by_selector.into_values() {
        for (server, conflict) in gateway::merge(items, |port| port).conflicts {
            let field = format!("spec.servers[{}]", server.index);
            let port = server.port.number;
            let (code, name, message) = match conflict {
                Conflict::Protocol(owner) => (
                    "conflicting-port",
                    "port",
                    format!("port {port} has another protocol by the older Gateway {owner}"),
                ),
                Conflict::Bytes(owner) => (
                    "conflicting-port",
                    "port",
                    format!("the older Gateway {owner} has all bytes of port {port}"),
                ),
                Conflict::Host(host, owner) => (
                    "duplicate-host",
                    "hosts",
                    format!("port {port} has the server name {host} by the older Gateway {owner}"),
                ),
            };
            let message = format!("{message}: this server is not served");
            findings.push(server.gateway.warning(code, format!("{field}.{name}"), message));
        }
    }
}

fn servers(item: &Item<Gateway>, findings: &mut Vec<Diagnostic>) {
    for (index, server) in item.spec.servers.iter().enumerate() {
        let field = format!("spec.servers[{index}]");
        if let Err(reason) = gateway::class(server) {
            let (name, message) = unserved(reason);
            findings.push(item.warning("unsupported", format!("{field}.{name}"), message));
        }
        if let Some(tls) = &server.tls
            && !matches!(tls.mode, ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough)
        {
            settings(item, &format!("{field}.tls"), tls, findings);
        }
    }
}

fn settings(
    item: &Item<Gateway>,
    field: &str,
    tls: &ServerTlsSettings,
    findings: &mut Vec<Diagnostic>,
) {
    let mut tell = |name: &str, message: String| {
        findings.push(item.warning("unsupported", format!("{field}.{name}"), message));
    };
    for (index, name) in tls.cipher_suites.iter().enumerate() {
        if !CIPHER_SUITES.contains(&name.as_str()) {
            let message = format!("cipher suite {name} is not known: it is left out");
            tell(&format!("cipherSuites[{index}]"), message);
        }
    }
    let old = |version| matches!(version, TlsProtocol::V1_0 | TlsProtocol::V1_1);
    for (name, version) in [
        ("minProtocolVersion", tls.min_protocol_version),
        ("maxProtocolVersion", tls.max_protocol_version),
    ] {
        if old(version) {
            let message = "TLS 1.0 and 1.1 are spoken by a stock Envoy only: Mizzen's proxy \
                           speaks 1.2 and 1.3";
            tell(name, message.to_owned());
        }
    }
    if tls.insecure_skip_verify == Some(true) {
        let message = "clients are verified all the same: the field has no effect";
        tell("insecureSkipVerify", message.to_owned());
    }
}

fn unserved(reason: Unserved) -> (&'static str, &'static str) {
    match reason {
        Unserved::Credential => (
            "tls.credentialName",
            "credentials of this kind are not supported: the server is not served; name a Secret \
             of the gateway's namespace",
        ),
        Unserved::ClientCheck => (
            "tls",
            "clients cannot be checked by revocation lists and pinned certificates yet: the \
             server is not served, since it would let in too many",
        ),
        Unserved::Bind => ("bind", "only IP addresses can be bound: the server is not served"),
        Unserved::Port => ("port", "the port or its protocol is missing: the server is not served"),
    }
}
