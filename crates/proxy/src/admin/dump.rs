//! `/config_dump` and `/certs`. Private keys are never shown.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::{Query, State},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use xds::ResourceType;

use crate::{config::Entry, shared::Shared, tls::SecretValue};

const ADMIN: &str = "type.googleapis.com/envoy.admin.v3.";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

pub(super) async fn config_dump(
    State(shared): State<Arc<Shared>>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Json<Value> {
    let mut configs = vec![bootstrap(&shared), clusters(&shared)];
    if parameters.contains_key("include_eds") {
        let list = named(&shared, ResourceType::LoadAssignment, "endpoint_config");
        configs.push(json!({
            "@type": format!("{ADMIN}EndpointsConfigDump"),
            "dynamic_endpoint_configs": list,
        }));
    }
    configs.push(listeners(&shared));
    let routes = named(&shared, ResourceType::RouteConfiguration, "route_config");
    configs.push(json!({
        "@type": format!("{ADMIN}RoutesConfigDump"),
        "dynamic_route_configs": routes,
    }));
    configs.push(secrets(&shared));
    Json(json!({ "configs": configs }))
}

fn time(time: SystemTime) -> Value {
    jiff::Timestamp::try_from(time).map_or(Value::Null, |time| Value::from(time.to_string()))
}

fn bootstrap(shared: &Shared) -> Value {
    let node = xds::message_to_json(&shared.node.to_proto()).unwrap_or_default();
    json!({
        "@type": format!("{ADMIN}BootstrapConfigDump"),
        "bootstrap": { "node": node },
        "last_updated": time(shared.started_at),
    })
}

/// A resource in canonical JSON; one that cannot be shown says so.
fn resource(entry: &Entry) -> Value {
    match &entry.any {
        Some(any) => xds::to_json(any)
            .unwrap_or_else(|error| json!({ "@type": any.type_url, "error": error.to_string() })),
        None => Value::Null,
    }
}

fn state(entry: &Entry, field: &str) -> Value {
    let mut state = json!({
        "version_info": entry.version,
        "last_updated": time(entry.updated),
    });
    state[field] = resource(entry);
    if !entry.ignored.is_empty() {
        state["ignored_fields"] = json!(entry.ignored);
    }
    if let Some(error) = error_state(entry) {
        state["error_state"] = error;
    }
    state
}

fn error_state(entry: &Entry) -> Option<Value> {
    let (details, at) = entry.error.as_ref()?;
    Some(json!({ "details": details, "last_update_attempt": time(*at) }))
}

fn named(shared: &Shared, kind: ResourceType, field: &str) -> Vec<Value> {
    shared.dump.of(kind).iter().map(|(_, entry)| state(entry, field)).collect()
}

fn clusters(shared: &Shared) -> Value {
    let all = shared.dump.of(ResourceType::Cluster);
    let shown = |warming: bool| -> Vec<Value> {
        let entries = all.iter().filter(|(_, entry)| entry.warming == warming);
        entries.map(|(_, entry)| state(entry, "cluster")).collect()
    };
    json!({
        "@type": format!("{ADMIN}ClustersConfigDump"),
        "dynamic_active_clusters": shown(false),
        "dynamic_warming_clusters": shown(true),
    })
}

fn listeners(shared: &Shared) -> Value {
    let all = shared.dump.of(ResourceType::Listener);
    let list: Vec<Value> = all
        .iter()
        .map(|(name, entry)| {
            let mut shown = json!({ "name": name });
            if entry.any.is_some() {
                let field = if entry.warming { "warming_state" } else { "active_state" };
                let mut body = state(entry, "listener");
                if let Some(body) = body.as_object_mut() {
                    body.remove("error_state");
                }
                shown[field] = body;
            }
            if let Some(error) = error_state(entry) {
                shown["error_state"] = error;
            }
            shown
        })
        .collect();
    json!({ "@type": format!("{ADMIN}ListenersConfigDump"), "dynamic_listeners": list })
}

fn secrets(shared: &Shared) -> Value {
    let mut active = Vec::new();
    let mut warming = Vec::new();
    for slot in shared.secrets.all() {
        let name = &slot.source().name;
        let inline = |text: &str| json!({ "inline_bytes": STANDARD.encode(text) });
        let Some(value) = slot.value() else {
            warming.push(json!({ "name": name, "version_info": "uninitialized" }));
            continue;
        };
        let secret = match &*value {
            SecretValue::Identity(identity) => json!({
                "@type": SECRET,
                "name": name,
                "tls_certificate": {
                    "certificate_chain": inline(&identity.chain_pem()),
                    "private_key": inline("[redacted]"),
                },
            }),
            SecretValue::Trust(bundle) => json!({
                "@type": SECRET,
                "name": name,
                "validation_context": { "trusted_ca": inline(&bundle.to_pem()) },
            }),
        };
        active.push(json!({
            "name": name,
            "version_info": slot.version().to_string(),
            "last_updated": time(slot.updated()),
            "secret": secret,
        }));
    }
    json!({
        "@type": format!("{ADMIN}SecretsConfigDump"),
        "dynamic_active_secrets": active,
        "dynamic_warming_secrets": warming,
    })
}

/// `/certs`
pub(super) async fn certs(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let mut list = Vec::new();
    for slot in shared.secrets.all() {
        let Some(value) = slot.value() else { continue };
        match &*value {
            SecretValue::Identity(identity) => {
                let leaf = certificate(&slot.source().name, identity.leaf());
                list.push(json!({ "cert_chain": [leaf] }));
            }
            SecretValue::Trust(bundle) => {
                let roots: Vec<Value> = bundle
                    .roots()
                    .iter()
                    .filter_map(|root| pki::PeerIdentity::from_der(root).ok())
                    .map(|root| certificate(&slot.source().name, &root))
                    .collect();
                list.push(json!({ "ca_cert": roots }));
            }
        }
    }
    Json(json!({ "certificates": list }))
}

fn certificate(path: &str, identity: &pki::PeerIdentity) -> Value {
    let names: Vec<Value> = identity
        .uri_sans
        .iter()
        .map(|uri| json!({ "uri": uri }))
        .chain(identity.dns_sans.iter().map(|dns| json!({ "dns": dns })))
        .collect();
    let left = identity.not_after.duration_since(SystemTime::now()).unwrap_or_default();
    json!({
        "path": path,
        "serial_number": identity.serial,
        "subject_alt_names": names,
        "days_until_expiration": (left.as_secs() / 86_400).to_string(),
        "valid_from": time(identity.not_before),
        "expiration_time": time(identity.not_after),
    })
}
