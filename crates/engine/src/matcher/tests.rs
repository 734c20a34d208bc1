//! Matchers, one property a test.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

fn request(headers: &HeaderMap) -> RequestInfo<'_> {
    RequestInfo { authority: "a.b:80", path: "/p?x=1&y", method: "GET", scheme: "http", headers }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).expect("name"),
                HeaderValue::from_str(value).expect("value"),
            )
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

fn header(name: &str, matcher: xds::StringMatcher, invert: bool) -> HeaderMatcher {
    HeaderMatcher::new(&xds::HeaderMatcher {
        name: name.to_owned(),
        kind: xds::HeaderMatchKind::String(matcher),
        invert,
        treat_missing_as_empty: false,
    })
    .expect("matcher")
}

#[test]
fn a_regex_matches_the_whole_text() {
    let matcher = StringMatcher::new(&xds::StringMatcher::regex("a|b")).expect("regex");
    assert!(matcher.matches("a") && matcher.matches("b"));
    assert!(!matcher.matches("ab") && !matcher.matches("xa") && !matcher.matches("a\n"));
}

#[test]
fn a_bad_regex_is_refused_with_its_text() {
    let error = StringMatcher::new(&xds::StringMatcher::regex("(")).expect_err("bad");
    assert!(error.to_string().contains("\"(\" is not a regular expression"), "{error}");
}

#[test]
fn a_regex_is_valid_by_itself_or_not_at_all() {
    for text in ["a)|(b", "a)|(?:.*", ")("] {
        assert!(StringMatcher::new(&xds::StringMatcher::regex(text)).is_err(), "{text}");
    }
}

#[test]
fn case_can_be_left_out_of_account() {
    let matches = |pattern: xds::StringPattern, text: &str| {
        StringMatcher::new(&xds::StringMatcher { pattern, ignore_case: true })
            .expect("matcher")
            .matches(text)
    };
    assert!(matches(xds::StringPattern::Exact("Ab".to_owned()), "aB"));
    assert!(matches(xds::StringPattern::Prefix("aB".to_owned()), "AbC"));
    assert!(matches(xds::StringPattern::Suffix("BC".to_owned()), "abc"));
    assert!(matches(xds::StringPattern::Contains("BC".to_owned()), "abcd"));
    assert!(!matches(xds::StringPattern::Suffix("xabc".to_owned()), "abc"));
    assert!(!matches(xds::StringPattern::Suffix("\u{e9}".to_owned()), "\u{1e9}"));
}

#[test]
fn a_name_that_no_header_can_have_is_never_there() {
    let map = HeaderMap::new();
    let present = HeaderMatcher::new(&xds::HeaderMatcher {
        name: "a b".to_owned(),
        kind: xds::HeaderMatchKind::Present(true),
        invert: false,
        treat_missing_as_empty: false,
    })
    .expect("matcher");
    assert!(!present.matches(&request(&map), MultiValue::Any));
}

#[test]
fn several_values_cannot_hide_one_from_a_policy() {
    let map = headers(&[("x-role", "user"), ("x-role", "admin")]);
    let admin = header("x-role", xds::StringMatcher::exact("admin"), false);
    assert!(admin.matches(&request(&map), MultiValue::Any));
    assert!(!admin.matches(&request(&map), MultiValue::Joined));
    let joined = header("x-role", xds::StringMatcher::exact("user,admin"), false);
    assert!(joined.matches(&request(&map), MultiValue::Joined));
}

#[test]
fn a_missing_header_matches_nothing_even_inverted() {
    let map = HeaderMap::new();
    assert!(
        !header("x", xds::StringMatcher::exact("a"), true).matches(&request(&map), MultiValue::Any)
    );
    let lenient = HeaderMatcher {
        treat_missing_as_empty: true,
        ..header("x", xds::StringMatcher::exact("a"), true)
    };
    assert!(lenient.matches(&request(&map), MultiValue::Any));
}

#[test]
fn pseudo_headers_and_host_are_seen() {
    let map = HeaderMap::new();
    for (name, value) in
        [(":method", "GET"), (":path", "/p?x=1&y"), (":authority", "a.b:80"), ("host", "a.b:80")]
    {
        assert!(
            header(name, xds::StringMatcher::exact(value), false)
                .matches(&request(&map), MultiValue::Any),
            "{name}"
        );
    }
}

#[test]
fn query_parameters() {
    let matcher = |name: &str, value: Option<&str>| {
        QueryParameterMatcher::new(&xds::QueryParameterMatcher {
            name: name.to_owned(),
            value: value.map(xds::StringMatcher::exact),
        })
        .expect("matcher")
    };
    assert!(matcher("x", Some("1")).matches(Some("x=1&y")));
    assert!(matcher("y", None).matches(Some("x=1&y")));
    assert!(!matcher("z", None).matches(Some("x=1&y")));
    assert!(!matcher("x", Some("2")).matches(Some("x=1&x=2")));
    assert!(!matcher("x", None).matches(None));
}
