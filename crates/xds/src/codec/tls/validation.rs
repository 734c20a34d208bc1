//! How the peer's certificate is verified.

use pb::envoy::{
    config::core::v3::{DataSource, data_source},
    extensions::transport_sockets::tls::v3::{
        self as tls, CertificateValidationContext,
        certificate_validation_context::TrustChainVerification,
        common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
        subject_alt_name_matcher::SanType as PbSanType,
    },
    r#type::matcher::v3::StringMatcher,
};

use super::{decode_secret_source, encode_secret_source};
use crate::{
    CertificateValidation, SanType, SubjectAltNameMatcher, TrustedCa,
    codec::{
        context::{Context, Result, fields},
        matcher,
    },
};

/// Where Debian's trust bundle is; proxies of ours and Istio's image agree on it.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(super) fn encode(value: &CertificateValidation) -> ValidationContextType {
    let sans = value.match_subject_alt_names.iter();
    let mut context = CertificateValidationContext {
        match_typed_subject_alt_names: sans.map(encode_san).collect(),
        ..Default::default()
    };
    match &value.trusted_ca {
        TrustedCa::Secret(secret) => {
            let combined = CombinedCertificateValidationContext {
                default_validation_context: Some(context),
                validation_context_sds_secret_config: Some(encode_secret_source(secret)),
                ..Default::default()
            };
            return ValidationContextType::CombinedValidationContext(combined);
        }
        TrustedCa::System => {
            let file = data_source::Specifier::Filename(SYSTEM_BUNDLE.to_owned());
            context.trusted_ca = Some(DataSource { specifier: Some(file), ..Default::default() });
        }
        TrustedCa::Unverified => {
            context.trust_chain_verification = TrustChainVerification::AcceptUntrusted.into();
        }
    }
    ValidationContextType::ValidationContext(context)
}

