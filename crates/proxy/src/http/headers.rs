//! Names of headers that are looked at by name, and the hop-by-hop ones.

use http::{HeaderMap, HeaderName, header};

macro_rules! names {
    ($($constant:ident = $name:literal;)*) => {
        $(pub(super) const $constant: HeaderName = HeaderName::from_static($name);)*
    };
}

names! {
    REQUEST_ID = "x-request-id";
    FORWARDED_FOR = "x-forwarded-for";
    FORWARDED_PROTO = "x-forwarded-proto";
    CLIENT_CERT = "x-forwarded-client-cert";
    EXTERNAL_ADDRESS = "x-envoy-external-address";
    ORIGINAL_HOST = "x-envoy-original-host";
    ORIGINAL_PATH = "x-envoy-original-path";
    ATTEMPT_COUNT = "x-envoy-attempt-count";
    EXPECTED_TIMEOUT = "x-envoy-expected-rq-timeout-ms";
    SERVICE_TIME = "x-envoy-upstream-service-time";
    DECORATOR = "x-envoy-decorator-operation";
    PEER_METADATA = "x-envoy-peer-metadata";
    PEER_METADATA_ID = "x-envoy-peer-metadata-id";
    RATE_LIMITED = "x-envoy-ratelimited";
    TIMEOUT = "x-envoy-upstream-rq-timeout-ms";
    PER_TRY_TIMEOUT = "x-envoy-upstream-rq-per-try-timeout-ms";
    RETRY_ON = "x-envoy-retry-on";
    RETRY_GRPC_ON = "x-envoy-retry-grpc-on";
    MAX_RETRIES = "x-envoy-max-retries";
    GRPC_TIMEOUT = "grpc-timeout";
    KEEP_ALIVE = "keep-alive";
    PROXY_CONNECTION = "proxy-connection";
}

/// Removes what concerns one connection only (RFC 9110, section 7.6.1): the fixed names and those
/// that `Connection` lists. `Upgrade` stays when an upgrade is going on.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap, upgrading: bool) {
    if headers.contains_key(header::CONNECTION) {
        remove_listed(headers);
        headers.remove(header::CONNECTION);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    if !upgrading {
        headers.remove(header::UPGRADE);
    }
    // `TE` may only announce that trailers are welcome (RFC 9113, section 8.2.2).
    if let Some(te) = headers.get(header::TE)
        && te.as_bytes() != b"trailers"
    {
        headers.remove(header::TE);
    }
}

/// A client must not be able to make us drop what later hops rely on: only names that are not
/// meaningful end to end are removed, as Envoy sanitises `Connection`.
fn remove_listed(headers: &mut HeaderMap) {
    let mut listed = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        let Ok(text) = value.to_str() else { continue };
        for token in text.split(',').map(str::trim) {
            if let Ok(name) = HeaderName::try_from(token.to_ascii_lowercase()) {
                listed.push(name);
            }
        }
    }
    for name in listed {
        let kept = name == header::UPGRADE
            || name == header::TE
            || name == header::HOST
            || name == header::CONTENT_LENGTH
            || name == header::AUTHORIZATION
            || name == header::COOKIE
            || name.as_str().starts_with("x-forwarded-")
            || name.as_str().starts_with("x-envoy-");
        if !kept {
            headers.remove(name);
        }
    }
}

/// The bytes of all names and values.
pub(super) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Puts the cookies that HTTP/2 may send one by one into one header (RFC 9113, section 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter().map(http::HeaderValue::as_bytes);
    let Some(first) = cookies.next() else { return };
    let mut joined = first.to_vec();
    for cookie in cookies {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie);
    }
    if let Ok(joined) = http::HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}
