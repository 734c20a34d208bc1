//! TLS contexts of both sides.

mod validation;

use pb::envoy::{
    config::core::v3::{
        ApiConfigSource, ApiVersion, ConfigSource, GrpcService, TransportSocket,
        api_config_source::ApiType,
        config_source::ConfigSourceSpecifier,
        grpc_service::{EnvoyGrpc, TargetSpecifier},
        transport_socket,
    },
    extensions::transport_sockets::{
        raw_buffer::v3::RawBuffer,
        tls::v3::{
            CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, TlsParameters,
            UpstreamTlsContext, tls_parameters::TlsProtocol,
        },
    },
};

use super::{
    any,
    context::{Context, Result, fields},
};
use crate::{
    DownstreamTls, SecretServer, SecretSource, TlsContext, TlsParams, TlsVersion, UpstreamTls,
};

const TLS: &str = "envoy.transport_sockets.tls";
const RAW_BUFFER: &str = "envoy.transport_sockets.raw_buffer";

pub(super) fn encode_downstream(value: &DownstreamTls) -> TransportSocket {
    let context = DownstreamTlsContext {
        common_tls_context: Some(encode_common(&value.common)),
        require_client_certificate: Some(value.require_client_certificate),
        ..Default::default()
    };
    any::transport_socket(TLS, &context)
}

/// None: plaintext.
pub(super) fn decode_downstream(
    message: TransportSocket,
    cx: &mut Context,
) -> Result<Option<DownstreamTls>> {
    decode_socket(message, cx, |context: DownstreamTlsContext, cx| {
        fields! {
            cx, context => DownstreamTlsContext { common_tls_context, require_client_certificate }
            ignored {
                disable_stateful_session_resumption, session_timeout, ocsp_staple_policy,
                full_scan_certs_on_sni_mismatch, prefer_client_ciphers, session_ticket_keys_type,
            }
            rejected {}
            false_only { require_sni }
        }
        Ok(DownstreamTls {
            common: cx.required("common_tls_context", common_tls_context, decode_common)?,
            require_client_certificate: require_client_certificate.unwrap_or(false),
        })
    })
}

pub(super) fn encode_upstream(value: &UpstreamTls) -> TransportSocket {
    let context = UpstreamTlsContext {
        common_tls_context: Some(encode_common(&value.common)),
        sni: value.sni.clone(),
        ..Default::default()
    };
    any::transport_socket(TLS, &context)
}

/// Plaintext, where a transport socket must be named.
pub(super) fn raw_buffer() -> TransportSocket {
    any::transport_socket(RAW_BUFFER, &RawBuffer::default())
}

/// None: plaintext.
#[expect(deprecated, reason = "a decoder names every field")]
pub(super) fn decode_upstream(
    message: TransportSocket,
    cx: &mut Context,
) -> Result<Option<UpstreamTls>> {
    decode_socket(message, cx, |context: UpstreamTlsContext, cx| {
        fields! {
            cx, context => UpstreamTlsContext { common_tls_context, sni }
            ignored { allow_renegotiation, max_session_keys, enforce_rsa_key_usage }
            rejected { auto_host_sni, auto_sni_san_validation }
        }
        let common = cx.required("common_tls_context", common_tls_context, decode_common)?;
        Ok(UpstreamTls { common, sni })
    })
}

fn decode_socket<M: prost::Message + prost::Name + Default, T>(
    message: TransportSocket,
    cx: &mut Context,
    decode: impl FnOnce(M, &mut Context) -> Result<T>,
) -> Result<Option<T>> {
    let TransportSocket { name, config_type } = message;
    match config_type {
        None if name == RAW_BUFFER => Ok(None),
        None => cx.fail_at("typed_config", "must be set"),
        Some(transport_socket::ConfigType::TypedConfig(any)) => cx.at("typed_config", |cx| {
            if any::is::<RawBuffer>(&any) {
                Ok(None)
            } else if any::is::<M>(&any) {
                decode(cx.open(&any)?, cx).map(Some)
            } else {
                cx.fail(format!("transport socket {} is not supported here", any.type_url))
            }
        }),
    }
}

