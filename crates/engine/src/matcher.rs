//! Compiled matchers of strings, headers and query parameters.

use std::borrow::Cow;

use http::HeaderName;
use regex::Regex;

use crate::{EngineError, RequestInfo};

/// Longest regex that is compiled, in bytes: bounds what a configuration can make the proxy spend.
const MAX_REGEX_LENGTH: usize = 1024 * 16;
/// Largest compiled regex, in bytes.
const MAX_REGEX_SIZE: usize = 1 << 20;

/// A compiled [`xds::StringMatcher`].
#[derive(Clone, Debug)]
pub struct StringMatcher {
    pattern: Pattern,
    ignore_case: bool,
}

#[derive(Clone, Debug)]
enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Regex),
}

impl StringMatcher {
    /// Compiles a matcher.
    ///
    /// # Errors
    /// When it holds a regex that is not valid or too large.
    pub fn new(matcher: &xds::StringMatcher) -> Result<Self, EngineError> {
        let pattern = match &matcher.pattern {
            xds::StringPattern::Exact(text) => Pattern::Exact(text.clone()),
            xds::StringPattern::Prefix(text) => Pattern::Prefix(text.clone()),
            xds::StringPattern::Suffix(text) => Pattern::Suffix(text.clone()),
            xds::StringPattern::Contains(text) if matcher.ignore_case => {
                Pattern::Contains(text.to_ascii_lowercase())
            }
            xds::StringPattern::Contains(text) => Pattern::Contains(text.clone()),
            xds::StringPattern::Regex(text) => Pattern::Regex(full_match(text)?),
        };
        Ok(Self { pattern, ignore_case: matcher.ignore_case })
    }

    /// Whether `text` matches. Case never counts where it is ignored, but for a regex, which says
    /// so by itself.
    pub fn matches(&self, text: &str) -> bool {
        let case_sensitive = !self.ignore_case;
        match &self.pattern {
            Pattern::Exact(wanted) => equal(text, wanted, case_sensitive),
            Pattern::Prefix(wanted) => starts_with(text, wanted, case_sensitive),
            Pattern::Suffix(wanted) => ends_with(text, wanted, case_sensitive),
            Pattern::Contains(wanted) if case_sensitive => text.contains(wanted),
            Pattern::Contains(wanted) => text.to_ascii_lowercase().contains(wanted),
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Whether two texts are the same, in ASCII without case if so wanted.
pub(crate) fn equal(text: &str, wanted: &str, case_sensitive: bool) -> bool {
    if case_sensitive { text == wanted } else { text.eq_ignore_ascii_case(wanted) }
}

/// Whether a text starts with another.
pub(crate) fn starts_with(text: &str, wanted: &str, case_sensitive: bool) -> bool {
    text.get(..wanted.len()).is_some_and(|start| equal(start, wanted, case_sensitive))
}

/// Whether a text ends with another.
fn ends_with(text: &str, wanted: &str, case_sensitive: bool) -> bool {
    let start = text.len().checked_sub(wanted.len());
    let end = start.and_then(|start| text.get(start..));
    end.is_some_and(|end| equal(end, wanted, case_sensitive))
}

/// Compiles an RE2 expression that must match the whole text.
pub(crate) fn full_match(expression: &str) -> Result<Regex, EngineError> {
    // By itself first: `a)|(b` must not become valid by what is put around it.
    compile(expression, expression)?;
    compile(&format!("^(?s:{expression})$"), expression)
}

/// Compiles an RE2 expression that may match anywhere.
pub(crate) fn partial_match(expression: &str) -> Result<Regex, EngineError> {
    compile(expression, expression)
}

fn compile(text: &str, shown: &str) -> Result<Regex, EngineError> {
    if shown.len() > MAX_REGEX_LENGTH {
        return Err(EngineError::new("regex", format!("longer than {MAX_REGEX_LENGTH} bytes")));
    }
    regex::RegexBuilder::new(text).size_limit(MAX_REGEX_SIZE).build().map_err(|error| {
        let reason = error.to_string();
        let last = reason.lines().last().unwrap_or_default().trim().to_owned();
        EngineError::new("regex", format!("{shown:?} is not a regular expression: {last}"))
    })
}

/// How a header with several values is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiValue {
    /// As one value, joined by commas: what Envoy's routes see.
    Joined,
    /// Each by itself, and one that matches is enough: what policies need, since joining lets a
    /// caller hide a value behind another.
    Any,
}

/// A compiled [`xds::HeaderMatcher`].
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    field: Field,
    kind: HeaderMatchKind,
    invert: bool,
    treat_missing_as_empty: bool,
}

/// Which part of a request a header's name means.
#[derive(Clone, Debug)]
enum Field {
    Authority,
    Path,
    Method,
    Scheme,
    /// `host`, which HTTP/2 does not have among its headers.
    Host,
    Header(HeaderName),
    /// A name that no request can have.
    Nothing,
}

#[derive(Clone, Debug)]
enum HeaderMatchKind {
    Present(bool),
    String(StringMatcher),
    Range { start: i64, end: i64 },
}

impl Field {
    fn new(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            ":authority" => Self::Authority,
            ":path" => Self::Path,
            ":method" => Self::Method,
            ":scheme" => Self::Scheme,
            "host" => Self::Host,
            name => HeaderName::from_bytes(name.as_bytes()).map_or(Self::Nothing, Self::Header),
        }
    }
}

