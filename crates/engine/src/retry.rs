//! Retry policies: when an attempt is repeated, and how long to wait before.
//!
//! Conditions are those of Envoy's `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.

use std::time::Duration;

use crate::EngineError;

/// Conditions of a retry, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u32);

macro_rules! conditions {
    ($($constant:ident = $bit:literal, $name:literal, $doc:literal;)*) => {
        impl RetryOn {
            $(#[doc = $doc] pub const $constant: Self = Self(1 << $bit);)*

            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$constant),)* _ => None }
            }
        }
    };
}

conditions! {
    FIVE_XX = 0, "5xx", "Any 5xx, or no answer at all.";
    GATEWAY_ERROR = 1, "gateway-error", "502, 503 or 504.";
    RESET = 2, "reset", "No answer: disconnect, reset, time-out of the attempt.";
    CONNECT_FAILURE = 3, "connect-failure", "No connection came up.";
    RETRIABLE_4XX = 4, "retriable-4xx", "409.";
    REFUSED_STREAM = 5, "refused-stream", "HTTP/2 `REFUSED_STREAM`.";
    RETRIABLE_STATUS_CODES = 6, "retriable-status-codes", "A status of the policy's list.";
    RESET_BEFORE_REQUEST = 7, "reset-before-request", "Reset before the request's headers left.";
    ENVOY_RATELIMITED = 8, "envoy-ratelimited", "`x-envoy-ratelimited` is in the answer.";
    CANCELLED = 9, "cancelled", "gRPC status 1.";
    DEADLINE_EXCEEDED = 10, "deadline-exceeded", "gRPC status 4.";
    RESOURCE_EXHAUSTED = 11, "resource-exhausted", "gRPC status 8.";
    INTERNAL = 12, "internal", "gRPC status 13.";
    UNAVAILABLE = 13, "unavailable", "gRPC status 14.";
    HTTP3_POST_CONNECT_FAILURE = 14, "http3-post-connect-failure", "Only for HTTP/3.";
    RETRIABLE_HEADERS = 15, "retriable-headers", "A header of the policy's list.";
}

impl RetryOn {
    /// Whether one of `other` is in the set.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The union of two sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Parses conditions separated by commas; unknown ones are skipped, as Envoy does.
    pub fn parse(text: &str) -> Self {
        text.split(',')
            .filter_map(|name| Self::from_name(name.trim()))
            .fold(Self::default(), Self::union)
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// An answer came, with this status and perhaps a gRPC status among its headers.
    Response {
        /// The HTTP status.
        status: u16,
        /// `grpc-status` of the headers.
        grpc_status: Option<u32>,
        /// `x-envoy-ratelimited` is there.
        rate_limited: bool,
    },
    /// No connection came up.
    ConnectFailure,
    /// The connection broke before the request's headers were written.
    ResetBeforeRequest,
    /// The connection broke, or the stream was reset, before an answer.
    Reset,
    /// HTTP/2 `REFUSED_STREAM`, or a connection that was going away.
    RefusedStream,
    /// The attempt took longer than `per_try_timeout`.
    PerTryTimeout,
}

/// A compiled [`xds::RetryPolicy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// When.
    pub retry_on: RetryOn,
    /// How often at most.
    pub num_retries: u32,
    /// How long an attempt may take.
    pub per_try_timeout: Option<Duration>,
    /// Do not choose hosts that were tried.
    pub avoid_previous_hosts: bool,
    /// How often a host is chosen anew for that.
    pub host_selection_attempts: u32,
    retriable_status_codes: Vec<u16>,
    base_interval: Duration,
    max_interval: Duration,
}

impl RetryPolicy {
    /// Compiles a policy.
    ///
    /// # Errors
    /// When the longest wait is shorter than the base.
    pub fn new(policy: &xds::RetryPolicy) -> Result<Self, EngineError> {
        let base_interval =
            policy.back_off.map_or(Duration::from_millis(25), |back_off| back_off.base_interval);
        let max_interval = policy
            .back_off
            .and_then(|back_off| back_off.max_interval)
            .unwrap_or_else(|| base_interval.saturating_mul(10));
        if max_interval < base_interval || base_interval.is_zero() {
            return Err(EngineError::new(
                "retry_policy.retry_back_off",
                "base_interval must be above zero and at most max_interval",
            ));
        }
        Ok(Self {
            retry_on: RetryOn::parse(&policy.retry_on),
            num_retries: policy.num_retries.unwrap_or(1),
            per_try_timeout: policy.per_try_timeout.filter(|timeout| !timeout.is_zero()),
            avoid_previous_hosts: policy.avoid_previous_hosts,
            host_selection_attempts: u32::try_from(policy.host_selection_retry_max_attempts)
                .unwrap_or(0)
                .max(1),
            retriable_status_codes: policy.retriable_status_codes.clone(),
            base_interval,
            max_interval,
        })
    }

