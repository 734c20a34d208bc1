//! When endpoints are ejected.

use pb::envoy::config::cluster::v3 as cluster;

use crate::{
    OutlierDetection,
    codec::{
        any::duration,
        context::{Context, Result, fields},
    },
};

/// Ejection by success rate, which Envoy has on by default, is turned off.
pub(super) fn encode(value: &OutlierDetection) -> cluster::OutlierDetection {
    cluster::OutlierDetection {
        consecutive_5xx: value.consecutive_5xx,
        interval: value.interval.map(duration),
        base_ejection_time: value.base_ejection_time.map(duration),
        max_ejection_percent: value.max_ejection_percent,
        enforcing_consecutive_5xx: value.enforcing_consecutive_5xx,
        enforcing_success_rate: Some(0),
        consecutive_gateway_failure: value.consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure: value.enforcing_consecutive_gateway_failure,
        split_external_local_origin_errors: value.split_external_local_origin_errors,
        consecutive_local_origin_failure: value.consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure: value
            .enforcing_consecutive_local_origin_failure,
        enforcing_local_origin_success_rate: Some(0),
        max_ejection_time: value.max_ejection_time.map(duration),
        ..Default::default()
    }
}

/// Ejection by success rate and by failure percentage does not take place: reported unless off.
pub(super) fn decode(
    message: cluster::OutlierDetection,
    cx: &mut Context,
) -> Result<OutlierDetection> {
    fields! {
        cx, message => cluster::OutlierDetection {
            consecutive_5xx, interval, base_ejection_time, max_ejection_percent,
            enforcing_consecutive_5xx, enforcing_success_rate, consecutive_gateway_failure,
            enforcing_consecutive_gateway_failure, split_external_local_origin_errors,
            consecutive_local_origin_failure, enforcing_consecutive_local_origin_failure,
            enforcing_local_origin_success_rate, max_ejection_time, enforcing_failure_percentage,
            enforcing_failure_percentage_local_origin,
        }
        ignored {
            success_rate_minimum_hosts, success_rate_request_volume, success_rate_stdev_factor,
            failure_percentage_threshold, failure_percentage_minimum_hosts,
            failure_percentage_request_volume, max_ejection_time_jitter,
            successful_active_health_check_uneject_host, always_eject_one_host,
            detect_degraded_hosts,
        }
        rejected { monitors }
    }
    if enforcing_success_rate != Some(0) {
        cx.ignore("enforcing_success_rate");
    }
    if split_external_local_origin_errors && enforcing_local_origin_success_rate != Some(0) {
        cx.ignore("enforcing_local_origin_success_rate");
    }
    cx.ignored("enforcing_failure_percentage", &enforcing_failure_percentage.unwrap_or(0));
    cx.ignored(
        "enforcing_failure_percentage_local_origin",
        &enforcing_failure_percentage_local_origin.unwrap_or(0),
    );
    Ok(OutlierDetection {
        consecutive_5xx,
        enforcing_consecutive_5xx,
        consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure,
        consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure,
        split_external_local_origin_errors,
        interval: cx.duration("interval", interval)?,
        base_ejection_time: cx.duration("base_ejection_time", base_ejection_time)?,
        max_ejection_time: cx.duration("max_ejection_time", max_ejection_time)?,
        max_ejection_percent,
    })
}
