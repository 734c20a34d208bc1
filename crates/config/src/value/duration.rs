//! Durations as Istio's API writes them: Go's notation (`1.5s`, `10ms`, `1h30m`), never negative.

use std::time::Duration;

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

/// For `#[serde(deserialize_with)]` on an `Option<Duration>` field.
pub(crate) fn option<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_duration(&text).map_err(de::Error::custom)).transpose()
}
