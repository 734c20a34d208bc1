//! Gateway: servers with port, hosts and the TLS settings that their protocol needs.

use std::collections::BTreeSet;

use super::{checks, names};
use crate::{
    Protocol,
    networking::{Gateway, Server, ServerTlsMode, ServerTlsSettings, TlsProtocol},
    report::Report,
    yaml::{Path, excerpt, nearest},
};

const PROTOCOLS: [&str; 8] = ["HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS"];

pub(crate) fn check(gateway: &Gateway, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("servers");
    if gateway.servers.is_empty() {
        report.error(&list, "missing-field", "at least one server is needed");
    }
    names::labels(&gateway.selector, &path.field("selector"), report);
    let port_name = |server: &Server| server.port.as_ref().map(|port| port.name.clone());
    let repeated = checks::repeated(gateway.servers.iter().map(port_name));
    for (index, value) in gateway.servers.iter().enumerate() {
        let path = list.index(index);
        server(value, &path, report);
        let name = value.port.as_ref().map_or("", |port| port.name.as_str());
        if !name.is_empty() && repeated[index] {
            let message = format!("the port name \"{}\" is there twice", excerpt(name));
            report.error(&path.field("port").field("name"), "duplicate-port", message);
        }
    }
    same_hosts(gateway, &list, report);
}

fn server(value: &Server, path: &Path<'_>, report: &mut Report<'_>) {
    let protocol = port(value, &path.field("port"), report);
    let list = path.field("hosts");
    if value.hosts.is_empty() {
        let help = "write \"*\" for all";
        report.error_help(&list, "missing-field", "at least one host is needed", help);
    }
    for (index, text) in value.hosts.iter().enumerate() {
        server_host(text, &list.index(index), report);
    }
    if !value.default_endpoint.is_empty() {
        let message = "not supported (in Istio neither)";
        report.error(&path.field("defaultEndpoint"), "unsupported-field", message);
    }
    let path = path.field("tls");
    let needs_tls = protocol.is_some_and(Protocol::is_tls);
    match &value.tls {
        None if needs_tls => {
            report.error(&path, "missing-field", "protocols HTTPS and TLS need tls settings");
        }
        Some(settings) => {
            let redirect_only = *settings
                == ServerTlsSettings { https_redirect: true, ..ServerTlsSettings::default() };
            if protocol.is_some() && !needs_tls && !redirect_only {
                let message =
                    "only protocols HTTPS and TLS have tls settings (HTTP: httpsRedirect)";
                report.error(&path, "exclusive-fields", message);
            } else if needs_tls {
                tls(settings, protocol == Some(Protocol::Https), &path, report);
            }
        }
        None => {}
    }
}

fn port(value: &Server, path: &Path<'_>, report: &mut Report<'_>) -> Option<Protocol> {
    let Some(port) = &value.port else {
        report.error(path, "missing-field", "the port is missing");
        return None;
    };
    if port.number == 0 && !value.bind.starts_with("unix://") {
        let message = "the port must be from 1 to 65535";
        report.error(&path.field("number"), "invalid-port", message);
    }
    if port.name.is_empty() {
        report.error(&path.field("name"), "missing-field", "the port's name is missing");
    }
    let protocol = Protocol::of_gateway(&port.protocol);
    if protocol.is_none() {
        let message = format!(
            "\"{}\" is not a gateway's protocol: {}",
            excerpt(&port.protocol),
            PROTOCOLS.join(", ")
        );
        match nearest(&port.protocol, PROTOCOLS) {
            Some(near) => {
                let help = format!("did you mean \"{near}\"?");
                report.error_help(&path.field("protocol"), "invalid-value", message, help);
            }
            None => report.error(&path.field("protocol"), "invalid-value", message),
        }
    }
    protocol
}

fn server_host(text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let host = match text.split_once('/') {
        Some((namespace, host)) => {
            if !matches!(namespace, "*" | ".") {
                names::dns_label(namespace, path, report);
            }
            host
        }
        None => text,
    };
    names::host(host, true, path, report);
}

