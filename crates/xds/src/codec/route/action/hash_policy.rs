//! What consistent hashing goes by.

use pb::envoy::config::route::v3::route_action::{
    self as action,
    hash_policy::{
        ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
    },
};

use crate::{
    HashPolicy,
    codec::{
        any::duration,
        context::{Context, Result, fields},
    },
};

pub(super) fn encode(value: &HashPolicy) -> action::HashPolicy {
    let specifier = match value {
        HashPolicy::Header(name) => {
            PolicySpecifier::Header(Header { header_name: name.clone(), ..Default::default() })
        }
        HashPolicy::Cookie { name, path, ttl, attributes } => PolicySpecifier::Cookie(Cookie {
            name: name.clone(),
            path: path.clone(),
            ttl: ttl.map(duration),
            attributes: attributes
                .iter()
                .map(|(name, value)| CookieAttribute { name: name.clone(), value: value.clone() })
                .collect(),
        }),
        HashPolicy::SourceIp => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
        HashPolicy::QueryParameter(name) => {
            PolicySpecifier::QueryParameter(QueryParameter { name: name.clone() })
        }
    };
    action::HashPolicy { policy_specifier: Some(specifier), ..Default::default() }
}

pub(super) fn decode(message: action::HashPolicy, cx: &mut Context) -> Result<HashPolicy> {
    fields! {
        cx, message => action::HashPolicy { policy_specifier }
        ignored { terminal }
    }
    match policy_specifier {
        Some(PolicySpecifier::Header(header)) => cx.at("header", |cx| {
            fields! { cx, header => Header { header_name } rejected { regex_rewrite } }
            Ok(HashPolicy::Header(header_name))
        }),
        Some(PolicySpecifier::Cookie(cookie)) => cx.at("cookie", |cx| {
            let Cookie { name, ttl, path, attributes } = cookie;
            let attributes = attributes.into_iter().map(|one| (one.name, one.value)).collect();
            Ok(HashPolicy::Cookie { name, path, ttl: cx.duration("ttl", ttl)?, attributes })
        }),
        Some(PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })) => {
            Ok(HashPolicy::SourceIp)
        }
        Some(PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: false })) => {
            cx.fail_at("connection_properties", "must have source_ip")
        }
        Some(PolicySpecifier::QueryParameter(QueryParameter { name })) => {
            Ok(HashPolicy::QueryParameter(name))
        }
        Some(PolicySpecifier::FilterState(_)) => cx.fail_at("filter_state", "is not supported"),
        None => cx.fail("must say what hashing goes by"),
    }
}
