//! Matchers of strings, headers and query parameters, and fractions.

use pb::envoy::{
    config::{
        core::v3::RuntimeFractionalPercent,
        route::v3::{self as route, header_matcher, query_parameter_matcher},
    },
    r#type::{
        matcher::v3::{self as matcher, RegexMatcher, regex_matcher, string_matcher},
        v3::{self as types, Int64Range, fractional_percent::DenominatorType},
    },
};

use super::context::{Context, Result, fields};
use crate::{
    Denominator, FractionalPercent, HeaderMatchKind, HeaderMatcher, QueryParameterMatcher,
    RegexMatchAndSubstitute, StringMatcher, StringPattern,
};

pub(super) fn encode(value: &StringMatcher) -> matcher::StringMatcher {
    use string_matcher::MatchPattern;
    let pattern = match &value.pattern {
        StringPattern::Exact(text) => MatchPattern::Exact(text.clone()),
        StringPattern::Prefix(text) => MatchPattern::Prefix(text.clone()),
        StringPattern::Suffix(text) => MatchPattern::Suffix(text.clone()),
        StringPattern::Contains(text) => MatchPattern::Contains(text.clone()),
        StringPattern::Regex(regex) => MatchPattern::SafeRegex(encode_regex(regex)),
    };
    matcher::StringMatcher { ignore_case: value.ignore_case, match_pattern: Some(pattern) }
}

pub(super) fn decode(message: matcher::StringMatcher, cx: &mut Context) -> Result<StringMatcher> {
    use string_matcher::MatchPattern;
    let matcher::StringMatcher { ignore_case, match_pattern } = message;
    let pattern = match match_pattern {
        Some(MatchPattern::Exact(text)) => StringPattern::Exact(text),
        Some(MatchPattern::Prefix(text)) => StringPattern::Prefix(text),
        Some(MatchPattern::Suffix(text)) => StringPattern::Suffix(text),
        Some(MatchPattern::Contains(text)) => StringPattern::Contains(text),
        Some(MatchPattern::SafeRegex(regex)) => {
            StringPattern::Regex(cx.at("safe_regex", |cx| decode_regex(regex, cx))?)
        }
        Some(MatchPattern::Custom(_)) => return cx.fail_at("custom", "is not supported"),
        None => return cx.fail("must have a pattern"),
    };
    Ok(StringMatcher { pattern, ignore_case })
}

pub(super) fn encode_regex(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), engine_type: None }
}

#[expect(deprecated, reason = "a decoder names every field")]
pub(super) fn decode_regex(message: RegexMatcher, cx: &mut Context) -> Result<String> {
    let RegexMatcher { regex, engine_type } = message;
    if let Some(regex_matcher::EngineType::GoogleRe2(re2)) = engine_type {
        let regex_matcher::GoogleRe2 { max_program_size } = re2;
        cx.at("google_re2", |cx| {
            cx.ignored("max_program_size", &max_program_size);
            Ok(())
        })?;
    }
    if regex.is_empty() {
        return cx.fail_at("regex", "must not be empty");
    }
    Ok(regex)
}

pub(super) fn encode_substitution(
    value: &RegexMatchAndSubstitute,
) -> matcher::RegexMatchAndSubstitute {
    matcher::RegexMatchAndSubstitute {
        pattern: Some(encode_regex(&value.regex)),
        substitution: value.substitution.clone(),
    }
}

pub(super) fn decode_substitution(
    message: matcher::RegexMatchAndSubstitute,
    cx: &mut Context,
) -> Result<RegexMatchAndSubstitute> {
    let matcher::RegexMatchAndSubstitute { pattern, substitution } = message;
    let regex = cx.required("pattern", pattern, decode_regex)?;
    Ok(RegexMatchAndSubstitute { regex, substitution })
}

pub(super) fn encode_header(value: &HeaderMatcher) -> route::HeaderMatcher {
    use header_matcher::HeaderMatchSpecifier as Specifier;
    let specifier = match &value.kind {
        HeaderMatchKind::Present(present) => Specifier::PresentMatch(*present),
        HeaderMatchKind::String(matcher) => Specifier::StringMatch(encode(matcher)),
        HeaderMatchKind::Range { start, end } => {
            Specifier::RangeMatch(Int64Range { start: *start, end: *end })
        }
    };
    route::HeaderMatcher {
        name: value.name.clone(),
        invert_match: value.invert,
        treat_missing_header_as_empty: value.treat_missing_as_empty,
        header_match_specifier: Some(specifier),
    }
}

