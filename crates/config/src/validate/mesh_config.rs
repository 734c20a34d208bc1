//! MeshConfig: values that the mesh cannot work with.

use super::{checks, names};
use crate::{
    MeshConfig,
    k8s::ConfigMap,
    report::Report,
    yaml::{Path, excerpt},
};

/// The settings are a text inside the ConfigMap, so that all is said at the text.
pub(crate) fn config_map(map: &ConfigMap, report: &mut Report<'_>) {
    let data = Path::Root.field("data");
    let path = data.field("mesh");
    if let Some(mesh) = &map.mesh {
        check(mesh, &path, report);
    }
    let list = Path::Root.field("binaryData");
    for (key, text) in &map.binary_data {
        if crate::k8s::decode_base64(text).is_none() {
            report.error(&list.field(key), "invalid-base64", "is not base64");
        }
    }
}

fn check(mesh: &MeshConfig, path: &Path<'_>, report: &mut Report<'_>) {
    for domain in mesh.trust_domain_aliases.iter().chain([&mesh.trust_domain]) {
        if !is_trust_domain(domain) {
            let message = format!(
                "\"{}\" is not a trust domain: lower-case letters, digits, \"-\", \"_\", \".\"",
                excerpt(domain)
            );
            report.error(&path.field("trustDomain"), "invalid-value", message);
        }
    }
    providers(mesh, path, report);
    names::dns_label(&mesh.root_namespace, &path.field("rootNamespace"), report);
    checks::at_least_1ms(mesh.connect_timeout, &path.field("connectTimeout"), report);
    checks::zero_or_1ms(
        mesh.protocol_detection_timeout,
        &path.field("protocolDetectionTimeout"),
        report,
    );
    if mesh.proxy_listen_port == 0 || mesh.proxy_inbound_listen_port == 0 {
        report.error(path, "invalid-port", "0 is not a port");
    }
}

/// Providers without a name, and those who are meant by default and are not there.
fn providers(mesh: &MeshConfig, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("extensionProviders");
    for (index, provider) in mesh.extension_providers.iter().enumerate() {
        if provider.name.is_empty() {
            let message = "the name is missing";
            report.error(&list.index(index).field("name"), "missing-field", message);
        }
    }
    let is_log = |name: &String| {
        name == "envoy"
            || mesh
                .extension_providers
                .iter()
                .any(|p| p.name == *name && p.envoy_file_access_log.is_some())
    };
    for name in mesh.default_providers.access_logging.iter().filter(|name| !is_log(name)) {
        let message =
            format!("there is no access log \"{}\": nothing is logged to it", excerpt(name));
        report.warning(&path.field("defaultProviders"), "unknown-provider", message);
    }
}

/// SPIFFE's rule for trust domains.
fn is_trust_domain(text: &str) -> bool {
    let ok =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 255 && text.bytes().all(ok)
}
