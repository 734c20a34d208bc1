//! The TLS that a gateway's server ends: certificates from Secrets or files, versions, cipher
//! suites, and what is asked of clients.

use config::networking::{ServerTlsMode, ServerTlsSettings, TlsProtocol};
use xds::{
    CertificateValidation, DownstreamTls, SecretSource, TlsContext, TlsParams, TlsVersion,
    TrustedCa,
};

use super::credential;
use crate::{World, tls};

/// What is offered to clients: HTTP, whatever is inside.
const ALPN: [&str; 2] = ["h2", "http/1.1"];

/// The cipher suites that Envoy (BoringSSL) knows by name; another one would make it refuse the
/// whole listener, so others are left out, as Istio does.
pub(crate) const CIPHER_SUITES: [&str; 15] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

/// ISTIO_MUTUAL: the mesh's certificates, with the server's own versions and cipher suites.
pub(super) fn mesh(settings: &ServerTlsSettings, world: &World) -> DownstreamTls {
    let mut tls = tls::mesh_server(&world.trust_domains(), &ALPN);
    let own = params(settings);
    if !own.cipher_suites.is_empty() {
        tls.common.params.cipher_suites = own.cipher_suites;
    }
    tls.common.params.min_version = own.min_version;
    tls.common.params.max_version = own.max_version;
    tls
}

/// Whether clients are to be checked in ways that are not supported.
pub(super) fn has_unsupported_checks(settings: &ServerTlsSettings) -> bool {
    !settings.ca_crl.is_empty()
        || !settings.verify_certificate_spki.is_empty()
        || !settings.verify_certificate_hash.is_empty()
}

/// SIMPLE, MUTUAL and OPTIONAL_MUTUAL; none without a certificate, or without a CA for clients.
pub(super) fn terminated(settings: &ServerTlsSettings) -> Option<DownstreamTls> {
    let asks = matches!(settings.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let validation = if asks { Some(validation(settings)?) } else { None };
    Some(DownstreamTls {
        common: TlsContext {
            params: params(settings),
            certificates: certificates(settings)?,
            validation,
            alpn: tls::names(&ALPN),
        },
        require_client_certificate: settings.mode == ServerTlsMode::Mutual,
    })
}

fn params(settings: &ServerTlsSettings) -> TlsParams {
    let version = |version, default| match version {
        TlsProtocol::Auto => default,
        TlsProtocol::V1_0 => TlsVersion::V1_0,
        TlsProtocol::V1_1 => TlsVersion::V1_1,
        TlsProtocol::V1_2 => TlsVersion::V1_2,
        TlsProtocol::V1_3 => TlsVersion::V1_3,
    };
    let mut cipher_suites: Vec<String> = Vec::new();
    for name in &settings.cipher_suites {
        if CIPHER_SUITES.contains(&name.as_str()) && !cipher_suites.contains(name) {
            cipher_suites.push(name.clone());
        }
    }
    TlsParams {
        min_version: Some(version(settings.min_protocol_version, TlsVersion::V1_2)),
        max_version: Some(version(settings.max_protocol_version, TlsVersion::V1_3)),
        cipher_suites,
    }
}

/// The names of the Secrets in place of files; usually one.
fn credentials(settings: &ServerTlsSettings) -> Vec<&str> {
    match settings.credential_name.as_str() {
        "" => settings.credential_names.iter().map(String::as_str).collect(),
        name => vec![name],
    }
}

fn certificates(settings: &ServerTlsSettings) -> Option<Vec<SecretSource>> {
    let names = credentials(settings);
    if !names.is_empty() {
        return names.into_iter().map(credential::source).collect();
    }
    let pair = (settings.server_certificate.as_str(), settings.private_key.as_str());
    let pairs = settings.tls_certificates.iter();
    let pairs = pairs.map(|pair| (pair.server_certificate.as_str(), pair.private_key.as_str()));
    let complete = pairs.chain([pair]).filter(|(chain, key)| !chain.is_empty() && !key.is_empty());
    let files: Vec<SecretSource> = complete
        .map(|(chain, key)| SecretSource::agent(format!("file-cert:{chain}~{key}")))
        .collect();
    (!files.is_empty()).then_some(files)
}

fn validation(settings: &ServerTlsSettings) -> Option<CertificateValidation> {
    let credential = match settings.ca_cert_credential_name.as_str() {
        "" => credentials(settings).first().copied(),
        name => Some(name),
    };
    let files = settings.tls_certificates.iter().map(|pair| pair.ca_certificates.as_str());
    let mut files = [settings.ca_certificates.as_str()].into_iter().chain(files);
    let ca = match credential {
        Some(name) => credential::ca_source(name)?,
        None => {
            let file = files.find(|file| !file.is_empty())?;
            SecretSource::agent(format!("file-root:{file}"))
        }
    };
    Some(CertificateValidation {
        trusted_ca: TrustedCa::Secret(ca),
        match_subject_alt_names: settings
            .subject_alt_names
            .iter()
            .map(|name| tls::any_name(name))
            .collect(),
    })
}
