//! Attempts without an answer: what a retry policy may go by, and what the client is told.

use std::borrow::Cow;

use http::StatusCode;

use super::super::local_reply::LocalReply;
use crate::{
    flags::Flags,
    upstream::{CheckoutError, ConnectError, SendError},
};

/// An attempt without an answer.
pub(super) struct Failure {
    /// What a retry policy may go by; none: it is not repeated.
    pub(super) retry: Option<engine::RetryReason>,
    pub(super) transport_failure: Option<String>,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    NoHost,
    Overflow,
    Timeout,
    PerTryTimeout,
    Reset { reason: &'static str, flag: Flags },
}

impl Failure {
    pub(super) fn new(kind: Kind, retry: Option<engine::RetryReason>) -> Self {
        Self { kind, retry, transport_failure: None }
    }

    pub(super) fn reset(reason: &'static str, flag: Flags, retry: engine::RetryReason) -> Self {
        Self::new(Kind::Reset { reason, flag }, Some(retry))
    }

    /// What the client is told.
    pub(super) fn reply(self, attempts: u32) -> LocalReply {
        match self.kind {
            Kind::NoHost => LocalReply::no_healthy_upstream(),
            Kind::Overflow => LocalReply::overflow(),
            Kind::Timeout => LocalReply::timeout("response_timeout"),
            Kind::PerTryTimeout => LocalReply::timeout("upstream_per_try_timeout"),
            Kind::Reset { reason, flag } => {
                let status = if flag == Flags::UPSTREAM_PROTOCOL_ERROR {
                    StatusCode::BAD_GATEWAY
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                let mut reply = LocalReply::new(status, "", "").flag(flag);
                let retried = if attempts > 1 { "retried and the latest " } else { "" };
                // As Envoy: that a connection was refused is for the log, what TLS said for all.
                let told = self.transport_failure.as_deref();
                let told = told.filter(|reason| !reason.starts_with("delayed connect error"));
                let told = told
                    .map(|reason| format!(", transport failure reason: {reason}"))
                    .unwrap_or_default();
                reply.body = format!(
                    "upstream connect error or disconnect/reset before headers. {retried}reset \
                     reason: {reason}{told}"
                )
                .into();
                let short = reason.replace(' ', "_");
                let transport = self
                    .transport_failure
                    .map(|reason| format!("|{}", without_number(&reason).replace(' ', "_")))
                    .unwrap_or_default();
                reply.details = Cow::Owned(format!(
                    "upstream_reset_before_response_started{{{short}{transport}}}"
                ));
                reply
            }
        }
    }
}

/// No connection was to be had.
pub(super) fn connect_failure(error: CheckoutError) -> Failure {
    match error {
        CheckoutError::Overflow => Failure::new(Kind::Overflow, None),
        CheckoutError::Connect(error) => {
            let reason = match error {
                ConnectError::Timeout => "connection timeout",
                _ => "remote connection failure",
            };
            let mut failure = Failure::reset(
                reason,
                Flags::UPSTREAM_CONNECTION_FAILURE,
                engine::RetryReason::ConnectFailure,
            );
            failure.transport_failure =
                (!matches!(error, ConnectError::Timeout)).then(|| error.to_string());
            failure
        }
    }
}

/// The request was not answered.
pub(super) fn send_failure(failed: &SendError) -> Failure {
    use engine::RetryReason as Reason;
    let Some(error) = &failed.error else {
        return Failure::reset(
            "connection termination",
            Flags::UPSTREAM_CONNECTION_TERMINATION,
            Reason::ResetBeforeRequest,
        );
    };
    let h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    if let Some(h2) = h2 {
        let refused = h2.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR));
        if refused {
            return Failure::reset(
                "remote refused stream reset",
                Flags::UPSTREAM_REMOTE_RESET,
                Reason::RefusedStream,
            );
        }
        if h2.is_reset() {
            return Failure::reset("remote reset", Flags::UPSTREAM_REMOTE_RESET, Reason::Reset);
        }
    }
    if error.is_parse() {
        return Failure::reset("protocol error", Flags::UPSTREAM_PROTOCOL_ERROR, Reason::Reset);
    }
    let reason = if failed.unsent.is_some() { Reason::ResetBeforeRequest } else { Reason::Reset };
    Failure::reset("connection termination", Flags::UPSTREAM_CONNECTION_TERMINATION, reason)
}

/// The system's error without the number that Rust appends.
fn without_number(reason: &str) -> &str {
    reason.split(" (os error").next().unwrap_or(reason)
}
