//! How an endpoint is chosen.

use pb::envoy::{
    config::cluster::v3::{
        self as cluster,
        cluster::{
            CommonLbConfig, LbConfig, LbPolicy as PbLbPolicy, LeastRequestLbConfig, MaglevLbConfig,
            OriginalDstLbConfig, RingHashLbConfig, RoundRobinLbConfig,
            common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig},
        },
    },
    r#type::v3::Percent,
};

use crate::{
    Cluster, LbPolicy,
    codec::context::{Context, Result, fields},
};

pub(super) fn encode(value: &Cluster, message: &mut cluster::Cluster) {
    let (policy, config) = match value.lb_policy {
        LbPolicy::RoundRobin => (PbLbPolicy::RoundRobin, None),
        LbPolicy::LeastRequest { choice_count } => {
            let config = LeastRequestLbConfig { choice_count, ..Default::default() };
            let config = choice_count.map(|_| LbConfig::LeastRequestLbConfig(config));
            (PbLbPolicy::LeastRequest, config)
        }
        LbPolicy::Random => (PbLbPolicy::Random, None),
        LbPolicy::RingHash { minimum_ring_size } => {
            let config = RingHashLbConfig { minimum_ring_size, ..Default::default() };
            let config = minimum_ring_size.map(|_| LbConfig::RingHashLbConfig(config));
            (PbLbPolicy::RingHash, config)
        }
        LbPolicy::Maglev { table_size } => {
            let config = MaglevLbConfig { table_size };
            let config = table_size.map(|_| LbConfig::MaglevLbConfig(config));
            (PbLbPolicy::Maglev, config)
        }
        LbPolicy::ClusterProvided => (PbLbPolicy::ClusterProvided, None),
    };
    message.lb_policy = policy.into();
    message.lb_config = config;
    let common = CommonLbConfig {
        healthy_panic_threshold: value
            .healthy_panic_threshold
            .map(|percent| Percent { value: percent.into() }),
        locality_config_specifier: value.locality_weighted.then(|| {
            LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig::default())
        }),
        ..Default::default()
    };
    message.common_lb_config = (common != CommonLbConfig::default()).then_some(common);
}

/// A configuration of another policy than the chosen one has no effect.
pub(super) fn decode(policy: i32, config: Option<LbConfig>, cx: &mut Context) -> Result<LbPolicy> {
    let policy = cx.enumeration("lb_policy", policy)?;
    Ok(match (policy, config) {
        (PbLbPolicy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config))) => {
            cx.at("round_robin_lb_config", |cx| {
                fields! { cx, config => RoundRobinLbConfig {} rejected { slow_start_config } }
                Ok(LbPolicy::RoundRobin)
            })?
        }
        (PbLbPolicy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config))) => {
            cx.at("least_request_lb_config", |cx| {
                fields! {
                    cx, config => LeastRequestLbConfig { choice_count }
                    ignored { active_request_bias }
                    rejected { slow_start_config }
                }
                Ok(LbPolicy::LeastRequest { choice_count })
            })?
        }
        (PbLbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config))) => {
            cx.at("ring_hash_lb_config", |cx| {
                fields! {
                    cx, config => RingHashLbConfig { minimum_ring_size }
                    ignored { hash_function, maximum_ring_size }
                }
                Ok(LbPolicy::RingHash { minimum_ring_size })
            })?
        }
        (PbLbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size }))) => {
            LbPolicy::Maglev { table_size }
        }
        (PbLbPolicy::ClusterProvided, Some(LbConfig::OriginalDstLbConfig(config))) => {
            cx.at("original_dst_lb_config", |cx| {
                fields! {
                    cx, config => OriginalDstLbConfig {}
                    ignored { http_header_name }
                    rejected { use_http_header, upstream_port_override, metadata_key }
                }
                Ok(LbPolicy::ClusterProvided)
            })?
        }
        (policy, config) => {
            cx.ignored("lb_config", &config);
            decode_plain(policy, cx)?
        }
    })
}

fn decode_plain(policy: PbLbPolicy, cx: &mut Context) -> Result<LbPolicy> {
    Ok(match policy {
        PbLbPolicy::RoundRobin => LbPolicy::RoundRobin,
        PbLbPolicy::LeastRequest => LbPolicy::LeastRequest { choice_count: None },
        PbLbPolicy::Random => LbPolicy::Random,
        PbLbPolicy::RingHash => LbPolicy::RingHash { minimum_ring_size: None },
        PbLbPolicy::Maglev => LbPolicy::Maglev { table_size: None },
        PbLbPolicy::ClusterProvided => LbPolicy::ClusterProvided,
        PbLbPolicy::LoadBalancingPolicyConfig => {
            return cx.fail_at("lb_policy", "LOAD_BALANCING_POLICY_CONFIG is not supported");
        }
    })
}

/// The panic threshold, in percent, and whether localities share the load by their weights.
pub(super) fn decode_common(
    message: CommonLbConfig,
    cx: &mut Context,
) -> Result<(Option<u32>, bool)> {
    fields! {
        cx, message => CommonLbConfig { healthy_panic_threshold, locality_config_specifier }
        ignored {
            update_merge_window, ignore_new_hosts_until_first_hc,
            close_connections_on_host_set_change, consistent_hashing_lb_config,
        }
        rejected { override_host_status }
    }
    let weighted = match locality_config_specifier {
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {})) => {
            true
        }
        other => {
            cx.ignored("locality_config_specifier", &other);
            false
        }
    };
    let threshold =
        cx.optional("healthy_panic_threshold", healthy_panic_threshold, |percent, cx| {
            let Percent { value } = percent;
            let whole = (0..=100).find(|percent| f64::from(*percent) == value);
            whole.map_or_else(
                || cx.fail(format!("{value} is not a whole number between 0 and 100")),
                Ok,
            )
        })?;
    Ok((threshold, weighted))
}
