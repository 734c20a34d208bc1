//! What consistent hashing goes by.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use http::{HeaderMap, HeaderValue, header};

use super::super::{exchange::Exchange, request::Head};

/// What hashing comes to.
#[derive(Debug, Default)]
pub(super) struct Hashed {
    /// The request's hash; none when no policy finds anything in it.
    pub(super) hash: Option<u64>,
    /// A cookie that the client is to bring the next time.
    pub(super) set_cookie: Option<HeaderValue>,
}

/// Hashes a request. A cookie with a lifetime is made where the client brings none.
pub(super) fn hash(policies: &[xds::HashPolicy], head: &Head, exchange: &Exchange) -> Hashed {
    let mut hashed = Hashed::default();
    for policy in policies {
        let value = match policy {
            xds::HashPolicy::Header(name) => {
                head.headers.get(name.as_str()).map(|value| digest(value.as_bytes()))
            }
            xds::HashPolicy::Cookie { name, ttl, .. } => match (cookie(&head.headers, name), ttl) {
                (Some(value), _) => Some(digest(value.as_bytes())),
                (None, Some(_)) => {
                    let value = format!("{:016x}", exchange.http.connection.worker.random());
                    hashed.set_cookie = made(policy, &value);
                    Some(digest(value.as_bytes()))
                }
                (None, None) => None,
            },
            xds::HashPolicy::SourceIp => {
                Some(digest(exchange.facts.remote.ip().to_string().as_bytes()))
            }
            xds::HashPolicy::QueryParameter(name) => head
                .info()
                .query()
                .and_then(|query| parameter(query, name))
                .map(|value| digest(value.as_bytes())),
        };
        if let Some(value) = value {
            hashed.hash = Some(hashed.hash.map_or(value, |old: u64| old.rotate_left(1) ^ value));
        }
    }
    hashed
}

/// `Set-Cookie` for a cookie with this value (RFC 6265, 4.1); without a lifetime of its own it ends
/// with the client's session.
fn made(policy: &xds::HashPolicy, value: &str) -> Option<HeaderValue> {
    let xds::HashPolicy::Cookie { name, path, ttl, attributes } = policy else { return None };
    let mut text = format!("{name}={value}");
    if let Some(ttl) = ttl.filter(|ttl| !ttl.is_zero()) {
        let _ = write!(text, "; Max-Age={}", ttl.as_secs());
    }
    if !path.is_empty() {
        let _ = write!(text, "; Path={path}");
    }
    for (name, value) in attributes {
        let _ = match value.as_str() {
            "" => write!(text, "; {name}"),
            value => write!(text, "; {name}={value}"),
        };
    }
    text.push_str("; HttpOnly");
    HeaderValue::from_str(&text).ok()
}

fn digest(bytes: &[u8]) -> u64 {
    // Has fixed keys: all workers and all runs agree.
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// A cookie's value, without the quotes that it may stand in.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';')).find_map(
        |pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value.trim_matches('"'))
        },
    )
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn cookies_are_made_and_read_again() {
        let policy = |ttl, attributes: &[(&str, &str)]| xds::HashPolicy::Cookie {
            name: "user".into(),
            path: "/shop".into(),
            ttl: Some(Duration::from_secs(ttl)),
            attributes: attributes.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        };
        let made = |policy| made(&policy, "0a").expect("a cookie");
        assert_eq!(made(policy(0, &[])), "user=0a; Path=/shop; HttpOnly");
        let with = made(policy(9, &[("SameSite", "Strict"), ("Secure", "")]));
        assert_eq!(with, "user=0a; Max-Age=9; Path=/shop; SameSite=Strict; Secure; HttpOnly");
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; user=\"0a\"; b=2"));
        assert_eq!(cookie(&headers, "user"), Some("0a"));
        assert_eq!(cookie(&headers, "use"), None);
    }
}
