//! Structs, metadata, and data from elsewhere.

use std::collections::BTreeMap;

use pb::envoy::config::core::v3::{self as core, DataSource, data_source};
use prost_types::{ListValue, value::Kind};

use super::context::{Context, Result, fields};
use crate::{Metadata, Struct, Value};

pub(super) fn encode(value: &Metadata) -> Option<core::Metadata> {
    let filter_metadata: BTreeMap<_, _> =
        value.0.iter().map(|(filter, fields)| (filter.clone(), encode_struct(fields))).collect();
    (!value.is_empty()).then(|| core::Metadata { filter_metadata, ..Default::default() })
}

pub(super) fn decode(message: Option<core::Metadata>, cx: &mut Context) -> Metadata {
    let core::Metadata { filter_metadata, typed_filter_metadata } = message.unwrap_or_default();
    if !typed_filter_metadata.is_empty() {
        cx.ignore("metadata.typed_filter_metadata");
    }
    let filters = filter_metadata.into_iter();
    Metadata(filters.map(|(filter, fields)| (filter, decode_struct(fields))).collect())
}

pub(super) fn encode_struct(value: &Struct) -> prost_types::Struct {
    let fields = value.iter().map(|(key, value)| (key.clone(), encode_value(value)));
    prost_types::Struct { fields: fields.collect() }
}

pub(super) fn decode_struct(message: prost_types::Struct) -> Struct {
    let prost_types::Struct { fields } = message;
    fields.into_iter().map(|(key, value)| (key, decode_value(value))).collect()
}

fn encode_value(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(bits) => Kind::NumberValue(f64::from_bits(*bits)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::List(values) => {
            Kind::ListValue(ListValue { values: values.iter().map(encode_value).collect() })
        }
        Value::Struct(fields) => Kind::StructValue(encode_struct(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn decode_value(message: prost_types::Value) -> Value {
    let prost_types::Value { kind } = message;
    match kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => Value::number(value),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(ListValue { values })) => {
            Value::List(values.into_iter().map(decode_value).collect())
        }
        Some(Kind::StructValue(fields)) => Value::Struct(decode_struct(fields)),
    }
}

pub(super) fn inline_bytes(bytes: &[u8]) -> DataSource {
    let specifier = Some(data_source::Specifier::InlineBytes(bytes.to_vec()));
    DataSource { specifier, ..Default::default() }
}

pub(super) fn inline_string(text: &str) -> DataSource {
    let specifier = Some(data_source::Specifier::InlineString(text.to_owned()));
    DataSource { specifier, ..Default::default() }
}

/// Bytes that stand in the message. A proxy reads no files that its configuration names.
pub(super) fn decode_inline(message: DataSource, cx: &mut Context) -> Result<Vec<u8>> {
    use data_source::Specifier;
    fields! { cx, message => DataSource { specifier } ignored { watched_directory } }
    match specifier {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes),
        Some(Specifier::InlineString(text)) => Ok(text.into_bytes()),
        Some(Specifier::Filename(_)) => {
            cx.fail_at("filename", "is not supported: give the content inline")
        }
        Some(Specifier::EnvironmentVariable(_)) => {
            cx.fail_at("environment_variable", "is not supported: give the content inline")
        }
        None => cx.fail("must have a content"),
    }
}
