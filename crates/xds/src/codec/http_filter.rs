//! HTTP filters, and their configurations on virtual hosts and routes.

mod fault;
mod per_route;

use pb::{
    envoy::extensions::filters::{
        http::{
            cors::v3::Cors, fault::v3::HttpFault as PbHttpFault,
            grpc_stats::v3::FilterConfig as GrpcStats, rbac::v3::Rbac,
            router::v3::Router as PbRouter,
        },
        network::http_connection_manager::v3::{self as hcm, http_filter::ConfigType},
    },
    io::istio::http::peer_metadata::{
        Config as PbPeerMetadata,
        config::{
            DiscoveryMethod, IstioHeaders, PropagationMethod, discovery_method, propagation_method,
        },
    },
    istio::envoy::config::filter::http::alpn::v2alpha1::{
        FilterConfig as Alpn,
        filter_config::{AlpnOverride as PbAlpnOverride, Protocol},
    },
    stats::PluginConfig,
};

pub(super) use self::per_route::{decode as decode_per_route, encode as encode_per_route};
use super::{
    any::{duration, is, pack},
    context::{Context, Flag, Result, fields},
    rbac,
};
use crate::{
    AlpnOverride, HttpFilter, HttpFilterConfig, Opaque, PeerMetadata, Router, StatsConfig,
    UpstreamProtocol,
};

