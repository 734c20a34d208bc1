//! Filters' configurations on virtual hosts and routes (`typed_per_filter_config`).

use std::collections::BTreeMap;

use pb::envoy::{
    config::route::v3::FilterConfig,
    extensions::filters::http::{
        cors::v3 as cors, fault::v3::HttpFault as PbHttpFault, rbac::v3::RbacPerRoute,
    },
};

use super::fault;
use crate::{
    CorsPolicy, Opaque, PerFilterConfig,
    codec::{
        any::{is, pack},
        context::{Context, Result, fields},
        matcher, rbac,
    },
};

/// Configurations as they stand in a message.
type Messages = BTreeMap<String, pb::Any>;

pub(in crate::codec) fn encode(values: &BTreeMap<String, PerFilterConfig>) -> Messages {
    values.iter().map(|(name, config)| (name.clone(), encode_config(config))).collect()
}

pub(in crate::codec) fn decode(
    messages: Messages,
    cx: &mut Context,
) -> Result<BTreeMap<String, PerFilterConfig>> {
    cx.at("typed_per_filter_config", |cx| {
        let mut configs = BTreeMap::new();
        for (name, any) in messages {
            if let Some(config) = cx.key(&name, |cx| decode_config(any, cx))? {
                configs.insert(name, config);
            }
        }
        Ok(configs)
    })
}

fn encode_config(value: &PerFilterConfig) -> pb::Any {
    match value {
        PerFilterConfig::Fault(fault) => pack(&fault::encode(fault)),
        PerFilterConfig::Rbac(filter) => {
            pack(&RbacPerRoute { rbac: filter.as_ref().map(rbac::encode_http) })
        }
        PerFilterConfig::Cors(policy) => pack(&encode_cors(policy)),
        PerFilterConfig::Opaque(Opaque { type_url, value }) => {
            pb::Any { type_url: type_url.clone(), value: value.clone() }
        }
    }
}

/// None: one that is not known, and optional.
fn decode_config(any: pb::Any, cx: &mut Context) -> Result<Option<PerFilterConfig>> {
    if !is::<FilterConfig>(&any) {
        return decode_plain(any, cx).map(Some);
    }
    fields! {
        cx, cx.open(&any)? => FilterConfig { config, is_optional }
        rejected { disabled }
    }
    let config = cx.required("config", config, decode_plain)?;
    if is_optional && matches!(config, PerFilterConfig::Opaque(_)) {
        cx.ignore("config");
        return Ok(None);
    }
    Ok(Some(config))
}

fn decode_plain(any: pb::Any, cx: &mut Context) -> Result<PerFilterConfig> {
    Ok(if is::<PbHttpFault>(&any) {
        PerFilterConfig::Fault(fault::decode(cx.open(&any)?, cx)?)
    } else if is::<RbacPerRoute>(&any) {
        let RbacPerRoute { rbac } = cx.open(&any)?;
        PerFilterConfig::Rbac(cx.optional("rbac", rbac, rbac::decode_http)?)
    } else if is::<cors::CorsPolicy>(&any) {
        PerFilterConfig::Cors(decode_cors(cx.open(&any)?, cx)?)
    } else {
        let pb::Any { type_url, value } = any;
        PerFilterConfig::Opaque(Opaque { type_url, value })
    })
}

fn encode_cors(value: &CorsPolicy) -> cors::CorsPolicy {
    cors::CorsPolicy {
        allow_origin_string_match: value.allow_origin.iter().map(matcher::encode).collect(),
        allow_methods: value.allow_methods.clone(),
        allow_headers: value.allow_headers.clone(),
        expose_headers: value.expose_headers.clone(),
        max_age: value.max_age.clone(),
        allow_credentials: value.allow_credentials,
        forward_not_matching_preflights: value.forward_not_matching_preflights,
        ..Default::default()
    }
}

fn decode_cors(message: cors::CorsPolicy, cx: &mut Context) -> Result<CorsPolicy> {
    fields! {
        cx, message => cors::CorsPolicy {
            allow_origin_string_match, allow_methods, allow_headers, expose_headers, max_age,
            allow_credentials, filter_enabled, forward_not_matching_preflights,
        }
        ignored { shadow_enabled, allow_private_network_access }
    }
    let enabled =
        cx.optional("filter_enabled", filter_enabled, matcher::decode_runtime_fraction)?;
    if enabled.is_some_and(|fraction| fraction.millionths() < 1_000_000) {
        return cx.fail_at("filter_enabled", "less than 100 % is not supported");
    }
    Ok(CorsPolicy {
        allow_origin: cx.each(
            "allow_origin_string_match",
            allow_origin_string_match,
            matcher::decode,
        )?,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        forward_not_matching_preflights,
    })
}
