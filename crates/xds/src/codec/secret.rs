//! Secrets.

use pb::envoy::extensions::transport_sockets::tls::v3::{
    self as tls, CertificateValidationContext, TlsCertificate, secret::Type,
};

use super::{
    context::{Context, Result, fields},
    metadata,
};
use crate::{Secret, SecretKind};

pub(super) fn encode(value: &Secret) -> tls::Secret {
    let kind = match &value.kind {
        SecretKind::TlsCertificate { certificate_chain, private_key } => {
            Type::TlsCertificate(TlsCertificate {
                certificate_chain: Some(metadata::inline_bytes(certificate_chain)),
                private_key: Some(metadata::inline_bytes(private_key)),
                ..Default::default()
            })
        }
        SecretKind::ValidationContext { trusted_ca } => {
            Type::ValidationContext(CertificateValidationContext {
                trusted_ca: Some(metadata::inline_bytes(trusted_ca)),
                ..Default::default()
            })
        }
    };
    tls::Secret { name: value.name.clone(), r#type: Some(kind) }
}

pub(super) fn decode(message: tls::Secret, cx: &mut Context) -> Result<Secret> {
    let tls::Secret { name, r#type } = message;
    cx.named(&name);
    let kind = match r#type {
        Some(Type::TlsCertificate(certificate)) => {
            cx.at("tls_certificate", |cx| decode_certificate(certificate, cx))?
        }
        Some(Type::ValidationContext(context)) => {
            cx.at("validation_context", |cx| decode_context(context, cx))?
        }
        Some(Type::SessionTicketKeys(_)) => {
            return cx.fail_at("session_ticket_keys", "is not supported");
        }
        Some(Type::GenericSecret(_)) => return cx.fail_at("generic_secret", "is not supported"),
        None => return cx.fail("must hold a tls_certificate or a validation_context"),
    };
    Ok(Secret { name, kind })
}

fn decode_certificate(message: TlsCertificate, cx: &mut Context) -> Result<SecretKind> {
    fields! {
        cx, message => TlsCertificate { certificate_chain, private_key }
        ignored { watched_directory, ocsp_staple, signed_certificate_timestamp }
        rejected { pkcs12, private_key_provider, password, tls_params }
    }
    Ok(SecretKind::TlsCertificate {
        certificate_chain: cx.required(
            "certificate_chain",
            certificate_chain,
            metadata::decode_inline,
        )?,
        private_key: cx.required("private_key", private_key, metadata::decode_inline)?,
    })
}

/// A trust bundle. Who uses it says which names must match.
#[expect(deprecated, reason = "a decoder names every field")]
fn decode_context(message: CertificateValidationContext, cx: &mut Context) -> Result<SecretKind> {
    fields! {
        cx, message => CertificateValidationContext { trusted_ca }
        ignored { watched_directory, suppress_client_ca_list }
        rejected {
            ca_certificate_provider_instance, system_root_certs, verify_certificate_spki,
            verify_certificate_hash, match_typed_subject_alt_names, match_subject_alt_names, crl,
            allow_expired_certificate, trust_chain_verification, custom_validator_config,
            only_verify_leaf_cert_crl, max_verify_depth,
        }
        false_only { require_signed_certificate_timestamp }
    }
    let trusted_ca = cx.required("trusted_ca", trusted_ca, metadata::decode_inline)?;
    Ok(SecretKind::ValidationContext { trusted_ca })
}