pub(super) fn encode(value: &HttpFilter) -> hcm::HttpFilter {
    let config = match &value.config {
        HttpFilterConfig::Router(router) => pack(&PbRouter {
            suppress_envoy_headers: router.suppress_envoy_headers,
            ..Default::default()
        }),
        HttpFilterConfig::Fault(fault) => pack(&fault::encode(fault)),
        HttpFilterConfig::Cors => pack(&Cors::default()),
        HttpFilterConfig::Rbac(filter) => pack(&rbac::encode_http(filter)),
        HttpFilterConfig::GrpcStats { emit_filter_state } => {
            pack(&GrpcStats { emit_filter_state: *emit_filter_state, ..Default::default() })
        }
        HttpFilterConfig::Alpn(overrides) => pack(&encode_alpn(overrides)),
        HttpFilterConfig::Stats(config) => pack(&encode_stats(config)),
        HttpFilterConfig::PeerMetadata(config) => pack(&encode_peer_metadata(*config)),
        HttpFilterConfig::Opaque(Opaque { type_url, value }) => {
            pb::Any { type_url: type_url.clone(), value: value.clone() }
        }
    };
    hcm::HttpFilter {
        name: value.name.clone(),
        config_type: Some(ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

pub(super) fn decode_all(
    messages: Vec<hcm::HttpFilter>,
    cx: &mut Context,
) -> Result<Vec<HttpFilter>> {
    Ok(cx.each("http_filters", messages, decode)?.into_iter().flatten().collect())
}

/// None: one that is not known, and optional.
fn decode(message: hcm::HttpFilter, cx: &mut Context) -> Result<Option<HttpFilter>> {
    fields! {
        cx, message => hcm::HttpFilter { name, is_optional, config_type }
        rejected { disabled }
    }
    let config = match config_type {
        Some(ConfigType::TypedConfig(any)) => cx.at("typed_config", |cx| decode_config(any, cx))?,
        Some(ConfigType::ConfigDiscovery(_)) => {
            return cx.fail_at("config_discovery", "is not supported");
        }
        None => return cx.fail_at("typed_config", "must be set"),
    };
    if is_optional && matches!(config, HttpFilterConfig::Opaque(_)) {
        cx.ignore("typed_config");
        return Ok(None);
    }
    Ok(Some(HttpFilter { name, config }))
}

fn decode_config(any: pb::Any, cx: &mut Context) -> Result<HttpFilterConfig> {
    Ok(if is::<PbRouter>(&any) {
        HttpFilterConfig::Router(decode_router(cx.open(&any)?, cx)?)
    } else if is::<PbHttpFault>(&any) {
        HttpFilterConfig::Fault(fault::decode(cx.open(&any)?, cx)?)
    } else if is::<Cors>(&any) {
        let Cors {} = cx.open(&any)?;
        HttpFilterConfig::Cors
    } else if is::<Rbac>(&any) {
        HttpFilterConfig::Rbac(rbac::decode_http(cx.open(&any)?, cx)?)
    } else if is::<GrpcStats>(&any) {
        fields! {
            cx, cx.open(&any)? => GrpcStats { emit_filter_state }
            ignored {
                enable_upstream_stats, replace_dots_in_grpc_service_name,
                per_method_stat_specifier,
            }
        }
        HttpFilterConfig::GrpcStats { emit_filter_state }
    } else if is::<Alpn>(&any) {
        HttpFilterConfig::Alpn(decode_alpn(cx.open(&any)?, cx)?)
    } else if is::<PluginConfig>(&any) {
        HttpFilterConfig::Stats(decode_stats(cx.open(&any)?, cx)?)
    } else if is::<PbPeerMetadata>(&any) {
        HttpFilterConfig::PeerMetadata(decode_peer_metadata(cx.open(&any)?, cx)?)
    } else {
        let pb::Any { type_url, value } = any;
        HttpFilterConfig::Opaque(Opaque { type_url, value })
    })
}

#[expect(deprecated, reason = "a decoder names every field")]
fn decode_router(message: PbRouter, cx: &mut Context) -> Result<Router> {
    fields! {
        cx, message => PbRouter { suppress_envoy_headers }
        ignored {
            dynamic_stats, start_child_span, upstream_log, upstream_log_options,
            suppress_grpc_request_failure_code_stats, reject_connect_request_early_data,
        }
        rejected { strict_check_headers, respect_expected_rq_timeout, upstream_http_filters }
    }
    Ok(Router { suppress_envoy_headers })
}

fn encode_alpn(overrides: &[AlpnOverride]) -> Alpn {
    let alpn_override = overrides.iter().map(|value| {
        let protocol = match value.upstream_protocol {
            UpstreamProtocol::Http10 => Protocol::Http10,
            UpstreamProtocol::Http11 => Protocol::Http11,
            UpstreamProtocol::Http2 => Protocol::Http2,
        };
        PbAlpnOverride { upstream_protocol: protocol.into(), alpn_override: value.alpn.clone() }
    });
    Alpn { alpn_override: alpn_override.collect() }
}

fn decode_alpn(message: Alpn, cx: &mut Context) -> Result<Vec<AlpnOverride>> {
    let Alpn { alpn_override } = message;
    cx.each("alpn_override", alpn_override, |message, cx| {
        let PbAlpnOverride { upstream_protocol, alpn_override } = message;
        let upstream_protocol = match cx.enumeration("upstream_protocol", upstream_protocol)? {
            Protocol::Http10 => UpstreamProtocol::Http10,
            Protocol::Http11 => UpstreamProtocol::Http11,
            Protocol::Http2 => UpstreamProtocol::Http2,
        };
        Ok(AlpnOverride { upstream_protocol, alpn: alpn_override })
    })
}

pub(super) fn encode_stats(value: &StatsConfig) -> PluginConfig {
    PluginConfig {
        disable_host_header_fallback: value.disable_host_header_fallback,
        tcp_reporting_duration: value.tcp_reporting_duration.map(duration),
        ..Default::default()
    }
}

pub(super) fn decode_stats(message: PluginConfig, cx: &mut Context) -> Result<StatsConfig> {
    fields! {
        cx, message => PluginConfig { disable_host_header_fallback, tcp_reporting_duration }
        ignored { metrics, definitions, reporter, rotation_interval, graceful_deletion_interval }
    }
    Ok(StatsConfig {
        disable_host_header_fallback,
        tcp_reporting_duration: cx.duration("tcp_reporting_duration", tcp_reporting_duration)?,
    })
}

fn encode_peer_metadata(value: PeerMetadata) -> PbPeerMetadata {
    let discovery = |on: bool| {
        let headers = discovery_method::MethodSpecifier::IstioHeaders(IstioHeaders::default());
        on.then_some(DiscoveryMethod { method_specifier: Some(headers) }).into_iter().collect()
    };
    let propagation = |on: bool, skip_external_clusters: bool| {
        let headers = IstioHeaders { skip_external_clusters };
        let headers = propagation_method::MethodSpecifier::IstioHeaders(headers);
        on.then_some(PropagationMethod { method_specifier: Some(headers) }).into_iter().collect()
    };
    PbPeerMetadata {
        downstream_discovery: discovery(value.downstream_discovery),
        upstream_discovery: discovery(value.upstream_discovery),
        downstream_propagation: propagation(value.downstream_propagation, false),
        upstream_propagation: propagation(value.upstream_propagation, value.skip_external_clusters),
        shared_with_upstream: false,
    }
}

fn decode_peer_metadata(message: PbPeerMetadata, cx: &mut Context) -> Result<PeerMetadata> {
    fields! {
        cx, message => PbPeerMetadata {
            downstream_discovery, upstream_discovery, downstream_propagation,
            upstream_propagation,
        }
        ignored { shared_with_upstream }
    }
    let downstream = decode_propagation("downstream_propagation", downstream_propagation, cx)?;
    let upstream = decode_propagation("upstream_propagation", upstream_propagation, cx)?;
    Ok(PeerMetadata {
        downstream_discovery: decode_discovery("downstream_discovery", downstream_discovery, cx)?,
        upstream_discovery: decode_discovery("upstream_discovery", upstream_discovery, cx)?,
        downstream_propagation: downstream.is_some(),
        upstream_propagation: upstream.is_some(),
        skip_external_clusters: upstream.is_on(),
    })
}

/// Whether headers are read.
fn decode_discovery(
    field: &'static str,
    methods: Vec<DiscoveryMethod>,
    cx: &mut Context,
) -> Result<bool> {
    use discovery_method::MethodSpecifier;
    let methods =
        cx.each(
            field,
            methods,
            |DiscoveryMethod { method_specifier }, cx| match method_specifier {
                Some(MethodSpecifier::IstioHeaders(IstioHeaders { skip_external_clusters })) => {
                    cx.ignored("istio_headers.skip_external_clusters", &skip_external_clusters);
                    Ok(true)
                }
                Some(MethodSpecifier::WorkloadDiscovery(_)) => {
                    cx.ignore("workload_discovery");
                    Ok(false)
                }
                None => cx.fail("must have a method"),
            },
        )?;
    Ok(methods.contains(&true))
}

/// Whether headers are sent, and if so, whether external clusters are left out.
fn decode_propagation(
    field: &'static str,
    methods: Vec<PropagationMethod>,
    cx: &mut Context,
) -> Result<Option<bool>> {
    use propagation_method::MethodSpecifier;
    let methods =
        cx.each(
            field,
            methods,
            |PropagationMethod { method_specifier }, cx| match method_specifier {
                Some(MethodSpecifier::IstioHeaders(headers)) => Ok(headers.skip_external_clusters),
                None => cx.fail("must have a method"),
            },
        )?;
    Ok(methods.into_iter().reduce(|skip, other| skip || other))
}