fn encode_common(value: &TlsContext) -> CommonTlsContext {
    let params = &value.params;
    CommonTlsContext {
        tls_params: (*params != TlsParams::default()).then(|| encode_params(params)),
        tls_certificate_sds_secret_configs: value
            .certificates
            .iter()
            .map(encode_secret_source)
            .collect(),
        alpn_protocols: value.alpn.clone(),
        validation_context_type: value.validation.as_ref().map(validation::encode),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
fn decode_common(message: CommonTlsContext, cx: &mut Context) -> Result<TlsContext> {
    fields! {
        cx, message => CommonTlsContext {
            tls_params, tls_certificate_sds_secret_configs, alpn_protocols,
            validation_context_type,
        }
        ignored { key_log }
        rejected {
            tls_certificates, tls_certificate_provider_instance, custom_tls_certificate_selector,
            tls_certificate_certificate_provider, tls_certificate_certificate_provider_instance,
            custom_handshaker,
        }
    }
    Ok(TlsContext {
        params: cx.optional("tls_params", tls_params, decode_params)?.unwrap_or_default(),
        certificates: cx.each(
            "tls_certificate_sds_secret_configs",
            tls_certificate_sds_secret_configs,
            decode_secret_source,
        )?,
        validation: match validation_context_type {
            Some(context) => validation::decode(context, cx)?,
            None => None,
        },
        alpn: alpn_protocols,
    })
}

fn encode_params(value: &TlsParams) -> TlsParameters {
    let version = |version: Option<TlsVersion>| match version {
        None => TlsProtocol::TlsAuto,
        Some(TlsVersion::V1_0) => TlsProtocol::TlSv10,
        Some(TlsVersion::V1_1) => TlsProtocol::TlSv11,
        Some(TlsVersion::V1_2) => TlsProtocol::TlSv12,
        Some(TlsVersion::V1_3) => TlsProtocol::TlSv13,
    };
    TlsParameters {
        tls_minimum_protocol_version: version(value.min_version).into(),
        tls_maximum_protocol_version: version(value.max_version).into(),
        cipher_suites: value.cipher_suites.clone(),
        ..Default::default()
    }
}

fn decode_params(message: TlsParameters, cx: &mut Context) -> Result<TlsParams> {
    fields! {
        cx, message => TlsParameters {
            tls_minimum_protocol_version, tls_maximum_protocol_version, cipher_suites,
        }
        ignored { ecdh_curves, signature_algorithms }
        rejected { compliance_policies }
    }
    let mut version = |field, number| {
        Ok(match cx.enumeration(field, number)? {
            TlsProtocol::TlsAuto => None,
            TlsProtocol::TlSv10 => Some(TlsVersion::V1_0),
            TlsProtocol::TlSv11 => Some(TlsVersion::V1_1),
            TlsProtocol::TlSv12 => Some(TlsVersion::V1_2),
            TlsProtocol::TlSv13 => Some(TlsVersion::V1_3),
        })
    };
    Ok(TlsParams {
        min_version: version("tls_minimum_protocol_version", tls_minimum_protocol_version)?,
        max_version: version("tls_maximum_protocol_version", tls_maximum_protocol_version)?,
        cipher_suites,
    })
}

fn encode_secret_source(value: &SecretSource) -> SdsSecretConfig {
    let source = match &value.server {
        SecretServer::Ads => any::ads_for_credentials(),
        SecretServer::Cluster(cluster) => grpc_source(cluster),
    };
    SdsSecretConfig { name: value.name.clone(), sds_config: Some(source) }
}

/// A gRPC service that serves secrets, asked as Istio's proxies ask their agent.
fn grpc_source(cluster: &str) -> ConfigSource {
    let grpc = EnvoyGrpc { cluster_name: cluster.to_owned(), ..Default::default() };
    let service = GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(grpc)),
        ..Default::default()
    };
    let api = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        set_node_on_first_message_only: true,
        grpc_services: vec![service],
        ..Default::default()
    };
    ConfigSource {
        initial_fetch_timeout: Some(prost_types::Duration::default()),
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(api)),
        ..Default::default()
    }
}

fn decode_secret_source(message: SdsSecretConfig, cx: &mut Context) -> Result<SecretSource> {
    let SdsSecretConfig { name, sds_config } = message;
    let server = cx.required("sds_config", sds_config, |source, cx| {
        match any::decode_source(source, cx)? {
            ConfigSourceSpecifier::Ads(_) => Ok(SecretServer::Ads),
            ConfigSourceSpecifier::ApiConfigSource(api) => {
                let cluster = cx.at("api_config_source", |cx| decode_api_source(api, cx))?;
                Ok(SecretServer::Cluster(cluster))
            }
            _ => cx.fail("must be ads or a gRPC api_config_source"),
        }
    })?;
    Ok(SecretSource { name, server })
}

/// The cluster of the only service.
fn decode_api_source(message: ApiConfigSource, cx: &mut Context) -> Result<String> {
    fields! {
        cx, message => ApiConfigSource { api_type, transport_api_version, grpc_services }
        ignored { refresh_delay, request_timeout, rate_limit_settings, config_validators }
        rejected { cluster_names }
        false_only {}
        silent { set_node_on_first_message_only }
    }
    if !matches!(cx.enumeration("api_type", api_type)?, ApiType::Grpc | ApiType::DeltaGrpc) {
        return cx.fail_at("api_type", "must be GRPC or DELTA_GRPC");
    }
    if transport_api_version != i32::from(ApiVersion::V3) {
        return cx.fail_at("transport_api_version", "must be V3");
    }
    let mut clusters = cx.each("grpc_services", grpc_services, |service, cx| {
        fields! {
            cx, service => GrpcService { target_specifier }
            ignored { timeout, initial_metadata, retry_policy }
        }
        match target_specifier {
            Some(TargetSpecifier::EnvoyGrpc(grpc)) => cx.at("envoy_grpc", |cx| {
                fields! {
                    cx, grpc => EnvoyGrpc { cluster_name }
                    ignored {
                        authority, retry_policy, max_receive_message_length,
                        skip_envoy_headers,
                    }
                }
                Ok(cluster_name)
            }),
            _ => cx.fail("must be envoy_grpc"),
        }
    })?;
    match (clusters.pop(), clusters.is_empty()) {
        (Some(cluster), true) => Ok(cluster),
        _ => cx.fail_at("grpc_services", "must have exactly one element"),
    }
}
