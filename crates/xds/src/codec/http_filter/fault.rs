//! Fault injection.

use pb::envoy::extensions::filters::{
    common::fault::v3::{self as common, fault_delay::FaultDelaySecifier},
    http::fault::v3::{self as fault, fault_abort::ErrorType},
};

use crate::{
    FaultAbort, FaultDelay, FaultStatus, FractionalPercent, HttpFault,
    codec::{
        any::duration,
        context::{Context, Result, fields},
        matcher,
    },
};

pub(super) fn encode(value: &HttpFault) -> fault::HttpFault {
    let delay = |delay: &FaultDelay| common::FaultDelay {
        percentage: Some(matcher::encode_fraction(delay.percentage)),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(duration(delay.fixed_delay))),
    };
    let abort = |abort: &FaultAbort| fault::FaultAbort {
        percentage: Some(matcher::encode_fraction(abort.percentage)),
        error_type: Some(match abort.status {
            FaultStatus::Http(status) => ErrorType::HttpStatus(status.into()),
            FaultStatus::Grpc(status) => ErrorType::GrpcStatus(status),
        }),
        ..Default::default()
    };
    fault::HttpFault {
        delay: value.delay.as_ref().map(delay),
        abort: value.abort.as_ref().map(abort),
        headers: value.headers.iter().map(matcher::encode_header).collect(),
        ..Default::default()
    }
}

pub(super) fn decode(message: fault::HttpFault, cx: &mut Context) -> Result<HttpFault> {
    fields! {
        cx, message => fault::HttpFault { delay, abort, headers }
        ignored {
            delay_percent_runtime, abort_percent_runtime, delay_duration_runtime,
            abort_http_status_runtime, max_active_faults_runtime,
            response_rate_limit_percent_runtime, abort_grpc_status_runtime,
            disable_downstream_cluster_stats, filter_metadata,
        }
        rejected { upstream_cluster, downstream_nodes, max_active_faults, response_rate_limit }
    }
    Ok(HttpFault {
        delay: cx.optional("delay", delay, decode_delay)?,
        abort: cx.optional("abort", abort, decode_abort)?,
        headers: cx.each("headers", headers, matcher::decode_header)?,
    })
}

fn decode_delay(message: common::FaultDelay, cx: &mut Context) -> Result<FaultDelay> {
    let common::FaultDelay { percentage, fault_delay_secifier } = message;
    let fixed_delay = match fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(delay)) => cx.duration("fixed_delay", Some(delay))?,
        Some(FaultDelaySecifier::HeaderDelay(_)) => {
            return cx.fail_at("header_delay", "is not supported");
        }
        None => None,
    };
    Ok(FaultDelay {
        fixed_delay: cx.required("fixed_delay", fixed_delay, |delay, _| Ok(delay))?,
        percentage: decode_percentage(percentage, cx)?,
    })
}

fn decode_abort(message: fault::FaultAbort, cx: &mut Context) -> Result<FaultAbort> {
    fields! {
        cx, message => fault::FaultAbort { percentage, error_type }
        rejected { response_body }
    }
    let status = match error_type {
        Some(ErrorType::HttpStatus(status)) => FaultStatus::Http(cx.short("http_status", status)?),
        Some(ErrorType::GrpcStatus(status)) => FaultStatus::Grpc(status),
        Some(ErrorType::HeaderAbort(_)) => return cx.fail_at("header_abort", "is not supported"),
        None => return cx.fail_at("error_type", "must be set"),
    };
    Ok(FaultAbort { status, percentage: decode_percentage(percentage, cx)? })
}

/// A missing percentage is 0 %, as in Envoy.
fn decode_percentage(
    message: Option<pb::envoy::r#type::v3::FractionalPercent>,
    cx: &mut Context,
) -> Result<FractionalPercent> {
    cx.at("percentage", |cx| matcher::decode_fraction(message.unwrap_or_default(), cx))
}
