//! The mesh's mutual TLS on both sides: secrets from the agent, TLS 1.2 and 1.3, Istio's ALPN
//! names, and the names that a peer's certificate must have.

use xds::{
    CertificateValidation, DownstreamTls, SanType, SecretSource, StringMatcher,
    SubjectAltNameMatcher, TlsContext, TlsParams, TlsVersion, TrustedCa, UpstreamTls,
};

/// ALPN that a client's TLS offers for bytes it has not looked into.
const MESH: &str = "istio";
/// ALPN that starts the exchange of peer metadata on a connection.
pub(crate) const PEER_EXCHANGE: &str = "istio-peer-exchange";
/// What Istio's ALPN filter offers for HTTP over mesh TLS.
pub(crate) const MESH_HTTP_ALPN: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// What mesh TLS offers for bytes.
pub(crate) const MESH_TCP_ALPN: [&str; 2] = [PEER_EXCHANGE, MESH];
/// What the HTTP inspector finds in plaintext.
pub(crate) const PLAIN_HTTP_ALPN: [&str; 2] = ["http/1.1", "h2c"];

/// The cipher suites of mesh TLS 1.2.
const CIPHER_SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// All names by which a server of the mesh knows calls of the mesh.
pub(crate) fn mesh_alpn() -> Vec<String> {
    names(&[&MESH_TCP_ALPN[..], &MESH_HTTP_ALPN[..]].concat())
}

/// Owned copies of constant names.
pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn versions() -> TlsParams {
    TlsParams {
        min_version: Some(TlsVersion::V1_2),
        max_version: Some(TlsVersion::V1_3),
        cipher_suites: Vec::new(),
    }
}

/// Mesh TLS of a server: a client must show a certificate of one of the trust domains.
/// `alpn` is what is negotiated.
pub(crate) fn mesh_server(trust_domains: &[&str], alpn: &[&str]) -> DownstreamTls {
    let sans = trust_domains.iter().map(|domain| SubjectAltNameMatcher {
        san_type: SanType::Uri,
        matcher: StringMatcher::prefix(format!("spiffe://{domain}/")),
    });
    DownstreamTls {
        common: TlsContext {
            params: TlsParams { cipher_suites: names(&CIPHER_SUITES), ..versions() },
            certificates: vec![SecretSource::agent("default")],
            validation: Some(CertificateValidation {
                trusted_ca: TrustedCa::Secret(SecretSource::agent("ROOTCA")),
                match_subject_alt_names: sans.collect(),
            }),
            alpn: names(alpn),
        },
        require_client_certificate: true,
    }
}

/// Which ALPN names mesh TLS of a client offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAlpn {
    /// The cluster speaks HTTP/2.
    pub(crate) http2: bool,
    /// The proxy exchanges peer metadata.
    pub(crate) exchange: bool,
}

/// Mesh TLS of a client: the server must show one of `identities` (URIs); none: any of the mesh.
pub(crate) fn mesh_client(sni: &str, identities: &[String], alpn: ClientAlpn) -> UpstreamTls {
    let mut offered = Vec::new();
    if alpn.exchange {
        offered.push(PEER_EXCHANGE);
    }
    offered.push(MESH);
    if alpn.http2 {
        offered.push("h2");
    }
    let sans = identities.iter().map(|identity| SubjectAltNameMatcher {
        san_type: SanType::Uri,
        matcher: StringMatcher::exact(identity),
    });
    UpstreamTls {
        common: TlsContext {
            params: versions(),
            certificates: vec![SecretSource::agent("default")],
            validation: Some(CertificateValidation {
                trusted_ca: TrustedCa::Secret(SecretSource::agent("ROOTCA")),
                match_subject_alt_names: sans.collect(),
            }),
            alpn: names(&offered),
        },
        sni: sni.to_owned(),
    }
}

/// What TLS to a server outside of the mesh stands on.
#[derive(Clone, Debug)]
pub(crate) struct ClientSecrets {
    /// The client's own certificate.
    pub(crate) certificate: Option<SecretSource>,
    /// The CA of the server.
    pub(crate) ca: TrustedCa,
}

impl ClientSecrets {
    /// From files, which the agent serves under names that hold their paths.
    pub(crate) fn files(certificate: &str, private_key: &str, ca: &str) -> Self {
        let ca = match ca {
            "" | "system" => TrustedCa::System,
            path => TrustedCa::Secret(SecretSource::agent(format!("file-root:{path}"))),
        };
        let certificate = (!certificate.is_empty() && !private_key.is_empty())
            .then(|| SecretSource::agent(format!("file-cert:{certificate}~{private_key}")));
        Self { certificate, ca }
    }
}

/// TLS to a server outside of the mesh.
pub(crate) fn external_client(
    sni: &str,
    secrets: ClientSecrets,
    subject_alt_names: &[String],
    http2: bool,
) -> UpstreamTls {
    UpstreamTls {
        common: TlsContext {
            params: versions(),
            certificates: secrets.certificate.into_iter().collect(),
            validation: Some(CertificateValidation {
                trusted_ca: secrets.ca,
                match_subject_alt_names: subject_alt_names.iter().map(|n| any_name(n)).collect(),
            }),
            alpn: if http2 { names(&["h2", "http/1.1"]) } else { Vec::new() },
        },
        sni: sni.to_owned(),
    }
}

/// Matches a name of the kind that its form says.
pub(crate) fn any_name(name: &str) -> SubjectAltNameMatcher {
    let san_type = if name.contains("://") {
        SanType::Uri
    } else if name.parse::<std::net::IpAddr>().is_ok() {
        SanType::IpAddress
    } else {
        SanType::Dns
    };
    SubjectAltNameMatcher { san_type, matcher: StringMatcher::exact(name) }
}
