//! Durations as Istio's API writes them: Go's notation (`1.5s`, `10ms`, `1h30m`), never negative.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};

const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
];
/// Ten thousand years in seconds: the bound of protobuf's `Duration`.
const MAX_SECONDS: f64 = 315_576_000_000.0;

/// Reads a duration such as `1.5s`, `10ms` or `1h30m`.
///
/// # Errors
/// A sentence saying what is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("\"{text}\" is not a duration: write it like \"1.5s\", \"10ms\" or \"1h\"");
    if text.starts_with('-') {
        return Err(format!("\"{text}\" is negative"));
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0.0_f64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let (unit, seconds) =
            UNITS.iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(wrong)?;
        rest = &rest[unit.len()..];
        nanos += number * seconds * 1e9;
    }
    if nanos / 1e9 > MAX_SECONDS {
        return Err(format!("\"{text}\" is too long"));
    }
    Duration::try_from_secs_f64(nanos.round() / 1e9).map_err(|_| wrong())
}

/// A duration in text; a bare number gets a message of its own.
struct Text(Duration);

struct TextVisitor;

impl de::Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"1.5s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
        parse_duration(text).map(Text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text, E> {
        Err(E::custom(format_args!("the duration {number} has no unit: write it like \"1.5s\"")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Text, E> {
        Err(E::custom(format_args!("the duration {number} has no unit: write it like \"1.5s\"")))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

/// For `#[serde(deserialize_with)]` on an `Option<Duration>` field.
pub(crate) fn option<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(duration)| duration))
}
