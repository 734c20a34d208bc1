//! Filters that answer by themselves: injected faults, and preflights of cross-origin requests.

use engine::{Fault, StringMatcher};
use xds::{CorsPolicy, FaultStatus, HttpFault};

use super::call::Request;
use super::describe;
use super::hop::Record;
use super::journey::{Answer, Step};

/// A share of all, in millionths.
const ALL: u32 = 1_000_000;

/// Delays and aborts. An abort of all requests ends the journey; one of some is told.
pub(super) fn inject(
    fault: &HttpFault,
    request: &Request,
    record: &mut Record,
) -> Result<(), Answer> {
    let Ok(compiled) = Fault::new(fault) else { return Ok(()) };
    // Zero falls into every share that is not empty.
    let decision = compiled.decide(&request.info(), [0, 0]);
    if let (Some(delay), Some(_)) = (&fault.delay, decision.delay) {
        let share = describe::percent(delay.percentage);
        let wait = format!("{:?}", delay.fixed_delay);
        record.steps.push(Step::new("fault", format!("{share} of requests wait {wait} (DI)")));
    }
    let (Some(abort), Some(status)) = (&fault.abort, decision.abort) else { return Ok(()) };
    let share = describe::percent(abort.percentage);
    let (status, shown) = match status {
        FaultStatus::Http(status) => (status, status.to_string()),
        FaultStatus::Grpc(status) => (200, format!("the gRPC status {status}")),
    };
    record.steps.push(Step::new("fault", format!("{share} of requests get {shown} (FI)")));
    if abort.percentage.millionths() == ALL {
        let why = format!("the route injects a fault: {shown}");
        return Err(Answer::refused(status, "FI", why));
    }
    Ok(())
}

/// A preflight of an origin that is allowed is answered here.
pub(super) fn preflight(
    policy: &CorsPolicy,
    request: &Request,
    record: &mut Record,
) -> Result<(), Answer> {
    let is_preflight = request.method == "OPTIONS"
        && request.headers.contains_key("access-control-request-method");
    let origin = request.headers.get("origin").and_then(|value| value.to_str().ok());
    let (true, Some(origin)) = (is_preflight, origin) else { return Ok(()) };
    let allowed = policy
        .allow_origin
        .iter()
        .any(|matcher| StringMatcher::new(matcher).is_ok_and(|matcher| matcher.matches(origin)));
    if !allowed {
        record.steps.push(Step::new("cors", format!("the origin {origin} is not allowed")));
        return Ok(());
    }
    record.steps.push(Step::new("cors", format!("the origin {origin} is allowed")));
    Err(Answer::served(Some(200), "the proxy answers the preflight"))
}
