//! Network filters, of listeners and of clusters.

use pb::{
    envoy::{
        config::listener::v3::{self as listener, filter::ConfigType},
        extensions::filters::network::{
            http_connection_manager::v3::HttpConnectionManager as PbHttpConnectionManager,
            rbac::v3::Rbac,
            tcp_proxy::v3::{
                self as tcp, tcp_proxy::ClusterSpecifier, tcp_proxy::WeightedCluster,
                tcp_proxy::weighted_cluster::ClusterWeight,
            },
        },
        tcp::metadataexchange::config::MetadataExchange,
    },
    stats::PluginConfig,
};

use super::{
    access_log,
    any::{duration, is, pack},
    context::{Context, Result, fields},
    http_connection_manager, http_filter, rbac,
};
use crate::{NetworkFilter, NetworkFilterConfig, Opaque, TcpClusterWeight, TcpProxy};

pub(super) fn encode(value: &NetworkFilter) -> listener::Filter {
    listener::Filter {
        name: value.name.clone(),
        config_type: Some(ConfigType::TypedConfig(encode_config(&value.config))),
    }
}

pub(super) fn decode(message: listener::Filter, cx: &mut Context) -> Result<NetworkFilter> {
    let listener::Filter { name, config_type } = message;
    let config = match config_type {
        Some(ConfigType::TypedConfig(any)) => cx.at("typed_config", |cx| decode_config(any, cx))?,
        Some(ConfigType::ConfigDiscovery(_)) => {
            return cx.fail_at("config_discovery", "is not supported");
        }
        None => return cx.fail_at("typed_config", "must be set"),
    };
    Ok(NetworkFilter { name, config })
}

pub(super) fn encode_config(value: &NetworkFilterConfig) -> pb::Any {
    match value {
        NetworkFilterConfig::HttpConnectionManager(manager) => {
            pack(&http_connection_manager::encode(manager))
        }
        NetworkFilterConfig::TcpProxy(proxy) => pack(&encode_tcp_proxy(proxy)),
        NetworkFilterConfig::Rbac(filter) => pack(&rbac::encode_network(filter)),
        NetworkFilterConfig::Stats(config) => pack(&http_filter::encode_stats(config)),
        NetworkFilterConfig::MetadataExchange { protocol } => {
            pack(&MetadataExchange { protocol: protocol.clone(), ..Default::default() })
        }
        NetworkFilterConfig::Opaque(Opaque { type_url, value }) => {
            pb::Any { type_url: type_url.clone(), value: value.clone() }
        }
    }
}

pub(super) fn decode_config(any: pb::Any, cx: &mut Context) -> Result<NetworkFilterConfig> {
    Ok(if is::<PbHttpConnectionManager>(&any) {
        let manager = http_connection_manager::decode(cx.open(&any)?, cx)?;
        NetworkFilterConfig::HttpConnectionManager(Box::new(manager))
    } else if is::<tcp::TcpProxy>(&any) {
        NetworkFilterConfig::TcpProxy(decode_tcp_proxy(cx.open(&any)?, cx)?)
    } else if is::<Rbac>(&any) {
        NetworkFilterConfig::Rbac(rbac::decode_network(cx.open(&any)?, cx)?)
    } else if is::<PluginConfig>(&any) {
        NetworkFilterConfig::Stats(http_filter::decode_stats(cx.open(&any)?, cx)?)
    } else if is::<MetadataExchange>(&any) {
        fields! {
            cx, cx.open(&any)? => MetadataExchange { protocol }
            ignored { enable_discovery }
        }
        NetworkFilterConfig::MetadataExchange { protocol }
    } else {
        let pb::Any { type_url, value } = any;
        NetworkFilterConfig::Opaque(Opaque { type_url, value })
    })
}

fn encode_tcp_proxy(value: &TcpProxy) -> tcp::TcpProxy {
    let specifier = match value.clusters.as_slice() {
        [TcpClusterWeight { name, weight: 1 }] => ClusterSpecifier::Cluster(name.clone()),
        clusters => {
            let weights = clusters.iter().map(|cluster| ClusterWeight {
                name: cluster.name.clone(),
                weight: cluster.weight,
                ..Default::default()
            });
            ClusterSpecifier::WeightedClusters(WeightedCluster { clusters: weights.collect() })
        }
    };
    tcp::TcpProxy {
        stat_prefix: value.stat_prefix.clone(),
        idle_timeout: value.idle_timeout.map(duration),
        max_downstream_connection_duration: value.max_downstream_connection_duration.map(duration),
        access_log: access_log::encode_all(&value.access_log),
        cluster_specifier: Some(specifier),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
fn decode_tcp_proxy(message: tcp::TcpProxy, cx: &mut Context) -> Result<TcpProxy> {
    fields! {
        cx, message => tcp::TcpProxy {
            stat_prefix, idle_timeout, max_downstream_connection_duration, access_log,
            cluster_specifier,
        }
        ignored {
            max_connect_attempts, backoff_options,
            max_downstream_connection_duration_jitter_percentage, access_log_flush_interval,
            flush_access_log_on_connected, access_log_options, check_drain_close,
            downstream_idle_timeout, upstream_idle_timeout, hash_policy,
        }
        rejected {
            on_demand, metadata_match, tunneling_config, proxy_protocol_tlvs,
            proxy_protocol_tlv_merge_policy, upstream_connect_mode, max_early_data_bytes,
        }
    }
    let clusters = match cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![TcpClusterWeight { name, weight: 1 }],
        Some(ClusterSpecifier::WeightedClusters(WeightedCluster { clusters })) => {
            cx.at("weighted_clusters", |cx| {
                cx.some("clusters", clusters, |cluster, cx| {
                    fields! {
                        cx, cluster => ClusterWeight { name, weight }
                        rejected { metadata_match }
                    }
                    Ok(TcpClusterWeight { name, weight })
                })
            })?
        }
        None => return cx.fail_at("cluster_specifier", "must be set"),
    };
    Ok(TcpProxy {
        stat_prefix,
        clusters,
        idle_timeout: cx.duration("idle_timeout", idle_timeout)?,
        max_downstream_connection_duration: cx
            .duration("max_downstream_connection_duration", max_downstream_connection_duration)?,
        access_log: access_log::decode_all("access_log", access_log, cx)?,
    })
}
