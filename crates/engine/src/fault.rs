//! Fault injection: which requests are delayed or aborted.

use std::time::Duration;

use crate::{EngineError, HeaderMatcher, MultiValue, RequestInfo};

/// A compiled [`xds::HttpFault`].
#[derive(Clone, Debug, Default)]
pub struct Fault {
    delay: Option<xds::FaultDelay>,
    abort: Option<xds::FaultAbort>,
    headers: Vec<HeaderMatcher>,
}

/// What is to be done to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultDecision {
    /// Wait this long first.
    pub delay: Option<Duration>,
    /// Then answer this.
    pub abort: Option<xds::FaultStatus>,
}

impl Fault {
    /// Compiles a fault policy.
    ///
    /// # Errors
    /// When a header matcher holds a regex that is not valid.
    pub fn new(fault: &xds::HttpFault) -> Result<Self, EngineError> {
        let headers = fault.headers.iter().map(HeaderMatcher::new).collect::<Result<_, _>>()?;
        Ok(Self { delay: fault.delay.clone(), abort: fault.abort.clone(), headers })
    }

    /// What is to be done to a request; two random numbers decide.
    pub fn decide(&self, request: &RequestInfo<'_>, random: [u64; 2]) -> FaultDecision {
        let applies = self.headers.iter().all(|header| header.matches(request, MultiValue::Joined));
        if !applies {
            return FaultDecision::default();
        }
        let delay = self.delay.as_ref().filter(|delay| hits(delay.percentage, random[0]));
        let abort = self.abort.as_ref().filter(|abort| hits(abort.percentage, random[1]));
        FaultDecision {
            delay: delay.map(|delay| delay.fixed_delay),
            abort: abort.map(|abort| abort.status),
        }
    }
}

/// Whether a random number falls into a fraction.
pub(crate) fn hits(fraction: xds::FractionalPercent, random: u64) -> bool {
    random % 1_000_000 < u64::from(fraction.millionths())
}
