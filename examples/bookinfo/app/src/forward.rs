//! The request headers that a service passes on to the services it calls.
//!
//! A mesh can join the spans of one request only when the application copies the tracing headers
//! from the request it serves to the requests it makes.

use http::HeaderMap;

/// Headers copied from an incoming request to the calls made on its behalf.
const FORWARDED: &[&str] = &[
    // Who asks: routes may match on these.
    "end-user",
    "cookie",
    "authorization",
    "user-agent",
    // Envoy and Zipkin.
    "x-request-id",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-ot-span-context",
    // W3C Trace Context.
    "traceparent",
    "tracestate",
    "baggage",
];

/// The part of `incoming` that goes along with calls to other services.
pub(crate) fn forwarded(incoming: &HeaderMap) -> HeaderMap {
    let mut outgoing = HeaderMap::new();
    for &name in FORWARDED {
        for value in incoming.get_all(name) {
            outgoing.append(name, value.clone());
        }
    }
    outgoing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracing_and_user_headers_go_on_and_others_stay() {
        let mut incoming = HeaderMap::new();
        for name in ["traceparent", "x-request-id", "b3", "x-b3-traceid", "end-user", "cookie"] {
            incoming.insert(name, "1".parse().unwrap());
        }
        incoming.insert("connection", "close".parse().unwrap());
        incoming.insert("content-length", "3".parse().unwrap());
        incoming.insert("x-forwarded-client-cert", "Hash=abc".parse().unwrap());
        let outgoing = forwarded(&incoming);
        assert_eq!(outgoing.len(), 6);
        assert!(!outgoing.contains_key("x-forwarded-client-cert"));
    }
}
