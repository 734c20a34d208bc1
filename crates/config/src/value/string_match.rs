//! Istio's `StringMatch`: exactly one of `exact`, `prefix` and `regex`.

use serde::Deserialize;

/// How a string is matched. Regular expressions are RE2-like, match the whole string and are
/// checked when the object is validated.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "Fields")]
pub enum StringMatch {
    /// The string is this one.
    Exact(String),
    /// The string starts with this one.
    Prefix(String),
    /// The whole string matches this regular expression.
    Regex(String),
    /// `{}`: any value, as long as there is one. Only for headers and query parameters.
    Present,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    exact: Option<String>,
    prefix: Option<String>,
    regex: Option<String>,
}

impl TryFrom<Fields> for StringMatch {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        match (fields.exact, fields.prefix, fields.regex) {
            (Some(exact), None, None) => Ok(Self::Exact(exact)),
            (None, Some(prefix), None) => Ok(Self::Prefix(prefix)),
            (None, None, Some(regex)) => Ok(Self::Regex(regex)),
            (None, None, None) => Ok(Self::Present),
            _ => Err("only one of exact, prefix and regex may be given"),
        }
    }
}
