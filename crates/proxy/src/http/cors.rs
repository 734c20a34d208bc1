//! Cross-origin resource sharing, as Envoy's CORS filter does it: preflights are answered here, and
//! other answers get the headers that let a browser read them.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{local_reply::LocalReply, request::Head};

/// What the answer gets.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl State {
    /// Adds them to the answer.
    pub(super) fn apply(&self, map: &mut HeaderMap) {
        for (name, value) in &self.headers {
            map.insert(name.clone(), value.clone());
        }
    }
}

/// Looks at a request; an answer means that it was a preflight.
pub(super) fn check(cors: &engine::Cors, head: &mut Head) -> Option<LocalReply> {
    let policy = &cors.policy;
    let origin = head.headers.get(header::ORIGIN)?.clone();
    let preflight = head.method == Method::OPTIONS
        && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !origin.to_str().is_ok_and(|origin| cors.allows(origin)) {
        let forwards = policy.forward_not_matching_preflights.unwrap_or(true);
        return (preflight && !forwards)
            .then(|| LocalReply::new(StatusCode::OK, "", "cors_response"));
    }
    let mut headers = vec![(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)];
    if policy.allow_credentials == Some(true) {
        headers.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
    }
    let mut add = |name: HeaderName, text: &str| {
        if !text.is_empty()
            && let Ok(value) = HeaderValue::from_str(text)
        {
            headers.push((name, value));
        }
    };
    add(header::ACCESS_CONTROL_EXPOSE_HEADERS, &policy.expose_headers);
    if !preflight {
        head.cors = State { headers };
        return None;
    }
    add(header::ACCESS_CONTROL_ALLOW_METHODS, &policy.allow_methods);
    add(header::ACCESS_CONTROL_ALLOW_HEADERS, &policy.allow_headers);
    add(header::ACCESS_CONTROL_MAX_AGE, &policy.max_age);
    let mut reply = LocalReply::new(StatusCode::OK, "", "cors_response");
    reply.headers = headers;
    Some(reply)
}
