//! Durations and visibility of values.

use std::time::Duration;

use proptest::prelude::*;

use super::parse_duration;
use crate::visibility::Visibility;

#[test]
fn durations_are_gos() {
    for (text, millis) in [
        ("0s", 0),
        ("0", 0),
        ("1s", 1000),
        ("1.5s", 1500),
        (".5s", 500),
        ("10ms", 10),
        ("1h30m", 5_400_000),
        ("1m1s1ms", 61_001),
        ("2000000ns", 2),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "s", "1", "1 s", "1d", "-1s", "1s2", "1..5s", "+1s", "1e3s", "999999999999h"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn export_to_is_istios() {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let sees = |export: &[&str], default: &[&str], from: &str| {
        Visibility::new(&list(export), &list(default), "own").includes(from)
    };
    assert!(sees(&[], &[], "other"));
    assert!(sees(&["."], &[], "own") && !sees(&["."], &[], "other"));
    assert!(sees(&["other"], &[], "other") && !sees(&["other"], &[], "own"));
    assert!(!sees(&["~"], &[], "own"));
    assert!(sees(&["~", "*"], &[], "other"));
    assert!(!sees(&["~", "other"], &[], "other"));
    assert!(!sees(&[], &["."], "other") && sees(&[], &["."], "own"));
}

proptest! {
    #[test]
    fn no_text_makes_a_duration_panic(text in "[-+0-9.a-zµ ]{0,20}") {
        let _ = parse_duration(&text);
    }
}
