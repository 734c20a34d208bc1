//! Listeners and filter chains.

mod listener_filter;

use pb::envoy::config::{
    core::v3::TrafficDirection as PbTrafficDirection,
    listener::v3::{self as listener, listener::DeprecatedV1},
};

use super::{
    access_log, address,
    any::duration,
    context::{Context, Result, fields},
    network_filter, tls,
};
use crate::{FilterChain, FilterChainMatch, Listener, TrafficDirection};

pub(super) fn encode(value: &Listener) -> listener::Listener {
    let direction = match value.traffic_direction {
        TrafficDirection::Unspecified => PbTrafficDirection::Unspecified,
        TrafficDirection::Inbound => PbTrafficDirection::Inbound,
        TrafficDirection::Outbound => PbTrafficDirection::Outbound,
    };
    listener::Listener {
        name: value.name.clone(),
        address: Some(address::encode(&value.address)),
        bind_to_port: (!value.bind_to_port).then_some(false),
        use_original_dst: value.use_original_dst.then_some(true),
        traffic_direction: direction.into(),
        listener_filters: value.listener_filters.iter().map(listener_filter::encode).collect(),
        listener_filters_timeout: value.listener_filters_timeout.map(duration),
        continue_on_listener_filters_timeout: value.continue_on_listener_filters_timeout,
        filter_chains: value.filter_chains.iter().map(encode_chain).collect(),
        default_filter_chain: value.default_filter_chain.as_deref().map(encode_chain),
        access_log: access_log::encode_all(&value.access_log),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
pub(super) fn decode(message: listener::Listener, cx: &mut Context) -> Result<Listener> {
    cx.named(&message.name);
    fields! {
        cx, message => listener::Listener {
            name, address, bind_to_port, use_original_dst, traffic_direction, listener_filters,
            listener_filters_timeout, continue_on_listener_filters_timeout, filter_chains,
            default_filter_chain, access_log, deprecated_v1,
        }
        ignored {
            stat_prefix, stats_matcher, per_connection_buffer_limit_bytes,
            per_connection_buffer_high_watermark_timeout, metadata, drain_type, freebind,
            socket_options, tcp_fast_open_queue_length, connection_balance_config, reuse_port,
            enable_reuse_port, tcp_backlog_size, max_connections_to_accept_per_socket_event,
            enable_mptcp, ignore_global_conn_limit, bypass_overload_manager, tcp_keepalive,
        }
        rejected {
            additional_addresses, fcds_config, filter_chain_matcher, udp_listener_config,
            api_listener, listener_specifier,
        }
        false_only { transparent }
    }
    let direction = match cx.enumeration("traffic_direction", traffic_direction)? {
        PbTrafficDirection::Unspecified => TrafficDirection::Unspecified,
        PbTrafficDirection::Inbound => TrafficDirection::Inbound,
        PbTrafficDirection::Outbound => TrafficDirection::Outbound,
    };
    let old_bind = deprecated_v1.and_then(|DeprecatedV1 { bind_to_port }| bind_to_port);
    let default_filter_chain =
        cx.optional("default_filter_chain", default_filter_chain, decode_chain)?;
    Ok(Listener {
        name,
        address: cx.required("address", address, address::decode)?,
        bind_to_port: bind_to_port.or(old_bind).unwrap_or(true),
        use_original_dst: use_original_dst.unwrap_or(false),
        traffic_direction: direction,
        listener_filters: cx.each("listener_filters", listener_filters, listener_filter::decode)?,
        listener_filters_timeout: cx
            .duration("listener_filters_timeout", listener_filters_timeout)?,
        continue_on_listener_filters_timeout,
        filter_chains: cx.each("filter_chains", filter_chains, decode_chain)?,
        default_filter_chain: default_filter_chain.map(Box::new),
        access_log: access_log::decode_all("access_log", access_log, cx)?,
    })
}

fn encode_chain(value: &FilterChain) -> listener::FilterChain {
    let criteria = &value.filter_chain_match;
    listener::FilterChain {
        name: value.name.clone(),
        filter_chain_match: (*criteria != FilterChainMatch::default())
            .then(|| encode_match(criteria)),
        transport_socket: value.transport_socket.as_ref().map(tls::encode_downstream),
        transport_socket_connect_timeout: value.transport_socket_connect_timeout.map(duration),
        filters: value.filters.iter().map(network_filter::encode).collect(),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
fn decode_chain(message: listener::FilterChain, cx: &mut Context) -> Result<FilterChain> {
    fields! {
        cx, message => listener::FilterChain {
            name, filter_chain_match, transport_socket, transport_socket_connect_timeout, filters,
        }
        ignored { metadata }
        rejected {}
        false_only { use_proxy_proto }
    }
    let filter_chain_match = cx.optional("filter_chain_match", filter_chain_match, decode_match)?;
    let transport_socket =
        cx.optional("transport_socket", transport_socket, tls::decode_downstream)?;
    Ok(FilterChain {
        name,
        filter_chain_match: filter_chain_match.unwrap_or_default(),
        transport_socket: transport_socket.flatten(),
        transport_socket_connect_timeout: cx
            .duration("transport_socket_connect_timeout", transport_socket_connect_timeout)?,
        filters: cx.each("filters", filters, network_filter::decode)?,
    })
}

fn encode_match(value: &FilterChainMatch) -> listener::FilterChainMatch {
    let ranges = |ranges: &[ipnet::IpNet]| ranges.iter().map(address::encode_range).collect();
    listener::FilterChainMatch {
        destination_port: value.destination_port.map(u32::from),
        prefix_ranges: ranges(&value.prefix_ranges),
        direct_source_prefix_ranges: ranges(&value.direct_source_prefix_ranges),
        source_prefix_ranges: ranges(&value.source_prefix_ranges),
        source_ports: value.source_ports.iter().copied().map(u32::from).collect(),
        server_names: value.server_names.clone(),
        transport_protocol: value.transport_protocol.clone().unwrap_or_default(),
        application_protocols: value.application_protocols.clone(),
        ..Default::default()
    }
}

fn decode_match(message: listener::FilterChainMatch, cx: &mut Context) -> Result<FilterChainMatch> {
    fields! {
        cx, message => listener::FilterChainMatch {
            destination_port, prefix_ranges, direct_source_prefix_ranges, source_prefix_ranges,
            source_ports, server_names, transport_protocol, application_protocols,
        }
        rejected { address_suffix, suffix_len, source_type }
    }
    let destination_port =
        destination_port.map(|port| cx.short("destination_port", port)).transpose()?;
    let source_ports = source_ports.into_iter();
    Ok(FilterChainMatch {
        destination_port,
        prefix_ranges: cx.each("prefix_ranges", prefix_ranges, address::decode_range)?,
        server_names,
        transport_protocol: Some(transport_protocol).filter(|protocol| !protocol.is_empty()),
        application_protocols,
        direct_source_prefix_ranges: cx.each(
            "direct_source_prefix_ranges",
            direct_source_prefix_ranges,
            address::decode_range,
        )?,
        source_prefix_ranges: cx.each(
            "source_prefix_ranges",
            source_prefix_ranges,
            address::decode_range,
        )?,
        source_ports: source_ports
            .map(|port| cx.short("source_ports", port))
            .collect::<Result<_>>()?,
    })
}