    /// Whether an attempt that ended so is to be repeated, were there retries left.
    pub fn retries(&self, reason: RetryReason) -> bool {
        let on = |conditions: RetryOn| self.retry_on.intersects(conditions);
        match reason {
            RetryReason::ConnectFailure => {
                on(RetryOn::CONNECT_FAILURE)
                    || on(RetryOn::RESET)
                    || on(RetryOn::FIVE_XX)
                    || on(RetryOn::GATEWAY_ERROR)
                    || on(RetryOn::RESET_BEFORE_REQUEST)
            }
            RetryReason::ResetBeforeRequest => {
                on(RetryOn::RESET_BEFORE_REQUEST)
                    || on(RetryOn::RESET)
                    || on(RetryOn::FIVE_XX)
                    || on(RetryOn::GATEWAY_ERROR)
            }
            RetryReason::Reset | RetryReason::PerTryTimeout => {
                on(RetryOn::RESET) || on(RetryOn::FIVE_XX) || on(RetryOn::GATEWAY_ERROR)
            }
            RetryReason::RefusedStream => {
                on(RetryOn::REFUSED_STREAM)
                    || on(RetryOn::RESET)
                    || on(RetryOn::FIVE_XX)
                    || on(RetryOn::GATEWAY_ERROR)
                    || on(RetryOn::RESET_BEFORE_REQUEST)
            }
            RetryReason::Response { status, grpc_status, rate_limited } => {
                (!rate_limited || on(RetryOn::ENVOY_RATELIMITED))
                    && (self.retries_status(status)
                        || grpc_status.is_some_and(|status| self.retries_grpc(status))
                        || (rate_limited && on(RetryOn::ENVOY_RATELIMITED)))
            }
        }
    }

    fn retries_status(&self, status: u16) -> bool {
        let on = |conditions: RetryOn| self.retry_on.intersects(conditions);
        (on(RetryOn::FIVE_XX) && (500..600).contains(&status))
            || (on(RetryOn::GATEWAY_ERROR) && (502..=504).contains(&status))
            || (on(RetryOn::RETRIABLE_4XX) && status == 409)
            || (on(RetryOn::RETRIABLE_STATUS_CODES)
                && self.retriable_status_codes.contains(&status))
    }

    fn retries_grpc(&self, status: u32) -> bool {
        let condition = match status {
            1 => RetryOn::CANCELLED,
            4 => RetryOn::DEADLINE_EXCEEDED,
            8 => RetryOn::RESOURCE_EXHAUSTED,
            13 => RetryOn::INTERNAL,
            14 => RetryOn::UNAVAILABLE,
            _ => return false,
        };
        self.retry_on.intersects(condition)
    }

    /// The wait before the n-th retry (from 1): a random share of an interval that doubles.
    pub fn back_off(&self, retry: u32, random: u64) -> Duration {
        let factor = 1_u32.checked_shl(retry.min(31)).unwrap_or(u32::MAX).saturating_sub(1).max(1);
        let ceiling = self.base_interval.saturating_mul(factor);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(random % nanos).min(self.max_interval)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(retry_on: &str) -> RetryPolicy {
        RetryPolicy::new(&xds::RetryPolicy {
            retry_on: retry_on.to_owned(),
            num_retries: Some(2),
            retriable_status_codes: vec![418],
            ..xds::RetryPolicy::default()
        })
        .expect("policy")
    }

    fn response(status: u16) -> RetryReason {
        RetryReason::Response { status, grpc_status: None, rate_limited: false }
    }

    #[test]
    fn istio_default_does_not_repeat_what_may_have_been_served() {
        let policy =
            policy("connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes");
        assert!(policy.retries(RetryReason::ConnectFailure));
        assert!(policy.retries(RetryReason::RefusedStream));
        assert!(policy.retries(response(418)));
        assert!(!policy.retries(RetryReason::Reset));
        assert!(!policy.retries(response(503)));
        let unavailable =
            RetryReason::Response { status: 200, grpc_status: Some(14), rate_limited: false };
        assert!(policy.retries(unavailable));
    }

    #[test]
    fn statuses() {
        assert!(policy("5xx").retries(response(500)) && !policy("5xx").retries(response(499)));
        assert!(policy("gateway-error").retries(response(503)));
        assert!(!policy("gateway-error").retries(response(500)));
        assert!(policy("retriable-4xx").retries(response(409)));
        let limited = RetryReason::Response { status: 503, grpc_status: None, rate_limited: true };
        assert!(!policy("5xx").retries(limited));
        assert!(policy("5xx,envoy-ratelimited").retries(limited));
    }

    proptest! {
        #[test]
        fn the_wait_grows_and_is_bounded(retry in 1_u32..100, random: u64) {
            let wait = policy("5xx").back_off(retry, random);
            prop_assert!(wait <= Duration::from_millis(250));
            if retry == 1 { prop_assert!(wait < Duration::from_millis(25)); }
        }
    }
}
