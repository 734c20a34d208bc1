//! Clusters by weight.

use pb::envoy::config::route::v3::{
    WeightedCluster,
    weighted_cluster::{ClusterWeight as PbClusterWeight, cluster_weight::HostRewriteSpecifier},
};

use crate::{
    ClusterWeight, HostRewrite,
    codec::{
        context::{Context, Result, fields},
        route::headers,
    },
};

pub(super) fn encode(values: &[ClusterWeight]) -> WeightedCluster {
    WeightedCluster { clusters: values.iter().map(encode_one).collect(), ..Default::default() }
}

#[expect(deprecated, reason = "a decoder names every field")]
pub(super) fn decode(message: WeightedCluster, cx: &mut Context) -> Result<Vec<ClusterWeight>> {
    // The total is the sum of the weights, whatever an old client writes there.
    fields! {
        cx, message => WeightedCluster { clusters }
        ignored { total_weight, runtime_key_prefix }
        rejected { random_value_specifier }
    }
    cx.some("clusters", clusters, decode_one)
}

/// `HostRewrite::Auto` cannot be said of one cluster of several, and is left out.
fn encode_one(value: &ClusterWeight) -> PbClusterWeight {
    let headers = headers::encode(&value.headers);
    let host_rewrite = match &value.host_rewrite {
        HostRewrite::Literal(host) => Some(HostRewriteSpecifier::HostRewriteLiteral(host.clone())),
        HostRewrite::None | HostRewrite::Auto => None,
    };
    PbClusterWeight {
        name: value.name.clone(),
        weight: Some(value.weight),
        request_headers_to_add: headers.request_add,
        request_headers_to_remove: headers.request_remove,
        response_headers_to_add: headers.response_add,
        response_headers_to_remove: headers.response_remove,
        host_rewrite_specifier: host_rewrite,
        ..Default::default()
    }
}

fn decode_one(message: PbClusterWeight, cx: &mut Context) -> Result<ClusterWeight> {
    fields! {
        cx, message => PbClusterWeight {
            name, weight, request_headers_to_add, request_headers_to_remove,
            response_headers_to_add, response_headers_to_remove, host_rewrite_specifier,
        }
        rejected { cluster_header, metadata_match, typed_per_filter_config }
    }
    let headers = headers::Messages {
        request_add: request_headers_to_add,
        request_remove: request_headers_to_remove,
        response_add: response_headers_to_add,
        response_remove: response_headers_to_remove,
    };
    let host_rewrite = match host_rewrite_specifier {
        None => HostRewrite::None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => HostRewrite::Literal(host),
    };
    Ok(ClusterWeight {
        name,
        weight: weight.unwrap_or(0),
        headers: headers::decode(headers, cx)?,
        host_rewrite,
    })
}
