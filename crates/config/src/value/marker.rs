//! Markers for fields that are read and not used. The YAML deserializer knows them by name: an
//! `Accepted` field is passed over, an `Unsupported` one becomes a warning with its position.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

pub(crate) const ACCEPTED: &str = "config.accepted";
pub(crate) const UNSUPPORTED: &str = "config.unsupported";

/// A field whose value cannot matter to Mizzen (bookkeeping of the API server, scheduling on the
/// only machine there is): accepted without a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Accepted;

/// A field that would matter and is not implemented: its presence is reported as a warning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Unsupported;

struct Marker;

impl<'de> serde::de::Visitor<'de> for Marker {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| ())
    }
}

impl<'de> Deserialize<'de> for Accepted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ACCEPTED, Marker).map(|()| Self)
    }
}

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(UNSUPPORTED, Marker).map(|()| Self)
    }
}
