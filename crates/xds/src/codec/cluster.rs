//! Clusters.

mod discovery;
mod load_balancing;
mod outlier_detection;

use std::collections::BTreeMap;

use pb::envoy::{
    config::cluster::v3::{
        self as cluster, Filter, UpstreamConnectionOptions,
        circuit_breakers::{Thresholds, thresholds::RetryBudget as PbRetryBudget},
        cluster::TransportSocketMatch as PbTransportSocketMatch,
    },
    extensions::upstreams::http::v3::HttpProtocolOptions,
    r#type::v3::Percent,
};

use super::{
    address,
    any::{duration, is, pack},
    context::{Context, Result, fields},
    metadata, network_filter, tls, upstream_http,
};
use crate::{
    CircuitBreakers, Cluster, NetworkFilter, RetryBudget, Struct, TransportSocketMatch,
    UpstreamHttp, Value,
};

/// Envoy's `connect_timeout` when there is none.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) fn encode(value: &Cluster) -> cluster::Cluster {
    let mut message = cluster::Cluster {
        name: value.name.clone(),
        alt_stat_name: value.alt_stat_name.clone(),
        connect_timeout: Some(duration(value.connect_timeout)),
        circuit_breakers: encode_breakers(value.circuit_breakers),
        outlier_detection: value.outlier_detection.as_ref().map(outlier_detection::encode),
        transport_socket: value.transport_socket.as_ref().map(tls::encode_upstream),
        transport_socket_matches: value
            .transport_socket_matches
            .iter()
            .map(encode_socket_match)
            .collect(),
        typed_extension_protocol_options: upstream_http::encode(&value.http)
            .map(|options| (upstream_http::KEY.to_owned(), pack(&options)))
            .into_iter()
            .collect(),
        upstream_bind_config: value.bind.as_ref().map(address::encode_bind),
        upstream_connection_options: value.tcp_keepalive.as_ref().map(|keepalive| {
            UpstreamConnectionOptions {
                tcp_keepalive: Some(address::encode_keepalive(keepalive)),
                ..Default::default()
            }
        }),
        filters: value.filters.iter().map(encode_filter).collect(),
        metadata: metadata::encode(&value.metadata),
        ..Default::default()
    };
    discovery::encode(&value.discovery, &mut message);
    load_balancing::encode(value, &mut message);
    message
}

#[expect(deprecated, reason = "a decoder names every field")]
pub(super) fn decode(message: cluster::Cluster, cx: &mut Context) -> Result<Cluster> {
    cx.named(&message.name);
    fields! {
        cx, message => cluster::Cluster {
            transport_socket_matches, name, alt_stat_name, eds_cluster_config, connect_timeout,
            lb_policy, load_assignment, circuit_breakers, typed_extension_protocol_options,
            dns_lookup_family, outlier_detection, upstream_bind_config,
            common_lb_config, transport_socket, metadata, upstream_connection_options, filters,
            cluster_discovery_type, lb_config,
        }
        ignored {
            stats_matcher, per_connection_buffer_limit_bytes,
            per_connection_buffer_high_watermark_timeout, dns_refresh_rate, dns_jitter,
            dns_failure_refresh_rate, dns_resolvers, use_tcp_for_dns_lookups,
            dns_resolution_config, typed_dns_resolver_config, wait_for_warm_on_init,
            cleanup_interval, close_connections_on_host_health_failure,
            ignore_health_on_host_removal, lrs_server, lrs_report_endpoint_metrics,
            track_timeout_budgets, track_cluster_stats, preconnect_policy, queuing_policies,
            connection_pool_per_downstream_connection,
        }
        rejected {
            transport_socket_matcher, health_checks, max_requests_per_connection,
            upstream_http_protocol_options, common_http_protocol_options, http_protocol_options,
            http2_protocol_options, lb_subset_config, protocol_selection, load_balancing_policy,
            upstream_config,
        }
        false_only {}
        silent { respect_dns_ttl }
    }
    discovery::note_dns(dns_lookup_family, cx)?;
    let discovery = discovery::Messages {
        name: &name,
        discovery_type: cluster_discovery_type,
        eds: eds_cluster_config,
        load_assignment,
    };
    let discovery = discovery.decode(cx)?;
    let common =
        cx.optional("common_lb_config", common_lb_config, load_balancing::decode_common)?;
    let (healthy_panic_threshold, locality_weighted) = common.unwrap_or_default();
    let connect_timeout = cx.duration("connect_timeout", connect_timeout)?;
    let connection =
        cx.optional("upstream_connection_options", upstream_connection_options, decode_connection)?;
    Ok(Cluster {
        alt_stat_name,
        discovery,
        connect_timeout: connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        lb_policy: load_balancing::decode(lb_policy, lb_config, cx)?,
        healthy_panic_threshold,
        locality_weighted,
        circuit_breakers: cx
            .optional("circuit_breakers", circuit_breakers, decode_breakers)?
            .unwrap_or_default(),
        outlier_detection: cx.optional(
            "outlier_detection",
            outlier_detection,
            outlier_detection::decode,
        )?,
        transport_socket: cx
            .optional("transport_socket", transport_socket, tls::decode_upstream)?
            .flatten(),
        transport_socket_matches: cx.each(
            "transport_socket_matches",
            transport_socket_matches,
            decode_socket_match,
        )?,
        http: decode_http(typed_extension_protocol_options, cx)?,
        bind: cx.optional("upstream_bind_config", upstream_bind_config, address::decode_bind)?,
        tcp_keepalive: connection.flatten().map(address::decode_keepalive),
        filters: cx.each("filters", filters, decode_filter)?,
        metadata: metadata::decode(metadata, cx),
        name,
    })
}