impl HeaderMatcher {
    /// Compiles a matcher.
    ///
    /// # Errors
    /// When it holds a regex that is not valid.
    pub fn new(matcher: &xds::HeaderMatcher) -> Result<Self, EngineError> {
        let kind = match &matcher.kind {
            xds::HeaderMatchKind::Present(present) => HeaderMatchKind::Present(*present),
            xds::HeaderMatchKind::String(string) => {
                HeaderMatchKind::String(StringMatcher::new(string)?)
            }
            xds::HeaderMatchKind::Range { start, end } => {
                HeaderMatchKind::Range { start: *start, end: *end }
            }
        };
        Ok(Self {
            field: Field::new(&matcher.name),
            kind,
            invert: matcher.invert,
            treat_missing_as_empty: matcher.treat_missing_as_empty,
        })
    }

    /// Whether the request's header matches.
    pub fn matches(&self, request: &RequestInfo<'_>, multi: MultiValue) -> bool {
        let name = match &self.field {
            Field::Authority => return self.matches_text(request.authority),
            Field::Path => return self.matches_text(request.path),
            Field::Method => return self.matches_text(request.method),
            Field::Scheme => return self.matches_text(request.scheme),
            Field::Host => &http::header::HOST,
            Field::Header(name) => name,
            Field::Nothing => return self.matches_values(std::iter::empty()),
        };
        let values = request.headers.get_all(name);
        if matches!(self.field, Field::Host) && values.iter().next().is_none() {
            return self.matches_text(request.authority);
        }
        let texts = values.iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        match multi {
            MultiValue::Any => self.matches_values(texts),
            MultiValue::Joined => {
                self.matches_values(texts.reduce(|all, next| Cow::Owned(format!("{all},{next}"))))
            }
        }
    }

    fn matches_text(&self, text: &str) -> bool {
        self.matches_values(std::iter::once(Cow::Borrowed(text)))
    }

    fn matches_values<'a>(&self, values: impl IntoIterator<Item = Cow<'a, str>>) -> bool {
        let mut values = values.into_iter().peekable();
        let missing = values.peek().is_none();
        let empty = (missing && self.treat_missing_as_empty).then_some(Cow::Borrowed(""));
        if let HeaderMatchKind::Present(wanted) = self.kind {
            let present = !missing || self.treat_missing_as_empty;
            return (present == wanted) != self.invert;
        }
        // A value that is not there matches nothing, not even an inverted matcher, unless missing
        // counts as empty; so says Envoy's HeaderMatcher.
        if missing && empty.is_none() {
            return false;
        }
        values.chain(empty).any(|value| self.matches_value(&value)) != self.invert
    }

    fn matches_value(&self, value: &str) -> bool {
        match &self.kind {
            HeaderMatchKind::Present(present) => *present,
            HeaderMatchKind::String(matcher) => matcher.matches(value),
            HeaderMatchKind::Range { start, end } => {
                value.trim().parse::<i64>().is_ok_and(|number| (*start..*end).contains(&number))
            }
        }
    }
}

/// A compiled [`xds::QueryParameterMatcher`].
#[derive(Clone, Debug)]
pub struct QueryParameterMatcher {
    name: String,
    value: Option<StringMatcher>,
}

impl QueryParameterMatcher {
    /// Compiles a matcher.
    ///
    /// # Errors
    /// When it holds a regex that is not valid.
    pub fn new(matcher: &xds::QueryParameterMatcher) -> Result<Self, EngineError> {
        let value = matcher.value.as_ref().map(StringMatcher::new).transpose()?;
        Ok(Self { name: matcher.name.clone(), value })
    }

    /// Whether a query string (without `?`) has a parameter that matches. The first one of the
    /// name decides; values are compared as they stand, without decoding.
    pub fn matches(&self, query: Option<&str>) -> bool {
        let found = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name == self.name).then_some(value)
        });
        match (&self.value, found) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(matcher), Some(value)) => matcher.matches(value),
        }
    }
}

#[cfg(test)]
mod tests;
