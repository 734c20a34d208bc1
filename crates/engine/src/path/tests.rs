//! Path confusion: what each mode of Istio's `pathNormalization` makes of a path.

use proptest::prelude::*;
use xds::EscapedSlashes;

use super::*;

const BASE: Normalization =
    Normalization { normalize: true, merge_slashes: false, escaped_slashes: EscapedSlashes::Keep };
const MERGE: Normalization = Normalization { merge_slashes: true, ..BASE };
const DECODE: Normalization =
    Normalization { escaped_slashes: EscapedSlashes::UnescapeAndForward, ..MERGE };
const NONE: Normalization =
    Normalization { normalize: false, merge_slashes: false, escaped_slashes: EscapedSlashes::Keep };

fn run(path: &str, options: Normalization) -> String {
    match normalize(path, options) {
        Ok(Normalized::Path(path)) => path.into_owned(),
        Ok(Normalized::Redirect(path)) => format!("307 {path}"),
        Err(BadPath) => "400".to_owned(),
    }
}

#[test]
fn each_mode() {
    let table = [
        ("/a#f", "/a", "/a", "/a", "/a"),
        ("/a/../b", "/a/../b", "/b", "/b", "/b"),
        ("/a//", "/a//", "/a//", "/a/", "/a/"),
        ("/a/%2f", "/a/%2f", "/a/%2f", "/a/%2f", "/a/"),
        ("/q%30..//z", "/q%30..//z", "/q0..//z", "/q0../z", "/q0../z"),
        ("/a/%2E./b", "/a/%2E./b", "/b", "/b", "/b"),
        ("/a\\b", "/a\\b", "/a/b", "/a/b", "/a/b"),
        ("/a//../b", "/a//../b", "/a/b", "/a/b", "/a/b"),
        ("/a//../../b", "/a//../../b", "/b", "/b", "/b"),
        ("/%2Fa%5cb", "/%2Fa%5cb", "/%2Fa%5cb", "/%2Fa%5cb", "/a/b"),
        ("/b%00", "/b%00", "400", "400", "400"),
        ("/b?c=/../d", "/b?c=/../d", "/b?c=/../d", "/b?c=/../d", "/b?c=/../d"),
        ("/./b?x#y", "/./b?x", "/b?x", "/b?x", "/b?x"),
        ("/b/.", "/b/.", "/b/", "/b/", "/b/"),
        ("/b/..", "/b/..", "/", "/", "/"),
        ("/a/..;/b", "/a/..;/b", "/b", "/b", "/b"),
        ("/a/.;c=d/b", "/a/.;c=d/b", "/a/b", "/a/b", "/a/b"),
        ("*", "*", "*", "*", "*"),
    ];
    for (path, none, base, merge, decode) in table {
        assert_eq!(run(path, NONE), none, "NONE {path}");
        assert_eq!(run(path, BASE), base, "BASE {path}");
        assert_eq!(run(path, MERGE), merge, "MERGE {path}");
        assert_eq!(run(path, DECODE), decode, "DECODE {path}");
    }
}

#[test]
fn look_alikes_stay() {
    for path in
        ["/%252e%252e/b", "/%c1%9cb", "/%c0%afb", "/.../b", "/;/b", "/b;a=c", "/B", "/0x2e0x2e/b"]
    {
        assert_eq!(run(path, DECODE), path);
    }
}

#[test]
fn escaped_slashes_can_be_refused_or_redirected() {
    let reject = Normalization { escaped_slashes: EscapedSlashes::Reject, ..BASE };
    assert_eq!(run("/a%2Fb", reject), "400");
    let alone = Normalization { normalize: false, ..reject };
    assert_eq!((run("/a%5cb", alone), run("/a/../b", alone)), ("400".into(), "/a/../b".into()));
    let redirect = Normalization { escaped_slashes: EscapedSlashes::UnescapeAndRedirect, ..BASE };
    assert_eq!(run("/a%2Fb?q", redirect), "307 /a/b?q");
    assert_eq!(run("/a", redirect), "/a");
}

proptest! {
    /// What was normalised once stays, so two proxies in a row see the same path.
    #[test]
    fn normalising_twice_changes_nothing(path in "/[a-c./\\\\%25eEfF0?]{0,24}") {
        for options in [BASE, MERGE] {
            let once = run(&path, options);
            if once != "400" {
                prop_assert_eq!(run(&once, options), once);
            }
        }
    }

    #[test]
    fn any_text_is_answered(path in ".*") {
        let _answered = normalize(&path, DECODE);
    }
}
