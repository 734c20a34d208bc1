//! `mizzen proxy-config secret`.

use base64::Engine as _;
use jiff::Timestamp;
use pki::PeerIdentity;
use serde_json::Value;

use super::{
    View,
    dump::{entries, text},
};

pub(super) fn view(dump: &Value) -> View {
    let lists = ["static_secrets", "dynamic_active_secrets", "dynamic_warming_secrets"];
    let secrets: Vec<&Value> = entries(dump, "SecretsConfigDump", &lists).collect();
    View {
        columns: &["RESOURCE NAME", "TYPE", "STATUS", "IDENTITY", "SERIAL NUMBER", "NOT AFTER"],
        rows: secrets.iter().map(|secret| row(secret)).collect(),
        resources: secrets.into_iter().cloned().collect(),
    }
}

fn row(entry: &Value) -> Vec<String> {
    let secret = &entry["secret"];
    let name = match text(&entry["name"]) {
        "" => text(&secret["name"]),
        name => name,
    };
    let chain = &secret["tls_certificate"]["certificate_chain"];
    let bundle = &secret["validation_context"]["trusted_ca"];
    let (kind, source) = if chain.is_null() { ("CA", bundle) } else { ("Cert Chain", chain) };
    let leaf = pem(source).and_then(|pem| {
        let chain = pki::chain_from_pem(&pem).ok()?;
        PeerIdentity::from_der(chain.first()?).ok()
    });
    let Some(leaf) = leaf else {
        return vec![name.to_owned(), kind.to_owned(), "WARMING".to_owned()];
    };
    let not_after = Timestamp::try_from(leaf.not_after).map(|time| time.to_string());
    vec![
        name.to_owned(),
        kind.to_owned(),
        "ACTIVE".to_owned(),
        leaf.uri_sans.first().cloned().unwrap_or_else(|| "-".to_owned()),
        leaf.serial.clone(),
        not_after.unwrap_or_default(),
    ]
}

/// The PEM text of a data source.
fn pem(source: &Value) -> Option<String> {
    if let Some(text) = source["inline_string"].as_str() {
        return Some(text.to_owned());
    }
    let bytes = source["inline_bytes"].as_str()?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(bytes).ok()?;
    String::from_utf8(decoded).ok()
}
