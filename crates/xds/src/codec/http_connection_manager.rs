//! The HTTP connection manager.

mod client_cert;

use pb::envoy::{
    config::core::v3::{
        Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions,
        http_protocol_options::HeadersWithUnderscoresAction,
    },
    extensions::filters::network::http_connection_manager::v3::{
        self as hcm, Rds,
        http_connection_manager::{
            CodecType as PbCodecType, PathWithEscapedSlashesAction, RouteSpecifier as PbRoutes,
            ServerHeaderTransformation, StripPortMode, UpgradeConfig,
        },
    },
};

use super::{
    access_log,
    any::{self, duration},
    context::{Context, Flag, Result, fields},
    http_filter, route,
};
use crate::{CodecType, EscapedSlashes, HttpConnectionManager, RouteSpecifier, ServerHeader};

pub(super) fn encode(value: &HttpConnectionManager) -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager {
        stat_prefix: value.stat_prefix.clone(),
        codec_type: encode_codec(value.codec_type).into(),
        route_specifier: Some(encode_routes(&value.route_specifier)),
        http_filters: value.http_filters.iter().map(http_filter::encode).collect(),
        access_log: access_log::encode_all(&value.access_log),
        use_remote_address: Some(value.use_remote_address),
        xff_num_trusted_hops: value.xff_num_trusted_hops,
        forward_client_cert_details: client_cert::encode(value.forward_client_cert).into(),
        set_current_client_cert_details: client_cert::encode_details(value.client_cert_details),
        server_name: value.server_name.clone(),
        server_header_transformation: encode_server_header(value.server_header).into(),
        normalize_path: Some(value.normalize_path),
        merge_slashes: value.merge_slashes,
        path_with_escaped_slashes_action: encode_slashes(value.escaped_slashes).into(),
        generate_request_id: (!value.generate_request_id).then_some(false),
        preserve_external_request_id: value.preserve_external_request_id,
        stream_idle_timeout: value.stream_idle_timeout.map(duration),
        request_timeout: value.request_timeout.map(duration),
        request_headers_timeout: value.request_headers_timeout.map(duration),
        common_http_protocol_options: encode_common(value),
        max_request_headers_kb: value.max_request_headers_kb,
        http2_protocol_options: value.max_concurrent_streams.map(|streams| Http2ProtocolOptions {
            max_concurrent_streams: Some(streams),
            ..Default::default()
        }),
        http_protocol_options: value
            .accept_http_10
            .then(|| Http1ProtocolOptions { accept_http_10: true, ..Default::default() }),
        upgrade_configs: value
            .upgrade_types
            .iter()
            .map(|upgrade| encode_upgrade(upgrade))
            .collect(),
        proxy_100_continue: value.proxy_100_continue,
        strip_port_mode: value.strip_any_host_port.then_some(StripPortMode::StripAnyHostPort(true)),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
pub(super) fn decode(
    message: hcm::HttpConnectionManager,
    cx: &mut Context,
) -> Result<HttpConnectionManager> {
    fields! {
        cx, message => hcm::HttpConnectionManager {
            codec_type, stat_prefix, http_filters, common_http_protocol_options,
            http_protocol_options, http2_protocol_options, server_name,
            server_header_transformation, max_request_headers_kb, stream_idle_timeout,
            request_timeout, request_headers_timeout, access_log, use_remote_address,
            xff_num_trusted_hops, generate_request_id, preserve_external_request_id,
            forward_client_cert_details, set_current_client_cert_details, proxy_100_continue,
            upgrade_configs, normalize_path, merge_slashes, path_with_escaped_slashes_action,
            route_specifier, strip_port_mode,
        }
        ignored {
            add_user_agent, tracing, http1_safe_max_connection_duration, http3_protocol_options,
            scheme_header_transformation, stream_flush_timeout, drain_timeout,
            drain_timeout_jitter, delayed_close_timeout, access_log_flush_interval,
            flush_access_log_on_new_request, access_log_options, internal_address_config, via,
            always_set_request_id_in_response, represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
            request_id_extension, stream_error_on_invalid_http_message, strip_trailing_host_dot,
            proxy_status_config, append_x_forwarded_port, append_local_overload,
            add_proxy_protocol_connection_state,
        }
        rejected {
            original_ip_detection_extensions, early_header_mutation_extensions, skip_xff_append,
            forward_client_cert_matcher, local_reply_config, strip_matching_host_port,
            path_normalization_options, typed_header_validation_config, forward_proto_config,
        }
    }
    let common = common_http_protocol_options.unwrap_or_default();
    let common = cx.at("common_http_protocol_options", |cx| decode_common(common, cx))?;
    let upgrades = cx.each("upgrade_configs", upgrade_configs, decode_upgrade)?;
    Ok(HttpConnectionManager {
        stat_prefix,
        codec_type: decode_codec(codec_type, cx)?,
        route_specifier: decode_routes(route_specifier, cx)?,
        http_filters: http_filter::decode_all(http_filters, cx)?,
        access_log: access_log::decode_all("access_log", access_log, cx)?,
        use_remote_address: use_remote_address.is_on(),
        xff_num_trusted_hops,
        forward_client_cert: client_cert::decode(forward_client_cert_details, cx)?,
        client_cert_details: client_cert::decode_details(set_current_client_cert_details, cx)?,
        server_name,
        server_header: decode_server_header(server_header_transformation, cx)?,
        normalize_path: normalize_path.is_on(),
        merge_slashes,
        escaped_slashes: decode_slashes(path_with_escaped_slashes_action, cx)?,
        generate_request_id: generate_request_id.unwrap_or(true),
        preserve_external_request_id,
        stream_idle_timeout: cx.duration("stream_idle_timeout", stream_idle_timeout)?,
        request_timeout: cx.duration("request_timeout", request_timeout)?,
        request_headers_timeout: cx.duration("request_headers_timeout", request_headers_timeout)?,
        idle_timeout: common.idle_timeout,
        max_connection_duration: common.max_connection_duration,
        max_requests_per_connection: common.max_requests_per_connection,
        max_request_headers_kb,
        max_concurrent_streams: decode_http2(http2_protocol_options, cx)?,
        upgrade_types: upgrades.into_iter().flatten().collect(),
        proxy_100_continue,
        accept_http_10: decode_http1(http_protocol_options, cx)?,
        strip_any_host_port: strip_port_mode == Some(StripPortMode::StripAnyHostPort(true)),
    })
}

fn encode_codec(value: CodecType) -> PbCodecType {
    match value {
        CodecType::Auto => PbCodecType::Auto,
        CodecType::Http1 => PbCodecType::Http1,
        CodecType::Http2 => PbCodecType::Http2,
    }
}

fn decode_codec(value: i32, cx: &mut Context) -> Result<CodecType> {
    match cx.enumeration("codec_type", value)? {
        PbCodecType::Auto => Ok(CodecType::Auto),
        PbCodecType::Http1 => Ok(CodecType::Http1),
        PbCodecType::Http2 => Ok(CodecType::Http2),
        PbCodecType::Http3 => cx.fail_at("codec_type", "HTTP3 is not supported"),
    }
}

fn encode_routes(value: &RouteSpecifier) -> PbRoutes {
    match value {
        RouteSpecifier::Rds(name) => {
            PbRoutes::Rds(Rds { config_source: Some(any::ads()), route_config_name: name.clone() })
        }
        RouteSpecifier::Inline(routes) => PbRoutes::RouteConfig(route::encode(routes)),
    }
}

fn decode_routes(value: Option<PbRoutes>, cx: &mut Context) -> Result<RouteSpecifier> {
    match value {
        Some(PbRoutes::Rds(Rds { config_source, route_config_name })) => cx.at("rds", |cx| {
            cx.required("config_source", config_source, any::decode_ads)?;
            Ok(RouteSpecifier::Rds(route_config_name))
        }),
        Some(PbRoutes::RouteConfig(routes)) => {
            // Envoy validates clusters of inline routes unless told otherwise.
            let validate = routes.validate_clusters.or(Some(true));
            let routes = pb::envoy::config::route::v3::RouteConfiguration {
                validate_clusters: validate,
                ..routes
            };
            let routes = cx.at("route_config", |cx| route::decode(routes, cx))?;
            Ok(RouteSpecifier::Inline(Box::new(routes)))
        }
        Some(PbRoutes::ScopedRoutes(_)) => cx.fail_at("scoped_routes", "is not supported"),
        None => cx.fail_at("route_specifier", "must be set"),
    }
}

fn encode_server_header(value: ServerHeader) -> ServerHeaderTransformation {
    match value {
        ServerHeader::Overwrite => ServerHeaderTransformation::Overwrite,
        ServerHeader::AppendIfAbsent => ServerHeaderTransformation::AppendIfAbsent,
        ServerHeader::PassThrough => ServerHeaderTransformation::PassThrough,
    }
}

fn decode_server_header(value: i32, cx: &mut Context) -> Result<ServerHeader> {
    Ok(match cx.enumeration("server_header_transformation", value)? {
        ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
        ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
        ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
    })
}

fn encode_slashes(value: EscapedSlashes) -> PathWithEscapedSlashesAction {
    match value {
        EscapedSlashes::Keep => PathWithEscapedSlashesAction::KeepUnchanged,
        EscapedSlashes::Reject => PathWithEscapedSlashesAction::RejectRequest,
        EscapedSlashes::UnescapeAndRedirect => PathWithEscapedSlashesAction::UnescapeAndRedirect,
        EscapedSlashes::UnescapeAndForward => PathWithEscapedSlashesAction::UnescapeAndForward,
    }
}

fn decode_slashes(value: i32, cx: &mut Context) -> Result<EscapedSlashes> {
    Ok(match cx.enumeration("path_with_escaped_slashes_action", value)? {
        PathWithEscapedSlashesAction::ImplementationSpecificDefault
        | PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
        PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    })
}

fn encode_upgrade(upgrade_type: &str) -> UpgradeConfig {
    UpgradeConfig { upgrade_type: upgrade_type.to_owned(), ..Default::default() }
}

/// None: the upgrade is off.
fn decode_upgrade(message: UpgradeConfig, cx: &mut Context) -> Result<Option<String>> {
    fields! {
        cx, message => UpgradeConfig { upgrade_type, enabled }
        rejected { filters }
    }
    if enabled == Some(false) {
        cx.ignore("enabled");
        return Ok(None);
    }
    Ok(Some(upgrade_type))
}

/// What the manager takes from the options that all HTTP versions share.
struct Common {
    idle_timeout: Option<std::time::Duration>,
    max_connection_duration: Option<std::time::Duration>,
    max_requests_per_connection: Option<u32>,
}

fn encode_common(value: &HttpConnectionManager) -> Option<HttpProtocolOptions> {
    let options = HttpProtocolOptions {
        idle_timeout: value.idle_timeout.map(duration),
        max_connection_duration: value.max_connection_duration.map(duration),
        max_requests_per_connection: value.max_requests_per_connection,
        ..Default::default()
    };
    (options != HttpProtocolOptions::default()).then_some(options)
}

fn decode_common(message: HttpProtocolOptions, cx: &mut Context) -> Result<Common> {
    fields! {
        cx, message => HttpProtocolOptions {
            idle_timeout, max_connection_duration, max_requests_per_connection,
            headers_with_underscores_action,
        }
        ignored { max_connection_duration_jitter, max_headers_count, max_response_headers_kb }
        rejected { max_stream_duration }
    }
    if headers_with_underscores_action != i32::from(HeadersWithUnderscoresAction::Allow) {
        return cx.fail_at("headers_with_underscores_action", "only ALLOW is supported");
    }
    Ok(Common {
        idle_timeout: cx.duration("idle_timeout", idle_timeout)?,
        max_connection_duration: cx.duration("max_connection_duration", max_connection_duration)?,
        max_requests_per_connection,
    })
}

/// Whether HTTP/1.0 is taken.
#[expect(deprecated, reason = "a decoder names every field")]
fn decode_http1(message: Option<Http1ProtocolOptions>, cx: &mut Context) -> Result<bool> {
    let message = message.unwrap_or_default();
    cx.at("http_protocol_options", |cx| {
        fields! {
            cx, message => Http1ProtocolOptions { accept_http_10 }
            ignored {
                allow_absolute_url, header_key_format, enable_trailers, allow_chunked_length,
                override_stream_error_on_invalid_http_message, send_fully_qualified_url,
                use_balsa_parser, allow_custom_methods, ignore_http_11_upgrade,
            }
            rejected { default_host_for_http_10 }
        }
        Ok(accept_http_10)
    })
}

/// How many streams a client may open.
fn decode_http2(message: Option<Http2ProtocolOptions>, cx: &mut Context) -> Result<Option<u32>> {
    let message = message.unwrap_or_default();
    cx.at("http2_protocol_options", |cx| {
        let (streams, keepalive) = super::upstream_http::decode_http2(message, cx)?;
        cx.ignored("connection_keepalive", &keepalive);
        Ok(streams)
    })
}
