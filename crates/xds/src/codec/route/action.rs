//! How a request is sent on.

mod hash_policy;
mod weighted;

use pb::envoy::config::route::v3::{
    self as route,
    route_action::{
        ClusterNotFoundResponseCode, ClusterSpecifier as PbCluster, HostRewriteSpecifier,
        MaxStreamDuration, RequestMirrorPolicy,
    },
};

use super::retry;
use crate::{
    ClusterSpecifier, HostRewrite, MirrorPolicy, RouteAction,
    codec::{
        any::duration,
        context::{Context, Result, fields},
        matcher,
    },
};

/// A status for missing clusters that cannot be encoded becomes 503. The limit of `grpc-timeout` goes by the old field: beside `max_stream_duration`, which has the new
/// one, Envoy disregards the route's `timeout`.
#[expect(deprecated, reason = "Envoy keeps `timeout` only with the old field")]
pub(super) fn encode(value: &RouteAction) -> route::RouteAction {
    let not_found = match value.cluster_not_found_response_code {
        Some(404) => ClusterNotFoundResponseCode::NotFound,
        Some(500) => ClusterNotFoundResponseCode::InternalServerError,
        _ => ClusterNotFoundResponseCode::ServiceUnavailable,
    };
    let cluster = match &value.cluster {
        ClusterSpecifier::Cluster(name) => PbCluster::Cluster(name.clone()),
        ClusterSpecifier::Weighted(clusters) => {
            PbCluster::WeightedClusters(weighted::encode(clusters))
        }
    };
    route::RouteAction {
        cluster_specifier: Some(cluster),
        cluster_not_found_response_code: not_found.into(),
        timeout: value.timeout.map(duration),
        idle_timeout: value.idle_timeout.map(duration),
        max_grpc_timeout: value.grpc_timeout_header_max.map(duration),
        retry_policy: value.retry_policy.as_ref().map(retry::encode),
        prefix_rewrite: value.prefix_rewrite.clone().unwrap_or_default(),
        regex_rewrite: value.regex_rewrite.as_ref().map(matcher::encode_substitution),
        host_rewrite_specifier: encode_host_rewrite(&value.host_rewrite),
        hash_policy: value.hash_policy.iter().map(hash_policy::encode).collect(),
        request_mirror_policies: value.request_mirror_policies.iter().map(encode_mirror).collect(),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
pub(super) fn decode(message: route::RouteAction, cx: &mut Context) -> Result<RouteAction> {
    fields! {
        cx, message => route::RouteAction {
            cluster_not_found_response_code, prefix_rewrite, regex_rewrite, timeout, idle_timeout,
            retry_policy, request_mirror_policies, hash_policy, max_stream_duration,
            cluster_specifier, host_rewrite_specifier, max_grpc_timeout,
        }
        ignored {
            append_x_forwarded_host, flush_timeout, early_data_policy, priority, rate_limits,
            include_vh_rate_limits,
        }
        rejected {
            metadata_match, path_rewrite_policy, path_rewrite, retry_policy_typed_config, cors,
            grpc_timeout_offset, upgrade_configs, internal_redirect_policy,
            internal_redirect_action, max_internal_redirects, hedge_policy,
        }
    }
    let not_found =
        match cx.enumeration("cluster_not_found_response_code", cluster_not_found_response_code)? {
            ClusterNotFoundResponseCode::ServiceUnavailable => None,
            ClusterNotFoundResponseCode::NotFound => Some(404),
            ClusterNotFoundResponseCode::InternalServerError => Some(500),
        };
    let old_grpc_max = cx.duration("max_grpc_timeout", max_grpc_timeout)?;
    let grpc_max = cx.optional("max_stream_duration", max_stream_duration, decode_stream)?;
    Ok(RouteAction {
        cluster: decode_cluster(cluster_specifier, cx)?,
        cluster_not_found_response_code: not_found,
        timeout: cx.duration("timeout", timeout)?,
        idle_timeout: cx.duration("idle_timeout", idle_timeout)?,
        grpc_timeout_header_max: grpc_max.flatten().or(old_grpc_max),
        retry_policy: cx.optional("retry_policy", retry_policy, retry::decode)?,
        prefix_rewrite: Some(prefix_rewrite).filter(|prefix| !prefix.is_empty()),
        regex_rewrite: cx.optional("regex_rewrite", regex_rewrite, matcher::decode_substitution)?,
        host_rewrite: decode_host_rewrite(host_rewrite_specifier, cx)?,
        hash_policy: cx.each("hash_policy", hash_policy, hash_policy::decode)?,
        request_mirror_policies: cx.each(
            "request_mirror_policies",
            request_mirror_policies,
            decode_mirror,
        )?,
    })
}

/// The most that `grpc-timeout` may ask for.
fn decode_stream(
    message: MaxStreamDuration,
    cx: &mut Context,
) -> Result<Option<std::time::Duration>> {
    fields! {
        cx, message => MaxStreamDuration { max_stream_duration, grpc_timeout_header_max }
        rejected { grpc_timeout_header_offset }
    }
    // Zero means no limit, which is what there is without one.
    let longest = cx.duration("max_stream_duration", max_stream_duration)?;
    if longest.is_some_and(|longest| !longest.is_zero()) {
        return cx.fail_at("max_stream_duration", "only 0s (no limit) is supported");
    }
    cx.duration("grpc_timeout_header_max", grpc_timeout_header_max)
}

fn decode_cluster(message: Option<PbCluster>, cx: &mut Context) -> Result<ClusterSpecifier> {
    match message {
        Some(PbCluster::Cluster(name)) => Ok(ClusterSpecifier::Cluster(name)),
        Some(PbCluster::WeightedClusters(clusters)) => {
            let clusters = cx.at("weighted_clusters", |cx| weighted::decode(clusters, cx))?;
            Ok(ClusterSpecifier::Weighted(clusters))
        }
        Some(PbCluster::ClusterHeader(_)) => cx.fail_at("cluster_header", "is not supported"),
        Some(PbCluster::ClusterSpecifierPlugin(_)) => {
            cx.fail_at("cluster_specifier_plugin", "is not supported")
        }
        Some(PbCluster::InlineClusterSpecifierPlugin(_)) => {
            cx.fail_at("inline_cluster_specifier_plugin", "is not supported")
        }
        None => cx.fail_at("cluster", "must be set"),
    }
}

fn encode_host_rewrite(value: &HostRewrite) -> Option<HostRewriteSpecifier> {
    match value {
        HostRewrite::None => None,
        HostRewrite::Literal(host) => Some(HostRewriteSpecifier::HostRewriteLiteral(host.clone())),
        HostRewrite::Auto => Some(HostRewriteSpecifier::AutoHostRewrite(true)),
    }
}

fn decode_host_rewrite(
    message: Option<HostRewriteSpecifier>,
    cx: &mut Context,
) -> Result<HostRewrite> {
    match message {
        None | Some(HostRewriteSpecifier::AutoHostRewrite(false)) => Ok(HostRewrite::None),
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Ok(HostRewrite::Literal(host)),
        Some(HostRewriteSpecifier::AutoHostRewrite(true)) => Ok(HostRewrite::Auto),
        Some(HostRewriteSpecifier::HostRewriteHeader(_)) => {
            cx.fail_at("host_rewrite_header", "is not supported")
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(_)) => {
            cx.fail_at("host_rewrite_path_regex", "is not supported")
        }
        Some(HostRewriteSpecifier::HostRewrite(_)) => {
            cx.fail_at("host_rewrite", "is not supported")
        }
    }
}

fn encode_mirror(value: &MirrorPolicy) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster: value.cluster.clone(),
        runtime_fraction: value.runtime_fraction.map(matcher::encode_runtime_fraction),
        disable_shadow_host_suffix_append: value.disable_shadow_host_suffix,
        ..Default::default()
    }
}

fn decode_mirror(message: RequestMirrorPolicy, cx: &mut Context) -> Result<MirrorPolicy> {
    fields! {
        cx, message => RequestMirrorPolicy {
            cluster, runtime_fraction, disable_shadow_host_suffix_append,
        }
        ignored { trace_sampled }
        rejected { cluster_header, request_headers_mutations, host_rewrite_literal }
    }
    Ok(MirrorPolicy {
        cluster,
        runtime_fraction: cx.optional(
            "runtime_fraction",
            runtime_fraction,
            matcher::decode_runtime_fraction,
        )?,
        disable_shadow_host_suffix: disable_shadow_host_suffix_append,
    })
}
