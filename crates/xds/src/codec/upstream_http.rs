//! How HTTP is spoken upstream.

use pb::envoy::{
    config::core::v3::{
        self as core, Http1ProtocolOptions, Http2ProtocolOptions, KeepaliveSettings,
        UpstreamHttpProtocolOptions,
    },
    extensions::upstreams::http::v3::{
        HttpProtocolOptions,
        http_protocol_options::{
            AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
            explicit_http_config::ProtocolConfig,
        },
    },
};

use super::{
    any::duration,
    context::{Context, Result, fields},
};
use crate::{Http2Keepalive, UpstreamHttp, UpstreamHttpProtocol};

/// The key under which the options stand in a cluster.
pub(super) const KEY: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// None: the default, which is HTTP/1.1. What only HTTP/2 has is left out of HTTP/1.1.
pub(super) fn encode(value: &UpstreamHttp) -> Option<HttpProtocolOptions> {
    let http2 = Http2ProtocolOptions {
        max_concurrent_streams: value.max_concurrent_streams,
        connection_keepalive: value.keepalive.map(|keepalive| KeepaliveSettings {
            interval: Some(duration(keepalive.interval)),
            timeout: Some(duration(keepalive.timeout)),
            ..Default::default()
        }),
        ..Default::default()
    };
    let explicit = |protocol| ExplicitHttpConfig { protocol_config: Some(protocol) };
    let protocol = match value.protocol {
        UpstreamHttpProtocol::Http1 => UpstreamProtocolOptions::ExplicitHttpConfig(explicit(
            ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()),
        )),
        UpstreamHttpProtocol::Http2 => UpstreamProtocolOptions::ExplicitHttpConfig(explicit(
            ProtocolConfig::Http2ProtocolOptions(http2),
        )),
        UpstreamHttpProtocol::UseDownstream => {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(Http1ProtocolOptions::default()),
                http2_protocol_options: Some(http2),
                ..Default::default()
            })
        }
        UpstreamHttpProtocol::Auto => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(http2),
            ..Default::default()
        }),
    };
    let common = core::HttpProtocolOptions {
        idle_timeout: value.idle_timeout.map(duration),
        max_connection_duration: value.max_connection_duration.map(duration),
        max_requests_per_connection: value.max_requests_per_connection,
        ..Default::default()
    };
    let upstream = UpstreamHttpProtocolOptions {
        auto_sni: value.auto_sni,
        auto_san_validation: value.auto_san_validation,
        ..Default::default()
    };
    (*value != UpstreamHttp::default()).then(|| HttpProtocolOptions {
        common_http_protocol_options: Some(common).filter(|common| *common != Default::default()),
        upstream_http_protocol_options: Some(upstream)
            .filter(|upstream| *upstream != Default::default()),
        upstream_protocol_options: Some(protocol),
        ..Default::default()
    })
}

pub(super) fn decode(message: HttpProtocolOptions, cx: &mut Context) -> Result<UpstreamHttp> {
    fields! {
        cx, message => HttpProtocolOptions {
            common_http_protocol_options, upstream_http_protocol_options,
            upstream_protocol_options,
        }
        ignored { header_validation_config }
        rejected {
            http_filters, outlier_detection, request_mirror_policies, hash_policy, retry_policy,
        }
    }
    let mut http = decode_protocol(upstream_protocol_options, cx)?;
    cx.at("common_http_protocol_options", |cx| {
        fields! {
            cx, common_http_protocol_options.unwrap_or_default() => core::HttpProtocolOptions {
                idle_timeout, max_connection_duration, max_requests_per_connection,
            }
            ignored {
                max_connection_duration_jitter, max_headers_count, max_response_headers_kb,
                max_stream_duration, headers_with_underscores_action,
            }
        }
        http.idle_timeout = cx.duration("idle_timeout", idle_timeout)?;
        http.max_connection_duration =
            cx.duration("max_connection_duration", max_connection_duration)?;
        http.max_requests_per_connection = max_requests_per_connection;
        Ok(())
    })?;
    cx.at("upstream_http_protocol_options", |cx| {
        fields! {
            cx, upstream_http_protocol_options.unwrap_or_default() =>
                UpstreamHttpProtocolOptions { auto_sni, auto_san_validation }
            rejected { override_auto_sni_header }
        }
        http.auto_sni = auto_sni;
        http.auto_san_validation = auto_san_validation;
        Ok(())
    })?;
    Ok(http)
}

