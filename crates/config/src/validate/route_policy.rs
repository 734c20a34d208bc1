//! The policies of an HTTP rule: redirect, rewrite, retries, faults, mirrors, CORS and headers.

use super::{checks, virtual_service::destination};
use crate::{
    networking::{
        Abort, CorsPolicy, HeaderOperations, Headers, HttpDirectResponse, HttpFaultInjection,
        HttpRedirect, HttpRetry, HttpRewrite, HttpRoute,
    },
    report::Report,
    yaml::{Path, excerpt},
};

/// Envoy's bound of a direct response's body, which Istio sets to 1 MiB.
const MAX_BODY: usize = 1 << 20;
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const RETRY_CONDITIONS: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

pub(crate) fn check(route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(value) = &route.redirect {
        redirect(value, &path.field("redirect"), report);
    }
    if let Some(value) = &route.direct_response {
        direct_response(value, &path.field("directResponse"), report);
    }
    if let Some(value) = &route.rewrite {
        rewrite(value, &path.field("rewrite"), report);
    }
    if let Some(value) = &route.retries {
        retries(value, &path.field("retries"), report);
    }
    if let Some(value) = &route.fault {
        fault(value, &path.field("fault"), report);
    }
    if let Some(value) = &route.cors_policy {
        cors(value, &path.field("corsPolicy"), report);
    }
    if let Some(value) = &route.headers {
        headers(value, &path.field("headers"), report);
    }
    mirrors(route, path, report);
}

fn redirect(value: &HttpRedirect, path: &Path<'_>, report: &mut Report<'_>) {
    if !value.uri.is_empty() && !value.prefix_rewrite.is_empty() {
        let message = "uri and prefixRewrite exclude each other";
        report.error(&path.field("prefixRewrite"), "exclusive-fields", message);
    }
    if value.port.is_some() && value.derive_port.is_some() {
        let message = "port and derivePort exclude each other";
        report.error(&path.field("derivePort"), "exclusive-fields", message);
    }
    checks::port(value.port, &path.field("port"), report);
    if !matches!(value.scheme.as_str(), "" | "http" | "https") {
        report.error(&path.field("scheme"), "invalid-value", "must be http or https");
    }
    if value.redirect_code.is_some_and(|code| !matches!(code, 301 | 302 | 303 | 307 | 308)) {
        let message = "must be one of 301, 302, 303, 307, 308";
        report.error(&path.field("redirectCode"), "invalid-status", message);
    }
    if *value == HttpRedirect::default() {
        report.error(path, "missing-field", "says nothing about where to redirect to");
    }
}

fn direct_response(value: &HttpDirectResponse, path: &Path<'_>, report: &mut Report<'_>) {
    checks::status(value.status, &path.field("status"), report);
    let Some(body) = &value.body else { return };
    let path = path.field("body");
    match (&body.string, &body.bytes) {
        (Some(_), Some(_)) => {
            report.error(&path, "exclusive-fields", "string and bytes exclude each other");
        }
        (None, None) => report.error(&path, "missing-field", "one of string and bytes is needed"),
        (Some(text), None) if text.len() > MAX_BODY => {
            report.error(&path.field("string"), "too-large", "has more than 1 MiB");
        }
        (None, Some(text)) => match crate::k8s::decode_base64(text) {
            None => report.error(&path.field("bytes"), "invalid-base64", "is not base64"),
            Some(bytes) if bytes.len() > MAX_BODY => {
                report.error(&path.field("bytes"), "too-large", "has more than 1 MiB");
            }
            Some(_) => {}
        },
        _ => {}
    }
}

