//! What the proxy says about the client: `x-forwarded-*`, the request id, and which internal
//! headers a client may not bring along. Follows Envoy's HTTP header sanitising.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use http::{HeaderMap, HeaderValue};
use pki::PeerIdentity;

use super::{codec::HttpConnection, headers, request::Head};

/// Puts a request's forwarding headers right.
pub(super) fn apply(http: &HttpConnection, head: &mut Head) {
    let config = &http.manager.engine.config;
    if config.use_remote_address {
        sanitize_edge(&mut head.headers);
    } else {
        for name in UNTRUSTED {
            head.headers.remove(name);
        }
    }
    forwarded_for(http, head);
    let proto = HeaderValue::from_static(head.scheme);
    if config.use_remote_address && config.xff_num_trusted_hops == 0 {
        head.headers.insert(headers::FORWARDED_PROTO, proto);
    } else {
        let given = head.headers.get(headers::FORWARDED_PROTO).map(HeaderValue::as_bytes);
        match given {
            Some(given) if given.eq_ignore_ascii_case(b"https") => head.scheme = "https",
            Some(given) if given.eq_ignore_ascii_case(b"http") => head.scheme = "http",
            _ => {
                head.headers.insert(headers::FORWARDED_PROTO, proto);
            }
        }
    }
    request_id(http, &mut head.headers);
    client_cert(http, &mut head.headers);
}

/// What tells a router what to do: no client is trusted with it, as no address counts as internal.
const UNTRUSTED: [&str; 13] = [
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-ms",
];

/// Nobody outside may speak for the mesh's own proxies.
fn sanitize_edge(map: &mut HeaderMap) {
    let internal: Vec<_> =
        map.keys().filter(|name| name.as_str().starts_with("x-envoy-")).cloned().collect();
    for name in internal {
        map.remove(name);
    }
}

/// Finds the client's address, and adds the peer's to `x-forwarded-for` at an edge.
fn forwarded_for(http: &HttpConnection, head: &mut Head) {
    let config = &http.manager.engine.config;
    let peer = http.connection.remote;
    let hops = usize::try_from(config.xff_num_trusted_hops).unwrap_or(usize::MAX);
    let listed = addresses(&head.headers);
    if !config.use_remote_address {
        let index = listed.len().checked_sub(hops.saturating_add(1));
        if let Some(ip) = index.and_then(|index| listed[index]) {
            head.remote = SocketAddr::new(ip, 0);
        }
        return;
    }
    if hops > 0 {
        let index = listed.len().checked_sub(hops);
        if let Some(ip) = index.and_then(|index| listed[index]) {
            head.remote = SocketAddr::new(ip, 0);
        }
    }
    append(&mut head.headers, &peer.ip().to_string());
    if let Ok(value) = HeaderValue::from_str(&head.remote.ip().to_string()) {
        head.headers.insert(headers::EXTERNAL_ADDRESS, value);
    }
}

/// The addresses of `x-forwarded-for`, in order; what is no address is none.
fn addresses(map: &HeaderMap) -> Vec<Option<IpAddr>> {
    let values = map.get_all(headers::FORWARDED_FOR).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|address| address.trim().parse().ok())
        .collect()
}

fn append(map: &mut HeaderMap, address: &str) {
    let mut joined = String::new();
    for value in map.get_all(headers::FORWARDED_FOR) {
        if let Ok(text) = value.to_str() {
            joined.push_str(text);
            joined.push(',');
        }
    }
    joined.push_str(address);
    if let Ok(value) = HeaderValue::from_str(&joined) {
        map.insert(headers::FORWARDED_FOR, value);
    }
}

/// Gives the request an id, unless a trusted client gave it one.
fn request_id(http: &HttpConnection, map: &mut HeaderMap) {
    let config = &http.manager.engine.config;
    let untrusted = config.use_remote_address && !config.preserve_external_request_id;
    if untrusted {
        map.remove(headers::REQUEST_ID);
    }
    if config.generate_request_id && !map.contains_key(headers::REQUEST_ID) {
        let worker = &http.connection.worker;
        let random = u128::from(worker.random()) << 64 | u128::from(worker.random());
        let id = uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid();
        let mut buffer = uuid::Uuid::encode_buffer();
        if let Ok(value) = HeaderValue::from_str(id.hyphenated().encode_lower(&mut buffer)) {
            map.insert(headers::REQUEST_ID, value);
        }
    }
}