fn decode_connection(
    message: UpstreamConnectionOptions,
    cx: &mut Context,
) -> Result<Option<pb::envoy::config::core::v3::TcpKeepalive>> {
    fields! {
        cx, message => UpstreamConnectionOptions { tcp_keepalive }
        ignored { set_local_interface_name_on_upstream_connections, happy_eyeballs_config }
    }
    Ok(tcp_keepalive)
}

fn decode_http(options: BTreeMap<String, pb::Any>, cx: &mut Context) -> Result<UpstreamHttp> {
    let mut http = UpstreamHttp::default();
    cx.at("typed_extension_protocol_options", |cx| {
        for (key, any) in options {
            http = cx.key(&key, |cx| match is::<HttpProtocolOptions>(&any) {
                true => upstream_http::decode(cx.open(&any)?, cx),
                false => cx.fail(format!("{} is not supported", any.type_url)),
            })?;
        }
        Ok(http)
    })
}

fn encode_breakers(value: CircuitBreakers) -> Option<cluster::CircuitBreakers> {
    let CircuitBreakers {
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
    } = value;
    let thresholds = Thresholds {
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget: retry_budget.map(encode_budget),
        ..Default::default()
    };
    (value != CircuitBreakers::default())
        .then(|| cluster::CircuitBreakers { thresholds: vec![thresholds], ..Default::default() })
}

fn decode_breakers(message: cluster::CircuitBreakers, cx: &mut Context) -> Result<CircuitBreakers> {
    fields! {
        cx, message => cluster::CircuitBreakers { thresholds }
        rejected { per_host_thresholds }
    }
    let thresholds = cx.each("thresholds", thresholds, |thresholds, cx| {
        fields! {
            cx, thresholds => Thresholds {
                priority, max_connections, max_pending_requests, max_requests, max_retries,
                retry_budget,
            }
            ignored { track_remaining, max_connection_pools }
        }
        let retry_budget = cx.optional("retry_budget", retry_budget, decode_budget)?;
        // Routes of high priority are treated as all others.
        cx.ignored("priority", &priority);
        let breakers = CircuitBreakers {
            max_connections,
            max_pending_requests,
            max_requests,
            max_retries,
            retry_budget,
        };
        Ok((priority == 0).then_some(breakers))
    })?;
    Ok(thresholds.into_iter().flatten().next().unwrap_or_default())
}

fn encode_budget(value: RetryBudget) -> PbRetryBudget {
    PbRetryBudget {
        budget_percent: Some(Percent { value: f64::from(value.share) / 10_000.0 }),
        min_retry_concurrency: value.min_retry_concurrency,
        budget_interval: None,
    }
}

/// Envoy's share without a percentage is 20 %.
fn decode_budget(message: PbRetryBudget, cx: &mut Context) -> Result<RetryBudget> {
    fields! {
        cx, message => PbRetryBudget { budget_percent, min_retry_concurrency }
        ignored { budget_interval }
    }
    let percent = budget_percent.map_or(20.0, |percent| percent.value);
    if !(0.0..=100.0).contains(&percent) {
        return cx.fail_at("budget_percent", "must be from 0 to 100");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be from 0 to 100 above"
    )]
    let share = (percent * 10_000.0).round() as u32;
    Ok(RetryBudget { share, min_retry_concurrency })
}

fn encode_socket_match(value: &TransportSocketMatch) -> PbTransportSocketMatch {
    let criteria = value.criteria.iter();
    let criteria: Struct =
        criteria.map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    let socket = value.transport_socket.as_ref().map_or_else(tls::raw_buffer, tls::encode_upstream);
    PbTransportSocketMatch {
        name: value.name.clone(),
        r#match: Some(metadata::encode_struct(&criteria)),
        transport_socket: Some(socket),
    }
}

fn decode_socket_match(
    message: PbTransportSocketMatch,
    cx: &mut Context,
) -> Result<TransportSocketMatch> {
    let PbTransportSocketMatch { name, r#match, transport_socket } = message;
    let fields = metadata::decode_struct(r#match.unwrap_or_default()).into_iter();
    let criteria = cx.at("match", |cx| {
        fields
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                _ => cx.key(&key, |cx| cx.fail("must be a string")),
            })
            .collect()
    })?;
    let transport_socket =
        cx.required("transport_socket", transport_socket, tls::decode_upstream)?;
    Ok(TransportSocketMatch { name, criteria, transport_socket })
}

fn encode_filter(value: &NetworkFilter) -> Filter {
    Filter {
        name: value.name.clone(),
        typed_config: Some(network_filter::encode_config(&value.config)),
        ..Default::default()
    }
}

fn decode_filter(message: Filter, cx: &mut Context) -> Result<NetworkFilter> {
    fields! {
        cx, message => Filter { name, typed_config }
        rejected { config_discovery }
    }
    let config = cx.required("typed_config", typed_config, network_filter::decode_config)?;
    Ok(NetworkFilter { name, config })
}
