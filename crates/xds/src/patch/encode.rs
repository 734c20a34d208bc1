//! From messages to bytes and back. The same message always gives the same bytes, also where it
//! holds maps: a proxy is sent what changed, and changes are told by the bytes.

use prost::encoding::{WireType, encode_key, encode_varint};
use prost::{Message as _, bytes::Bytes};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};

const DOMAIN: &str = "type.googleapis.com/";

/// The definition of a message by its full name.
pub(super) fn descriptor(name: &str) -> Result<MessageDescriptor, String> {
    pb::descriptors()
        .get_message_by_name(name)
        .ok_or_else(|| format!("no definition of the type {name} is known"))
}

/// Opens an `Any`.
pub(super) fn decode(any: &pb::Any) -> Result<DynamicMessage, String> {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    DynamicMessage::decode(descriptor(name)?, any.value.as_slice())
        .map_err(|error| format!("{name}: {error}"))
}

/// Closes a message into an `Any`.
pub(super) fn any(message: &DynamicMessage) -> pb::Any {
    let name = message.descriptor().full_name().to_owned();
    pb::Any { type_url: format!("{DOMAIN}{name}"), value: bytes(message) }
}

/// The message inside of a dynamic `Any`; none when it is empty.
pub(super) fn open(any: &DynamicMessage) -> Result<Option<DynamicMessage>, String> {
    let any: pb::Any = any.transcode_to().map_err(|error| error.to_string())?;
    if any.type_url.is_empty() { Ok(None) } else { decode(&any).map(Some) }
}

/// Puts a message into a dynamic `Any`.
pub(super) fn close(target: &mut DynamicMessage, message: &DynamicMessage) {
    let closed = any(message);
    target.set_field_by_name("type_url", Value::String(closed.type_url));
    target.set_field_by_name("value", Value::Bytes(Bytes::from(closed.value)));
}

/// Encodes with map entries in the order of their keys.
pub(super) fn bytes(message: &DynamicMessage) -> Vec<u8> {
    let mut rest = message.clone();
    let mut parts: Vec<(u32, Vec<u8>)> = Vec::new();
    for (field, value) in message.fields() {
        let Some(parts_of) = messages(&field, value) else { continue };
        rest.clear_field(&field);
        parts.extend(parts_of.into_iter().map(|part| (field.number(), part)));
    }
    let mut out = rest.encode_to_vec();
    for (number, part) in parts {
        encode_key(number, WireType::LengthDelimited, &mut out);
        encode_varint(part.len() as u64, &mut out);
        out.extend(part);
    }
    out
}

/// The encoded messages of a field; none when it holds no messages.
fn messages(field: &FieldDescriptor, value: &Value) -> Option<Vec<Vec<u8>>> {
    let kind = field.kind();
    let descriptor = kind.as_message()?;
    Some(match value {
        Value::Message(inner) => vec![bytes(inner)],
        Value::List(values) => values.iter().filter_map(Value::as_message).map(bytes).collect(),
        Value::Map(entries) => {
            let mut sorted: Vec<(&MapKey, &Value)> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| format!("{key:?}"));
            let entry = |(key, value): (&MapKey, &Value)| {
                let mut entry = DynamicMessage::new(descriptor.clone());
                entry.set_field_by_number(1, Value::from(key.clone()));
                entry.set_field_by_number(2, value.clone());
                bytes(&entry)
            };
            sorted.into_iter().map(entry).collect()
        }
        _ => return None,
    })
}

/// Encodes the content of every `Any` inside again, so that equal patches have equal bytes.
pub(super) fn normalize(message: &mut DynamicMessage) {
    if message.descriptor().full_name() == "google.protobuf.Any" {
        if let Ok(Some(mut inner)) = open(message) {
            normalize(&mut inner);
            close(message, &inner);
        }
        return;
    }
    for (_, value) in message.fields_mut() {
        match value {
            Value::Message(inner) => normalize(inner),
            Value::List(values) => {
                values.iter_mut().filter_map(Value::as_message_mut).for_each(normalize);
            }
            Value::Map(entries) => {
                entries.values_mut().filter_map(Value::as_message_mut).for_each(normalize);
            }
            _ => {}
        }
    }
}