fn rewrite(value: &HttpRewrite, path: &Path<'_>, report: &mut Report<'_>) {
    if *value == HttpRewrite::default() {
        report.error(path, "missing-field", "one of uri, authority, uriRegexRewrite is needed");
    }
    let Some(by_regex) = &value.uri_regex_rewrite else { return };
    let path = path.field("uriRegexRewrite");
    if !value.uri.is_empty() {
        report.error(&path, "exclusive-fields", "uri and uriRegexRewrite exclude each other");
    }
    if by_regex.pattern.is_empty() || by_regex.rewrite.is_empty() {
        report.error(&path, "missing-field", "match and rewrite are needed");
    }
    checks::regex(&by_regex.pattern, &path.field("match"), report);
}

fn retries(value: &HttpRetry, path: &Path<'_>, report: &mut Report<'_>) {
    if value.attempts < 0 {
        report.error(&path.field("attempts"), "invalid-value", "must not be negative");
    }
    let details = value.per_try_timeout.is_some() || !value.retry_on.is_empty();
    if value.attempts == 0 && details {
        let message = "attempts 0 means no retries: perTryTimeout and retryOn must not be set";
        report.error(&path.field("attempts"), "exclusive-fields", message);
    }
    checks::zero_or_1ms(value.per_try_timeout, &path.field("perTryTimeout"), report);
    checks::at_least_1ms(value.backoff, &path.field("backoff"), report);
    let path = path.field("retryOn");
    for condition in value.retry_on.split(',').map(str::trim).filter(|c| !c.is_empty()) {
        let is_status = condition.parse::<u32>().is_ok_and(|code| (200..=599).contains(&code));
        if !is_status && !RETRY_CONDITIONS.contains(&condition) {
            let message = format!("\"{}\" is not a condition for retries", excerpt(condition));
            match crate::yaml::nearest(condition, RETRY_CONDITIONS) {
                Some(near) => {
                    let help = format!("did you mean \"{near}\"?");
                    report.error_help(&path, "invalid-value", message, help);
                }
                None => report.error(&path, "invalid-value", message),
            }
        }
    }
}

fn fault(value: &HttpFaultInjection, path: &Path<'_>, report: &mut Report<'_>) {
    if value.delay.is_none() && value.abort.is_none() {
        report.error(path, "missing-field", "one of delay and abort is needed");
    }
    if let Some(delay) = &value.delay {
        let path = path.field("delay");
        checks::at_least_1ms(delay.fixed_delay, &path.field("fixedDelay"), report);
        if delay.exponential_delay.is_some() {
            let message = "not supported (in Istio neither)";
            report.error_help(
                &path.field("exponentialDelay"),
                "unsupported-field",
                message,
                "use fixedDelay",
            );
        } else if delay.fixed_delay.is_none() {
            report.error(&path.field("fixedDelay"), "missing-field", "the delay is missing");
        }
        if delay.percent.is_some_and(|percent| percent > 100) {
            report.error(&path.field("percent"), "invalid-percent", "must be from 0 to 100");
        }
        no_share(delay.percentage.is_none() && delay.percent.is_none(), &path, report);
    }
    if let Some(value) = &value.abort {
        abort(value, &path.field("abort"), report);
    }
}

fn abort(value: &Abort, path: &Path<'_>, report: &mut Report<'_>) {
    if value.http2_error.is_some() {
        let message = "not supported (in Istio neither)";
        report.error(&path.field("http2Error"), "unsupported-field", message);
    }
    match (value.http_status, &value.grpc_status) {
        (None, None) if value.http2_error.is_none() => {
            report.error(path, "missing-field", "one of httpStatus and grpcStatus is needed");
        }
        (Some(_), Some(_)) => {
            let message = "httpStatus and grpcStatus exclude each other";
            report.error(&path.field("grpcStatus"), "exclusive-fields", message);
        }
        (Some(status), None) => checks::status(status, &path.field("httpStatus"), report),
        (None, Some(status)) if !GRPC_STATUSES.contains(&status.as_str()) => {
            let message = format!("\"{}\" is not a gRPC status", excerpt(status));
            report.error(&path.field("grpcStatus"), "invalid-status", message);
        }
        _ => {}
    }
    no_share(value.percentage.is_none(), path, report);
}