/// Treats `x-forwarded-client-cert` as the configuration says.
fn client_cert(http: &HttpConnection, map: &mut HeaderMap) {
    use xds::ForwardClientCert as Forward;
    let config = &http.manager.engine.config;
    let tls = http.connection.tls.as_ref();
    let peer = tls.and_then(|tls| tls.peer.as_deref());
    match (config.forward_client_cert, peer) {
        (Forward::AlwaysForwardOnly, _) | (Forward::ForwardOnly, Some(_)) => {}
        (Forward::AppendForward, Some(peer)) => {
            let own = tls.and_then(|tls| tls.local_uri.as_deref());
            let element = element(peer, own, config.client_cert_details);
            if let Ok(value) = HeaderValue::from_str(&joined(map, &element)) {
                map.insert(headers::CLIENT_CERT, value);
            }
        }
        (Forward::SanitizeSet, Some(peer)) => {
            let own = tls.and_then(|tls| tls.local_uri.as_deref());
            let element = element(peer, own, config.client_cert_details);
            map.remove(headers::CLIENT_CERT);
            if let Ok(value) = HeaderValue::from_str(&element) {
                map.insert(headers::CLIENT_CERT, value);
            }
        }
        (Forward::Sanitize, _) | (_, None) => {
            map.remove(headers::CLIENT_CERT);
        }
    }
}

fn joined(map: &HeaderMap, element: &str) -> String {
    let mut all: Vec<&str> =
        map.get_all(headers::CLIENT_CERT).iter().filter_map(|value| value.to_str().ok()).collect();
    all.push(element);
    all.join(",")
}

/// One element: `By=…;Hash=…;Subject="…";URI=…;DNS=…`. Names come out of certificates, so what
/// would end a value is quoted.
fn element(peer: &PeerIdentity, own: Option<&str>, details: xds::ClientCertDetails) -> String {
    let mut out = String::new();
    if let Some(own) = own {
        let _ = write!(out, "By={};", quoted_if_needed(own));
    }
    let _ = write!(out, "Hash={}", peer.sha256);
    if details.subject {
        let _ = write!(out, ";Subject={}", quoted(&peer.subject));
    }
    if details.uri {
        if peer.uri_sans.is_empty() {
            out.push_str(";URI=");
        }
        for uri in &peer.uri_sans {
            let _ = write!(out, ";URI={}", quoted_if_needed(uri));
        }
    }
    if details.dns {
        for name in &peer.dns_sans {
            let _ = write!(out, ";DNS={}", quoted_if_needed(name));
        }
    }
    out
}

fn quoted_if_needed(text: &str) -> String {
    if text.contains([',', ';', '=', '"']) { quoted(text) } else { text.to_owned() }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_certificates_cannot_add_elements() {
        assert_eq!(quoted_if_needed("spiffe://a/b"), "spiffe://a/b");
        assert_eq!(quoted_if_needed("a,By=evil"), "\"a,By=evil\"");
        assert_eq!(quoted("a\"b\\"), "\"a\\\"b\\\\\"");
    }

    #[test]
    fn addresses_are_read_in_order() {
        let mut map = HeaderMap::new();
        map.append("x-forwarded-for", HeaderValue::from_static("1.2.3.4, nonsense"));
        map.append("x-forwarded-for", HeaderValue::from_static("::1"));
        let found = addresses(&map);
        assert_eq!(found.len(), 3);
        assert!(found[0].is_some() && found[1].is_none() && found[2].is_some());
        append(&mut map, "5.6.7.8");
        assert_eq!(map["x-forwarded-for"], "1.2.3.4, nonsense,::1,5.6.7.8");
    }
}
