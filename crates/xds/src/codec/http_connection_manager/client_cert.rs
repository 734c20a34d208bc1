//! What happens to `x-forwarded-client-cert`.

use pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    ForwardClientCertDetails, SetCurrentClientCertDetails,
};

use crate::{
    ClientCertDetails, ForwardClientCert,
    codec::context::{Context, Flag, Result, fields},
};

pub(super) fn encode(value: ForwardClientCert) -> ForwardClientCertDetails {
    match value {
        ForwardClientCert::Sanitize => ForwardClientCertDetails::Sanitize,
        ForwardClientCert::ForwardOnly => ForwardClientCertDetails::ForwardOnly,
        ForwardClientCert::AppendForward => ForwardClientCertDetails::AppendForward,
        ForwardClientCert::SanitizeSet => ForwardClientCertDetails::SanitizeSet,
        ForwardClientCert::AlwaysForwardOnly => ForwardClientCertDetails::AlwaysForwardOnly,
    }
}

pub(super) fn decode(value: i32, cx: &mut Context) -> Result<ForwardClientCert> {
    Ok(match cx.enumeration("forward_client_cert_details", value)? {
        ForwardClientCertDetails::Sanitize => ForwardClientCert::Sanitize,
        ForwardClientCertDetails::ForwardOnly => ForwardClientCert::ForwardOnly,
        ForwardClientCertDetails::AppendForward => ForwardClientCert::AppendForward,
        ForwardClientCertDetails::SanitizeSet => ForwardClientCert::SanitizeSet,
        ForwardClientCertDetails::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
    })
}

pub(super) fn encode_details(value: ClientCertDetails) -> Option<SetCurrentClientCertDetails> {
    let ClientCertDetails { subject, cert, chain, dns, uri } = value;
    (value != ClientCertDetails::default()).then(|| SetCurrentClientCertDetails {
        subject: subject.then_some(true),
        cert,
        chain,
        dns,
        uri,
        ..Default::default()
    })
}

pub(super) fn decode_details(
    message: Option<SetCurrentClientCertDetails>,
    cx: &mut Context,
) -> Result<ClientCertDetails> {
    cx.at("set_current_client_cert_details", |cx| {
        fields! {
            cx, message.unwrap_or_default() => SetCurrentClientCertDetails {
                subject, cert, chain, dns, uri,
            }
            ignored { issuer }
            rejected { format }
        }
        Ok(ClientCertDetails { subject: subject.is_on(), cert, chain, dns, uri })
    })
}
