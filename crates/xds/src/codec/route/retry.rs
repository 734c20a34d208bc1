//! Retry policies.

use pb::envoy::{
    config::route::v3::{
        self as route,
        retry_policy::{self, RetryHostPredicate, retry_host_predicate::ConfigType},
    },
    extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate,
};

use crate::{
    RetryBackOff, RetryPolicy,
    codec::{
        any::{duration, is, pack},
        context::{Context, Result, fields},
    },
};

const PREVIOUS_HOSTS: &str = "envoy.retry_host_predicates.previous_hosts";

pub(super) fn encode(value: &RetryPolicy) -> route::RetryPolicy {
    let previous_hosts = || RetryHostPredicate {
        name: PREVIOUS_HOSTS.to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack(&PreviousHostsPredicate::default()))),
    };
    let back_off = |back_off: RetryBackOff| retry_policy::RetryBackOff {
        base_interval: Some(duration(back_off.base_interval)),
        max_interval: back_off.max_interval.map(duration),
    };
    route::RetryPolicy {
        retry_on: value.retry_on.clone(),
        num_retries: value.num_retries,
        per_try_timeout: value.per_try_timeout.map(duration),
        retry_host_predicate: value.avoid_previous_hosts.then(previous_hosts).into_iter().collect(),
        host_selection_retry_max_attempts: value.host_selection_retry_max_attempts,
        retriable_status_codes: value
            .retriable_status_codes
            .iter()
            .copied()
            .map(u32::from)
            .collect(),
        retry_back_off: value.back_off.map(back_off),
        ..Default::default()
    }
}

pub(super) fn decode(message: route::RetryPolicy, cx: &mut Context) -> Result<RetryPolicy> {
    fields! {
        cx, message => route::RetryPolicy {
            retry_on, num_retries, per_try_timeout, retry_host_predicate,
            host_selection_retry_max_attempts, retriable_status_codes, retry_back_off,
        }
        ignored { retry_priority, rate_limited_retry_back_off, refresh_cluster_on_retry }
        rejected {
            per_try_idle_timeout, retry_options_predicates, retriable_headers,
            retriable_request_headers,
        }
    }
    let predicates = cx.each("retry_host_predicate", retry_host_predicate, decode_predicate)?;
    let codes = cx.each("retriable_status_codes", retriable_status_codes, |code, cx| {
        u16::try_from(code).or_else(|_| cx.fail(format!("{code} is not a status code")))
    })?;
    Ok(RetryPolicy {
        retry_on,
        num_retries,
        per_try_timeout: cx.duration("per_try_timeout", per_try_timeout)?,
        retriable_status_codes: codes,
        avoid_previous_hosts: !predicates.is_empty(),
        host_selection_retry_max_attempts,
        back_off: cx.optional("retry_back_off", retry_back_off, decode_back_off)?,
    })
}

fn decode_predicate(message: RetryHostPredicate, cx: &mut Context) -> Result<()> {
    let RetryHostPredicate { name, config_type } = message;
    let known = match config_type {
        Some(ConfigType::TypedConfig(any)) => is::<PreviousHostsPredicate>(&any),
        None => name == PREVIOUS_HOSTS,
    };
    match known {
        true => Ok(()),
        false => cx.fail(format!("{name:?} is not supported; only {PREVIOUS_HOSTS} is")),
    }
}

fn decode_back_off(message: retry_policy::RetryBackOff, cx: &mut Context) -> Result<RetryBackOff> {
    let retry_policy::RetryBackOff { base_interval, max_interval } = message;
    let base_interval = cx.duration("base_interval", base_interval)?;
    Ok(RetryBackOff {
        base_interval: cx.required("base_interval", base_interval, |base, _| Ok(base))?,
        max_interval: cx.duration("max_interval", max_interval)?,
    })
}