#[expect(deprecated, reason = "the old forms mean the same")]
pub(super) fn decode_header(
    message: route::HeaderMatcher,
    cx: &mut Context,
) -> Result<HeaderMatcher> {
    use header_matcher::HeaderMatchSpecifier as Specifier;
    let route::HeaderMatcher {
        name,
        invert_match,
        treat_missing_header_as_empty,
        header_match_specifier,
    } = message;
    let text = |pattern: StringPattern| HeaderMatchKind::String(pattern.into());
    let kind = match header_match_specifier {
        // Envoy: without a specifier the header must be present.
        None => HeaderMatchKind::Present(true),
        Some(Specifier::PresentMatch(present)) => HeaderMatchKind::Present(present),
        Some(Specifier::StringMatch(matcher)) => {
            HeaderMatchKind::String(cx.at("string_match", |cx| decode(matcher, cx))?)
        }
        Some(Specifier::RangeMatch(Int64Range { start, end })) => {
            HeaderMatchKind::Range { start, end }
        }
        Some(Specifier::ExactMatch(exact)) => text(StringPattern::Exact(exact)),
        Some(Specifier::PrefixMatch(prefix)) => text(StringPattern::Prefix(prefix)),
        Some(Specifier::SuffixMatch(suffix)) => text(StringPattern::Suffix(suffix)),
        Some(Specifier::ContainsMatch(part)) => text(StringPattern::Contains(part)),
        Some(Specifier::SafeRegexMatch(regex)) => {
            text(StringPattern::Regex(cx.at("safe_regex_match", |cx| decode_regex(regex, cx))?))
        }
    };
    if name.is_empty() {
        return cx.fail_at("name", "must not be empty");
    }
    let treat_missing_as_empty = treat_missing_header_as_empty;
    Ok(HeaderMatcher { name, kind, invert: invert_match, treat_missing_as_empty })
}

pub(super) fn encode_query(value: &QueryParameterMatcher) -> route::QueryParameterMatcher {
    use query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let specifier = match &value.value {
        Some(matcher) => Specifier::StringMatch(encode(matcher)),
        None => Specifier::PresentMatch(true),
    };
    route::QueryParameterMatcher {
        name: value.name.clone(),
        query_parameter_match_specifier: Some(specifier),
    }
}

pub(super) fn decode_query(
    message: route::QueryParameterMatcher,
    cx: &mut Context,
) -> Result<QueryParameterMatcher> {
    use query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let route::QueryParameterMatcher { name, query_parameter_match_specifier } = message;
    let value = match query_parameter_match_specifier {
        None | Some(Specifier::PresentMatch(true)) => None,
        Some(Specifier::PresentMatch(false)) => {
            return cx.fail_at("present_match", "false is not supported");
        }
        Some(Specifier::StringMatch(matcher)) => {
            Some(cx.at("string_match", |cx| decode(matcher, cx))?)
        }
    };
    Ok(QueryParameterMatcher { name, value })
}

pub(super) fn encode_fraction(value: FractionalPercent) -> types::FractionalPercent {
    let denominator = match value.denominator {
        Denominator::Hundred => DenominatorType::Hundred,
        Denominator::TenThousand => DenominatorType::TenThousand,
        Denominator::Million => DenominatorType::Million,
    };
    types::FractionalPercent { numerator: value.numerator, denominator: denominator.into() }
}

pub(super) fn decode_fraction(
    message: types::FractionalPercent,
    cx: &mut Context,
) -> Result<FractionalPercent> {
    let types::FractionalPercent { numerator, denominator } = message;
    let denominator = match cx.enumeration("denominator", denominator)? {
        DenominatorType::Hundred => Denominator::Hundred,
        DenominatorType::TenThousand => Denominator::TenThousand,
        DenominatorType::Million => Denominator::Million,
    };
    Ok(FractionalPercent { numerator, denominator })
}

/// A fraction without a runtime key: nothing changes it but a new configuration.
pub(super) fn encode_runtime_fraction(value: FractionalPercent) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent {
        default_value: Some(encode_fraction(value)),
        runtime_key: String::new(),
    }
}

/// A missing default is 0 %, as in Envoy.
pub(super) fn decode_runtime_fraction(
    message: RuntimeFractionalPercent,
    cx: &mut Context,
) -> Result<FractionalPercent> {
    fields! {
        cx, message => RuntimeFractionalPercent { default_value }
        ignored { runtime_key }
    }
    cx.at("default_value", |cx| decode_fraction(default_value.unwrap_or_default(), cx))
}
