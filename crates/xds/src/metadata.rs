//! Opaque and semi-structured data that resources carry along.

use std::collections::BTreeMap;

/// A `google.protobuf.Struct`: field names to values.
pub type Struct = BTreeMap<String, Value>;

/// A `google.protobuf.Value` that can be compared and hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// JSON's null.
    Null,
    /// JSON's true or false.
    Bool(bool),
    /// A number, as the bits of an IEEE 754 double.
    Number(u64),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Value>),
    /// An object.
    Struct(Struct),
}

impl Value {
    /// A number value.
    pub fn number(number: f64) -> Self {
        Self::Number(number.to_bits())
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The fields, if this is an object.
    pub fn as_struct(&self) -> Option<&Struct> {
        match self {
            Self::Struct(fields) => Some(fields),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

/// Data for filters and tools, by the owner's name (`envoy.config.core.v3.Metadata`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata(
    /// Filter name to its fields, such as `istio` to `{config: …}`.
    pub BTreeMap<String, Struct>,
);

impl Metadata {
    /// The value at `filter.key`.
    pub fn get(&self, filter: &str, key: &str) -> Option<&Value> {
        self.0.get(filter)?.get(key)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A message that Mizzen does not interpret, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opaque {
    /// The `Any`'s type URL.
    pub type_url: String,
    /// The `Any`'s bytes.
    pub value: Vec<u8>,
}