/// Without a percentage Istio injects a fault into no request.
fn no_share(absent: bool, path: &Path<'_>, report: &mut Report<'_>) {
    if absent {
        let message = "without percentage no request is concerned";
        report.warning_help(path, "no-effect", message, "write percentage: {value: 100}");
    }
}

fn mirrors(route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(to) = &route.mirror {
        let path = path.field("mirror");
        destination(to, &path, report);
        if !route.mirrors.is_empty() {
            report.error(&path, "exclusive-fields", "mirror and mirrors exclude each other");
        }
    } else {
        for (name, given) in [
            ("mirrorPercentage", route.mirror_percentage.is_some()),
            ("mirrorPercent", route.mirror_percent.is_some()),
        ] {
            if given {
                let message = "has no effect without mirror";
                report.error(&path.field(name), "exclusive-fields", message);
            }
        }
    }
    if route.mirror_percent.is_some_and(|percent| percent > 100) {
        report.error(&path.field("mirrorPercent"), "invalid-percent", "must be from 0 to 100");
    }
    let answers = route.redirect.is_some() || route.direct_response.is_some();
    if answers && (route.mirror.is_some() || !route.mirrors.is_empty()) {
        let name = if route.mirror.is_some() { "mirror" } else { "mirrors" };
        let message = "an answered request is not mirrored: no redirect or directResponse here";
        report.error(&path.field(name), "exclusive-fields", message);
    }
    let list = path.field("mirrors");
    for (index, to) in route.mirrors.iter().enumerate() {
        destination(&to.destination, &list.index(index).field("destination"), report);
    }
}

fn cors(value: &CorsPolicy, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("allowOrigins");
    for (index, origin) in value.allow_origins.iter().enumerate() {
        checks::string_match(origin, false, &list.index(index), report);
    }
    if !value.allow_origin.is_empty() && !value.allow_origins.is_empty() {
        let message = "allowOrigin (deprecated) and allowOrigins exclude each other";
        report.error(&path.field("allowOrigin"), "exclusive-fields", message);
    }
    let list = path.field("allowMethods");
    for (index, method) in value.allow_methods.iter().enumerate() {
        let known =
            ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "*"];
        if !known.contains(&method.as_str()) {
            let message = format!("\"{}\" is not a method", excerpt(method));
            report.error(&list.index(index), "invalid-value", message);
        }
    }
    for (name, list) in
        [("allowHeaders", &value.allow_headers), ("exposeHeaders", &value.expose_headers)]
    {
        let path = path.field(name);
        for (index, header) in list.iter().enumerate() {
            checks::header_name(header, &path.index(index), report);
        }
    }
    if let Some(age) = value.max_age
        && (age.as_secs() == 0 || age.subsec_nanos() != 0)
    {
        let message = "must be whole seconds, at least 1s";
        report.error(&path.field("maxAge"), "invalid-duration", message);
    }
}

/// Header changes in both directions.
pub(crate) fn headers(value: &Headers, path: &Path<'_>, report: &mut Report<'_>) {
    operations(&value.request, &path.field("request"), report);
    operations(&value.response, &path.field("response"), report);
}

fn operations(value: &HeaderOperations, path: &Path<'_>, report: &mut Report<'_>) {
    for (field, headers) in [("set", &value.set), ("add", &value.add)] {
        let path = path.field(field);
        for (name, text) in headers {
            let path = path.field(name);
            changed_header(name, &path, report);
            checks::header_value(text, &path, report);
        }
    }
    let list = path.field("remove");
    for (index, name) in value.remove.iter().enumerate() {
        changed_header(name, &list.index(index), report);
    }
}

/// Pseudo headers cannot be changed, but for the authority.
fn changed_header(name: &str, path: &Path<'_>, report: &mut Report<'_>) {
    checks::header_name(name, path, report);
    if name.starts_with(':') && name != ":authority" {
        let message = format!("\"{}\" cannot be changed", excerpt(name));
        report.error(path, "invalid-header", message);
    }
}
