//! What consistent hashing goes by.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::header;

use super::super::{exchange::Exchange, request::Head};

/// The request's hash; none when no policy finds anything in it.
pub(super) fn hash(policies: &[xds::HashPolicy], head: &Head, exchange: &Exchange) -> Option<u64> {
    let mut found = None;
    for policy in policies {
        let value = match policy {
            xds::HashPolicy::Header(name) => {
                head.headers.get(name.as_str()).map(|value| digest(value.as_bytes()))
            }
            xds::HashPolicy::Cookie { name, .. } => {
                cookie(head, name).map(|value| digest(value.as_bytes()))
            }
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
            found = Some(found.map_or(value, |old: u64| old.rotate_left(1) ^ value));
        }
    }
    found
}

fn digest(bytes: &[u8]) -> u64 {
    // Has fixed keys: all workers and all runs agree.
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn cookie<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    let values = head.headers.get_all(header::COOKIE).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';')).find_map(
        |pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        },
    )
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })
}