fn tls(value: &ServerTlsSettings, https: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let files = !value.server_certificate.is_empty() || !value.private_key.is_empty();
    let sources = [
        ("credentialName", !value.credential_name.is_empty()),
        ("credentialNames", !value.credential_names.is_empty()),
        ("tlsCertificates", !value.tls_certificates.is_empty()),
        ("serverCertificate", files),
    ];
    let given: Vec<&str> = sources.iter().filter(|(_, g)| *g).map(|(name, _)| *name).collect();
    let terminates = matches!(
        value.mode,
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
    );
    match given.as_slice() {
        [] if terminates => {
            let message = "this mode needs a certificate: credentialName, or serverCertificate and \
                           privateKey";
            report.error(path, "missing-field", message);
        }
        [first, second, ..] => {
            let message = format!("{first} and {second} exclude each other");
            report.error(&path.field(first), "exclusive-fields", message);
        }
        [only] if !terminates => {
            let message = "has no effect in this mode: it is not terminated with it";
            report.error_help(&path.field(only), "exclusive-fields", message, "use mode SIMPLE");
        }
        _ => {}
    }
    if given == ["serverCertificate"]
        && (value.server_certificate.is_empty() || value.private_key.is_empty())
    {
        let message = "serverCertificate and privateKey go together";
        report.error(path, "missing-field", message);
    }
    details(value, https, path, report);
}

fn details(value: &ServerTlsSettings, https: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let asks = matches!(value.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let by_file = !value.server_certificate.is_empty() || !value.tls_certificates.is_empty();
    let no_ca = value.ca_certificates.is_empty() && value.ca_cert_credential_name.is_empty();
    if asks && by_file && no_ca && value.tls_certificates.is_empty() {
        let message = "asking for a client's certificate needs caCertificates";
        report.error(&path.field("caCertificates"), "missing-field", message);
    }
    if https && value.https_redirect {
        let message = "has no effect on HTTPS: put it on the HTTP server";
        report.warning(&path.field("httpsRedirect"), "no-effect", message);
    }
    if value.credential_names.len() > 2 {
        let message = "at most two (RSA and ECDSA) are possible";
        report.error(&path.field("credentialNames"), "too-many", message);
    }
    if value.min_protocol_version != TlsProtocol::Auto
        && value.max_protocol_version != TlsProtocol::Auto
        && value.min_protocol_version > value.max_protocol_version
    {
        let message = "is above maxProtocolVersion";
        report.error(&path.field("minProtocolVersion"), "invalid-value", message);
    }
    let list = path.field("verifyCertificateHash");
    for (index, hash) in value.verify_certificate_hash.iter().enumerate() {
        let digits = hash.replace(':', "");
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            let message = "must be a SHA-256 in hexadecimal";
            report.error(&list.index(index), "invalid-value", message);
        }
    }
    let list = path.field("verifyCertificateSpki");
    for (index, hash) in value.verify_certificate_spki.iter().enumerate() {
        if crate::k8s::decode_base64(hash).is_none_or(|bytes| bytes.len() != 32) {
            let message = "must be a SHA-256 in base64";
            report.error(&list.index(index), "invalid-value", message);
        }
    }
}

/// The same host twice on one port of one gateway: the later server would be passed over.
fn same_hosts(gateway: &Gateway, list: &Path<'_>, report: &mut Report<'_>) {
    let mut seen: BTreeSet<(u16, &str, &str)> = BTreeSet::new();
    for (index, value) in gateway.servers.iter().enumerate() {
        let Some(port) = &value.port else { continue };
        let server = list.index(index);
        let hosts = server.field("hosts");
        for (index, host) in value.hosts.iter().enumerate() {
            let entry = (port.number, value.bind.as_str(), host.as_str());
            if !seen.insert(entry) {
                let message =
                    format!("port {} has the host \"{}\" already", port.number, excerpt(host));
                report.error(&hosts.index(index), "duplicate-host", message);
            }
        }
    }
}