fn decode_protocol(
    message: Option<UpstreamProtocolOptions>,
    cx: &mut Context,
) -> Result<UpstreamHttp> {
    match message {
        None => cx.fail_at("upstream_protocol_options", "must be set"),
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) => {
            cx.at("explicit_http_config", |cx| decode_explicit(config, cx))
        }
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)) => {
            cx.at("use_downstream_protocol_config", |cx| {
                fields! {
                    cx, config => UseDownstreamHttpConfig {
                        http_protocol_options, http2_protocol_options,
                    }
                    rejected { http3_protocol_options }
                }
                decode_http1(http_protocol_options.unwrap_or_default(), cx)?;
                decode_with_http2(
                    UpstreamHttpProtocol::UseDownstream,
                    http2_protocol_options.unwrap_or_default(),
                    cx,
                )
            })
        }
        Some(UpstreamProtocolOptions::AutoConfig(config)) => cx.at("auto_config", |cx| {
            fields! {
                cx, config => AutoHttpConfig { http_protocol_options, http2_protocol_options }
                rejected { http3_protocol_options, alternate_protocols_cache_options }
            }
            decode_http1(http_protocol_options.unwrap_or_default(), cx)?;
            decode_with_http2(
                UpstreamHttpProtocol::Auto,
                http2_protocol_options.unwrap_or_default(),
                cx,
            )
        }),
    }
}

fn decode_explicit(message: ExplicitHttpConfig, cx: &mut Context) -> Result<UpstreamHttp> {
    let ExplicitHttpConfig { protocol_config } = message;
    match protocol_config {
        Some(ProtocolConfig::HttpProtocolOptions(http1)) => {
            decode_http1(http1, cx)?;
            Ok(UpstreamHttp::default())
        }
        Some(ProtocolConfig::Http2ProtocolOptions(http2)) => {
            decode_with_http2(UpstreamHttpProtocol::Http2, http2, cx)
        }
        Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
            cx.fail_at("http3_protocol_options", "is not supported")
        }
        None => cx.fail("must name a protocol"),
    }
}

fn decode_with_http2(
    protocol: UpstreamHttpProtocol,
    http2: Http2ProtocolOptions,
    cx: &mut Context,
) -> Result<UpstreamHttp> {
    let (max_concurrent_streams, keepalive) =
        cx.at("http2_protocol_options", |cx| decode_http2(http2, cx))?;
    Ok(UpstreamHttp { protocol, max_concurrent_streams, keepalive, ..Default::default() })
}

#[expect(deprecated, reason = "a decoder names every field")]
fn decode_http1(message: Http1ProtocolOptions, cx: &mut Context) -> Result<()> {
    cx.at("http_protocol_options", |cx| {
        fields! {
            cx, message => Http1ProtocolOptions {}
            ignored {
                allow_absolute_url, accept_http_10, default_host_for_http_10, header_key_format,
                enable_trailers, allow_chunked_length,
                override_stream_error_on_invalid_http_message, send_fully_qualified_url,
                use_balsa_parser, allow_custom_methods, ignore_http_11_upgrade,
            }
        }
        Ok(())
    })
}

/// How many streams may be open, and PING.
#[expect(deprecated, reason = "a decoder names every field")]
pub(super) fn decode_http2(
    message: Http2ProtocolOptions,
    cx: &mut Context,
) -> Result<(Option<u32>, Option<Http2Keepalive>)> {
    fields! {
        cx, message => Http2ProtocolOptions { max_concurrent_streams, connection_keepalive }
        ignored {
            hpack_table_size, initial_stream_window_size, initial_connection_window_size,
            allow_connect, allow_metadata, max_outbound_frames, max_outbound_control_frames,
            max_consecutive_inbound_frames_with_empty_payload,
            max_inbound_priority_frames_per_stream,
            max_inbound_window_update_frames_per_data_frame_sent,
            stream_error_on_invalid_http_messaging,
            override_stream_error_on_invalid_http_message, custom_settings_parameters,
            use_oghttp2_codec, max_metadata_size, enable_huffman_encoding,
            max_header_field_size_kb, disallow_obs_text, stream_reset_burst, stream_reset_rate,
        }
    }
    let keepalive = cx.optional("connection_keepalive", connection_keepalive, |settings, cx| {
        fields! {
            cx, settings => KeepaliveSettings { interval, timeout }
            ignored { interval_jitter, connection_idle_interval }
        }
        let interval = cx.duration("interval", interval)?;
        let timeout = cx.duration("timeout", timeout)?;
        let timeout = cx.required("timeout", timeout, |timeout, _| Ok(timeout))?;
        Ok(interval.map(|interval| Http2Keepalive { interval, timeout }))
    })?;
    Ok((max_concurrent_streams, keepalive.flatten()))
}
