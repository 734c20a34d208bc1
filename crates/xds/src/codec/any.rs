//! `Any`s, durations and configuration sources: what every part of the codec needs to write.

use std::time::Duration;

use pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, TransportSocket, config_source,
    transport_socket,
};
use prost::{Message, Name};

use super::context::{Context, Result, fields};

/// Wraps a message.
pub(super) fn pack<M: Message + Name>(message: &M) -> pb::Any {
    pb::Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// The full name of the type inside.
pub(super) fn type_name(any: &pb::Any) -> &str {
    any.type_url.rsplit('/').next().unwrap_or_default()
}

/// Whether `M` is inside.
pub(super) fn is<M: Name>(any: &pb::Any) -> bool {
    type_name(any) == M::full_name()
}

/// A duration; one of more than 2⁶³ seconds becomes that.
pub(super) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// The aggregated stream, waited for without a limit, as Istio does.
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        initial_fetch_timeout: Some(prost_types::Duration::default()),
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(
            AggregatedConfigSource::default(),
        )),
        ..Default::default()
    }
}

/// The aggregated stream, waited for as long as a proxy waits by itself: a credential that does not
/// exist must not hold up the rest of a listener for ever. Istio writes it so too.
pub(super) fn ads_for_credentials() -> ConfigSource {
    ConfigSource { initial_fetch_timeout: None, ..ads() }
}

/// A source that must be the aggregated stream. How long a proxy waits for it is its own affair.
pub(super) fn decode_ads(source: ConfigSource, cx: &mut Context) -> Result<()> {
    use config_source::ConfigSourceSpecifier as Specifier;
    match decode_source(source, cx)? {
        Specifier::Ads(AggregatedConfigSource {}) | Specifier::Self_(_) => Ok(()),
        _ => cx.fail("must be ads: other sources are not supported here"),
    }
}

/// The specifier of a source of the v3 API.
pub(super) fn decode_source(
    source: ConfigSource,
    cx: &mut Context,
) -> Result<config_source::ConfigSourceSpecifier> {
    fields! {
        cx, source => ConfigSource {
            initial_fetch_timeout, resource_api_version, config_source_specifier,
        }
        rejected { authorities }
    }
    // Unset has meant v3 since v2 is gone.
    if resource_api_version != 0 && resource_api_version != i32::from(ApiVersion::V3) {
        return cx.fail_at("resource_api_version", "must be V3");
    }
    cx.duration("initial_fetch_timeout", initial_fetch_timeout)?;
    match config_source_specifier {
        Some(specifier) => Ok(specifier),
        None => cx.fail("must say where the configuration comes from, such as ads"),
    }
}

/// A transport socket.
pub(super) fn transport_socket<M: Message + Name>(name: &str, message: &M) -> TransportSocket {
    TransportSocket {
        name: name.to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack(message))),
    }
}
