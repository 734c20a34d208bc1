//! How strings, headers, paths and query parameters are matched (`envoy.type.matcher.v3`).

/// One way to match a string.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StringMatcher {
    /// The pattern.
    pub pattern: StringPattern,
    /// Compare without regard to ASCII case; has no effect on a regex.
    pub ignore_case: bool,
}

/// The pattern of a [`StringMatcher`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StringPattern {
    /// The whole string.
    Exact(String),
    /// The beginning.
    Prefix(String),
    /// The end.
    Suffix(String),
    /// Anywhere inside.
    Contains(String),
    /// An RE2 expression that matches the whole string.
    Regex(String),
}

impl StringMatcher {
    /// Matches the whole string, with regard to case.
    pub fn exact(text: impl Into<String>) -> Self {
        StringPattern::Exact(text.into()).into()
    }

    /// Matches the beginning, with regard to case.
    pub fn prefix(text: impl Into<String>) -> Self {
        StringPattern::Prefix(text.into()).into()
    }

    /// Matches the end, with regard to case.
    pub fn suffix(text: impl Into<String>) -> Self {
        StringPattern::Suffix(text.into()).into()
    }

    /// Matches the whole string against an RE2 expression.
    pub fn regex(text: impl Into<String>) -> Self {
        StringPattern::Regex(text.into()).into()
    }
}

impl From<StringPattern> for StringMatcher {
    fn from(pattern: StringPattern) -> Self {
        Self { pattern, ignore_case: false }
    }
}

/// Matches one header of a request (`envoy.config.route.v3.HeaderMatcher`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderMatcher {
    /// The header's name in lower case, or a pseudo header such as `:method`.
    pub name: String,
    /// What is asked of it.
    pub kind: HeaderMatchKind,
    /// Turn the result around.
    pub invert: bool,
    /// A header that is missing counts as one with an empty value.
    pub treat_missing_as_empty: bool,
}

/// What a [`HeaderMatcher`] asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeaderMatchKind {
    /// The header is there (true) or is not (false).
    Present(bool),
    /// Its value matches.
    String(StringMatcher),
    /// Its value is an integer in `start..end`.
    Range {
        /// First value inside.
        start: i64,
        /// First value outside.
        end: i64,
    },
}

/// Matches one query parameter (`envoy.config.route.v3.QueryParameterMatcher`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueryParameterMatcher {
    /// The parameter's name.
    pub name: String,
    /// What its value must match; none: it must be present.
    pub value: Option<StringMatcher>,
}

/// A regex and what replaces its matches (`RegexMatchAndSubstitute`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegexMatchAndSubstitute {
    /// The RE2 expression.
    pub regex: String,
    /// The replacement, with `\1` for the first group.
    pub substitution: String,
}

/// A fraction of requests (`envoy.type.v3.FractionalPercent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FractionalPercent {
    /// How many of `denominator`.
    pub numerator: u32,
    /// Of how many.
    pub denominator: Denominator,
}

/// The unit of a [`FractionalPercent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denominator {
    /// 100
    Hundred,
    /// 10,000
    TenThousand,
    /// 1,000,000
    Million,
}

impl FractionalPercent {
    /// A percentage of 0 to 100, with a resolution of one in a million.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=1,000,000 before the cast"
    )]
    pub fn from_percent(percent: f64) -> Self {
        let millionths = (percent * 10_000.0).round().clamp(0.0, 1_000_000.0);
        Self { numerator: millionths as u32, denominator: Denominator::Million }
    }

    /// The fraction in millionths, at most 1,000,000.
    pub fn millionths(self) -> u32 {
        let scale = match self.denominator {
            Denominator::Hundred => 10_000,
            Denominator::TenThousand => 100,
            Denominator::Million => 1,
        };
        self.numerator.saturating_mul(scale).min(1_000_000)
    }
}
