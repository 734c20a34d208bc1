//! What goes along with a route: retries, faults, cross-origin rules and header changes.

use std::time::Duration;

use config::{
    networking::{
        Abort, CorsPolicy, Delay, HeaderOperations, Headers, HttpFaultInjection, HttpRetry,
        UnmatchedPreflights,
    },
    value::StringMatch,
};
use xds::{
    Denominator, FaultAbort, FaultDelay, FaultStatus, FractionalPercent, HeaderMutations,
    HeaderValueOption, HttpFault, RetryBackOff, RetryPolicy, StringMatcher,
};

use super::matching;

/// What is retried when nothing is said.
const RETRY_ON: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const RETRIABLE_CODES: &str = "retriable-status-codes";

/// The retry policy of routes that say nothing.
pub(super) fn default_retry() -> RetryPolicy {
    RetryPolicy {
        retry_on: RETRY_ON.to_owned(),
        num_retries: Some(2),
        per_try_timeout: None,
        retriable_status_codes: Vec::new(),
        avoid_previous_hosts: true,
        host_selection_retry_max_attempts: 5,
        back_off: None,
    }
}

/// The retry policy of a rule. With consistent hashing the same host is tried again, unless the
/// rule asks for others.
pub(super) fn retry(settings: Option<&HttpRetry>, consistent_hash: bool) -> Option<RetryPolicy> {
    let mut policy = default_retry();
    let mut avoid = !consistent_hash;
    if let Some(settings) = settings {
        policy.num_retries = Some(u32::try_from(settings.attempts).ok().filter(|n| *n > 0)?);
        policy.per_try_timeout = settings.per_try_timeout.filter(|timeout| !timeout.is_zero());
        if !settings.retry_on.is_empty() {
            (policy.retry_on, policy.retriable_status_codes) = retry_on(&settings.retry_on);
        }
        policy.back_off = settings
            .backoff
            .filter(|interval| !interval.is_zero())
            .map(|base_interval| RetryBackOff { base_interval, max_interval: None });
        avoid = settings.retry_ignore_previous_hosts.unwrap_or(avoid);
    }
    policy.avoid_previous_hosts = avoid;
    policy.host_selection_retry_max_attempts = if avoid { 5 } else { 0 };
    Some(policy)
}

/// Conditions and status codes, which stand in one list.
fn retry_on(text: &str) -> (String, Vec<u16>) {
    let mut conditions: Vec<&str> = Vec::new();
    let mut codes = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<u16>() {
            Ok(code) if (100..600).contains(&code) => codes.push(code),
            _ => conditions.push(part),
        }
    }
    if !codes.is_empty() && !conditions.contains(&RETRIABLE_CODES) {
        conditions.push(RETRIABLE_CODES);
    }
    (conditions.join(","), codes)
}

/// A share in millionths.
pub(super) fn fraction(millionths: u32) -> FractionalPercent {
    FractionalPercent { numerator: millionths, denominator: Denominator::Million }
}

/// The faults of a rule. Without a percentage a fault is for no request, as Istio has it.
pub(super) fn fault(injection: &HttpFaultInjection) -> Option<HttpFault> {
    let delay = injection.delay.as_ref().and_then(delay);
    let abort = injection.abort.as_ref().and_then(abort);
    if delay.is_none() && abort.is_none() {
        return None;
    }
    Some(HttpFault { delay, abort, headers: Vec::new() })
}

fn delay(delay: &Delay) -> Option<FaultDelay> {
    let whole = delay.percent.map(|percent| percent.min(100) * 10_000);
    let share = delay.percentage.map(|percent| percent.millionths()).or(whole);
    let percentage = fraction(share.unwrap_or(0));
    Some(FaultDelay { fixed_delay: delay.fixed_delay?, percentage })
}

fn abort(abort: &Abort) -> Option<FaultAbort> {
    let status = match (abort.http_status, &abort.grpc_status) {
        (Some(status), _) => FaultStatus::Http(u16::try_from(status).ok()?),
        (None, Some(name)) => FaultStatus::Grpc(grpc_status(name)?),
        (None, None) => return None,
    };
    let share = abort.percentage.map_or(0, |percent| percent.millionths());
    Some(FaultAbort { status, percentage: fraction(share) })
}

/// The number of a gRPC status, in the order of the numbers.
fn grpc_status(name: &str) -> Option<u32> {
    const NAMES: [&str; 17] = [
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
    let position = NAMES.iter().position(|known| *known == name)?;
    u32::try_from(position).ok()
}

/// A cross-origin policy.
pub(super) fn cors(policy: &CorsPolicy) -> xds::CorsPolicy {
    let old = policy.allow_origin.iter().map(|origin| match origin.as_str() {
        "*" => StringMatcher::regex(".*"),
        origin => StringMatcher::exact(origin),
    });
    let new = policy.allow_origins.iter().map(origin);
    xds::CorsPolicy {
        allow_origin: old.chain(new).collect(),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.map(seconds).unwrap_or_default(),
        allow_credentials: policy.allow_credentials,
        forward_not_matching_preflights: Some(
            policy.unmatched_preflights != UnmatchedPreflights::Ignore,
        ),
    }
}

fn origin(origin: &StringMatch) -> StringMatcher {
    matching::string(origin).unwrap_or_else(|| StringMatcher::regex(".*"))
}

fn seconds(duration: Duration) -> String {
    duration.as_secs().to_string()
}

/// The host that the request's header operations set.
pub(super) fn host_header(headers: Option<&Headers>) -> Option<&str> {
    let set = &headers?.request.set;
    set.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.as_str())
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}

/// Adds header operations after those that are there.
pub(super) fn add_headers(mutations: &mut HeaderMutations, headers: Option<&Headers>) {
    let Some(headers) = headers else { return };
    mutations.request_add.extend(values(&headers.request));
    mutations.request_remove.extend(headers.request.remove.iter().cloned());
    mutations.response_add.extend(values(&headers.response));
    mutations.response_remove.extend(headers.response.remove.iter().cloned());
}

fn values(operations: &HeaderOperations) -> impl Iterator<Item = HeaderValueOption> {
    let set = operations.set.iter().map(|entry| (entry, true));
    let add = operations.add.iter().map(|entry| (entry, false));
    set.chain(add).filter(|((name, _), _)| !is_host(name)).map(|((name, value), overwrite)| {
        HeaderValueOption { name: name.clone(), value: value.clone(), overwrite }
    })
}