#[expect(deprecated, reason = "a decoder names every kind")]
pub(super) fn decode(
    message: ValidationContextType,
    cx: &mut Context,
) -> Result<Option<CertificateValidation>> {
    match message {
        ValidationContextType::ValidationContext(context) => {
            cx.at("validation_context", |cx| decode_alone(context, cx)).map(Some)
        }
        ValidationContextType::ValidationContextSdsSecretConfig(secret) => {
            let secret = cx.at("validation_context_sds_secret_config", |cx| {
                decode_secret_source(secret, cx)
            })?;
            let trusted_ca = TrustedCa::Secret(secret);
            Ok(Some(CertificateValidation { trusted_ca, match_subject_alt_names: Vec::new() }))
        }
        ValidationContextType::CombinedValidationContext(combined) => {
            cx.at("combined_validation_context", |cx| decode_combined(combined, cx)).map(Some)
        }
        ValidationContextType::ValidationContextCertificateProvider(_)
        | ValidationContextType::ValidationContextCertificateProviderInstance(_) => {
            cx.fail_at("validation_context_type", "certificate providers are not supported")
        }
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
fn decode_combined(
    message: CombinedCertificateValidationContext,
    cx: &mut Context,
) -> Result<CertificateValidation> {
    fields! {
        cx, message => CombinedCertificateValidationContext {
            default_validation_context, validation_context_sds_secret_config,
        }
        rejected {
            validation_context_certificate_provider,
            validation_context_certificate_provider_instance,
        }
    }
    let secret = cx.required(
        "validation_context_sds_secret_config",
        validation_context_sds_secret_config,
        decode_secret_source,
    )?;
    let (own, sans) = cx.at("default_validation_context", |cx| {
        decode_context(default_validation_context.unwrap_or_default(), cx)
    })?;
    if own != Own::Nothing {
        return cx.fail_at(
            "default_validation_context",
            "must not name a trusted CA beside the secret that does",
        );
    }
    let trusted_ca = TrustedCa::Secret(secret);
    Ok(CertificateValidation { trusted_ca, match_subject_alt_names: sans })
}

fn decode_alone(
    message: CertificateValidationContext,
    cx: &mut Context,
) -> Result<CertificateValidation> {
    let (own, match_subject_alt_names) = decode_context(message, cx)?;
    let trusted_ca = match own {
        Own::System => TrustedCa::System,
        Own::Nothing | Own::AcceptUntrusted if !match_subject_alt_names.is_empty() => {
            return cx.fail_at(
                "match_typed_subject_alt_names",
                "means nothing without a trusted CA: anybody can put any name into a certificate",
            );
        }
        Own::Nothing | Own::AcceptUntrusted => TrustedCa::Unverified,
    };
    Ok(CertificateValidation { trusted_ca, match_subject_alt_names })
}

/// The trust anchors that a context itself names.
#[derive(Debug, PartialEq)]
enum Own {
    Nothing,
    System,
    AcceptUntrusted,
}

#[expect(deprecated, reason = "the old, untyped names mean names of any type")]
fn decode_context(
    message: CertificateValidationContext,
    cx: &mut Context,
) -> Result<(Own, Vec<SubjectAltNameMatcher>)> {
    fields! {
        cx, message => CertificateValidationContext {
            trusted_ca, system_root_certs, match_typed_subject_alt_names,
            match_subject_alt_names, trust_chain_verification,
        }
        ignored { watched_directory, suppress_client_ca_list }
        rejected {
            ca_certificate_provider_instance, verify_certificate_spki, verify_certificate_hash,
            crl, allow_expired_certificate, custom_validator_config, only_verify_leaf_cert_crl,
            max_verify_depth,
        }
        false_only { require_signed_certificate_timestamp }
    }
    let system = match trusted_ca.map(|DataSource { specifier, .. }| specifier) {
        None => system_root_certs.is_some(),
        Some(Some(data_source::Specifier::Filename(path))) if path == SYSTEM_BUNDLE => true,
        Some(_) => {
            return cx.fail_at(
                "trusted_ca",
                format!("must be the file {SYSTEM_BUNDLE}; other bundles come as secrets"),
            );
        }
    };
    let verification = cx.enumeration("trust_chain_verification", trust_chain_verification)?;
    let own = match verification {
        TrustChainVerification::AcceptUntrusted => Own::AcceptUntrusted,
        TrustChainVerification::VerifyTrustChain if system => Own::System,
        TrustChainVerification::VerifyTrustChain => Own::Nothing,
    };
    let mut sans =
        cx.each("match_typed_subject_alt_names", match_typed_subject_alt_names, decode_san)?;
    let untyped = cx.each("match_subject_alt_names", match_subject_alt_names, decode_untyped)?;
    sans.extend(untyped.into_iter().flatten());
    Ok((own, sans))
}

fn encode_san(value: &SubjectAltNameMatcher) -> tls::SubjectAltNameMatcher {
    let san_type = match value.san_type {
        SanType::Dns => PbSanType::Dns,
        SanType::Uri => PbSanType::Uri,
        SanType::IpAddress => PbSanType::IpAddress,
    };
    tls::SubjectAltNameMatcher {
        san_type: san_type.into(),
        matcher: Some(matcher::encode(&value.matcher)),
        ..Default::default()
    }
}

fn decode_san(
    message: tls::SubjectAltNameMatcher,
    cx: &mut Context,
) -> Result<SubjectAltNameMatcher> {
    fields! { cx, message => tls::SubjectAltNameMatcher { san_type, matcher } rejected { oid } }
    let san_type = match cx.enumeration("san_type", san_type)? {
        PbSanType::Dns => SanType::Dns,
        PbSanType::Uri => SanType::Uri,
        PbSanType::IpAddress => SanType::IpAddress,
        PbSanType::Unspecified | PbSanType::Email | PbSanType::OtherName => {
            return cx.fail_at("san_type", "must be DNS, URI or IP_ADDRESS");
        }
    };
    Ok(SubjectAltNameMatcher {
        san_type,
        matcher: cx.required("matcher", matcher, matcher::decode)?,
    })
}

fn decode_untyped(message: StringMatcher, cx: &mut Context) -> Result<[SubjectAltNameMatcher; 3]> {
    let matcher = matcher::decode(message, cx)?;
    Ok([SanType::Dns, SanType::Uri, SanType::IpAddress]
        .map(|san_type| SubjectAltNameMatcher { san_type, matcher: matcher.clone() }))
}
