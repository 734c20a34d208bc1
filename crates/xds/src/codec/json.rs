//! Canonical protobuf JSON of any message, with nested `Any`s opened.

use base64::{Engine, engine::general_purpose::STANDARD};
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, SerializeOptions, Value};
use serde_json::{Map, Value as Json};

/// How deep messages may nest; deeper ones stay encoded.
const MAX_DEPTH: usize = 100;

/// A message that cannot be shown as JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// A type that Mizzen has no definition of.
    #[error("{0}: no definition of this message type is known")]
    UnknownType(String),
    /// Bytes that are not a message of the type.
    #[error("{type_name}: {source}")]
    Malformed {
        /// The type's full name.
        type_name: String,
        /// What is wrong.
        source: prost::DecodeError,
    },
}

/// Shows an `Any` as Envoy's `config_dump` does: canonical protobuf JSON with the fields' names as
/// in the definitions, and `@type`. An inner `Any` of an unknown type becomes `{"@type": …,
/// "value": base64}`.
///
/// # Errors
/// When the outermost type is not known or its bytes are malformed.
pub fn to_json(any: &pb::Any) -> Result<Json, JsonError> {
    let mut json = open(any)?;
    if let Json::Object(fields) = &mut json {
        fields.shift_insert(0, "@type".to_owned(), Json::String(any.type_url.clone()));
    }
    Ok(json)
}

/// Shows a message as [`to_json`] does, without `@type`.
///
/// # Errors
/// As for [`to_json`].
pub fn message_to_json<M: Message + Name>(message: &M) -> Result<Json, JsonError> {
    open(&pb::Any { type_url: M::type_url(), value: message.encode_to_vec() })
}

fn open(any: &pb::Any) -> Result<Json, JsonError> {
    Ok(message(&decode(any)?, 0))
}

fn decode(any: &pb::Any) -> Result<DynamicMessage, JsonError> {
    let type_name = any.type_url.rsplit('/').next().unwrap_or_default();
    let descriptor = pb::descriptors()
        .get_message_by_name(type_name)
        .ok_or_else(|| JsonError::UnknownType(any.type_url.clone()))?;
    DynamicMessage::decode(descriptor, any.value.as_slice())
        .map_err(|source| JsonError::Malformed { type_name: type_name.to_owned(), source })
}

fn message(message: &DynamicMessage, depth: usize) -> Json {
    let descriptor = message.descriptor();
    let name = descriptor.full_name();
    if name == "google.protobuf.Any" {
        return nested(message, depth + 1);
    }
    if descriptor.package_name() == "google.protobuf" {
        let options = SerializeOptions::new().use_proto_field_name(true);
        if let Ok(json) = message.serialize_with_options(serde_json::value::Serializer, &options) {
            return json;
        }
    }
    if depth > MAX_DEPTH {
        return Json::String(STANDARD.encode(message.encode_to_vec()));
    }
    let fields = message.fields().map(|(field, value)| {
        let kind = field.kind();
        let json = match value {
            Value::Map(entries) => {
                let kind = kind
                    .as_message()
                    .map_or(Kind::String, |entry| entry.map_entry_value_field().kind());
                let mut sorted: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| (map_key(key), scalar(value, &kind, depth)))
                    .collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                Json::Object(sorted.into_iter().collect())
            }
            value => scalar(value, &kind, depth),
        };
        (field.name().to_owned(), json)
    });
    Json::Object(fields.collect())
}

fn nested(any: &DynamicMessage, depth: usize) -> Json {
    let Ok(any) = any.transcode_to::<pb::Any>() else {
        return Json::Null;
    };
    let mut fields = Map::new();
    fields.insert("@type".to_owned(), Json::String(any.type_url.clone()));
    let inner = decode(&any).ok().filter(|_| depth <= MAX_DEPTH);
    match inner.map(|inner| message(&inner, depth)) {
        Some(Json::Object(inner)) => fields.extend(inner),
        Some(wrapped) => {
            fields.insert("value".to_owned(), wrapped);
        }
        None => {
            fields.insert("value".to_owned(), Json::String(STANDARD.encode(&any.value)));
        }
    }
    Json::Object(fields)
}

fn scalar(value: &Value, kind: &Kind, depth: usize) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::I32(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        Value::I64(value) => Json::String(value.to_string()),
        Value::U64(value) => Json::String(value.to_string()),
        Value::F32(value) => float(f64::from(*value)),
        Value::F64(value) => float(*value),
        Value::String(value) => Json::String(value.clone()),
        Value::Bytes(value) => Json::String(STANDARD.encode(value)),
        Value::EnumNumber(number) => enumeration(*number, kind),
        Value::Message(inner) => message(inner, depth + 1),
        Value::List(values) => values.iter().map(|value| scalar(value, kind, depth)).collect(),
        Value::Map(_) => Json::Null,
    }
}

fn enumeration(number: i32, kind: &Kind) -> Json {
    let value = kind.as_enum().and_then(|kind| kind.get_value(number));
    value.map_or_else(|| number.into(), |value| Json::String(value.name().to_owned()))
}

fn float(value: f64) -> Json {
    let text = match value {
        value if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        value => return value.into(),
    };
    Json::String(text.to_owned())
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}
