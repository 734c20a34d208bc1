//! TLS on either side (`envoy.extensions.transport_sockets.tls.v3`).

use crate::StringMatcher;

/// TLS towards clients (`DownstreamTlsContext`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DownstreamTls {
    /// What both sides have in common.
    pub common: TlsContext,
    /// Refuse clients without a certificate.
    pub require_client_certificate: bool,
}

/// TLS towards upstreams (`UpstreamTlsContext`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// What both sides have in common.
    pub common: TlsContext,
    /// The server name to ask for; empty: none.
    pub sni: String,
}

/// What TLS contexts of both sides have in common (`CommonTlsContext`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsContext {
    /// Protocol versions and ciphers.
    pub params: TlsParams,
    /// Own certificates, by secret.
    pub certificates: Vec<SecretSource>,
    /// How the peer is verified; none: it is not.
    pub validation: Option<CertificateValidation>,
    /// ALPN names, in order of preference.
    pub alpn: Vec<String>,
}

/// Protocol versions and ciphers (`TlsParameters`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsParams {
    /// The lowest version; none: Envoy's default, 1.2.
    pub min_version: Option<TlsVersion>,
    /// The highest version; none: 1.3.
    pub max_version: Option<TlsVersion>,
    /// OpenSSL names of cipher suites for TLS 1.2; empty: the default.
    pub cipher_suites: Vec<String>,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0
    V1_0,
    /// TLS 1.1
    V1_1,
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// A secret and who serves it (`SdsSecretConfig`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretSource {
    /// The secret's name, such as `default` or `ROOTCA`.
    pub name: String,
    /// Who serves it.
    pub server: SecretServer,
}

/// Who serves a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretServer {
    /// The control plane, on the aggregated stream.
    Ads,
    /// The gRPC service at this cluster, such as `sds-grpc` (the agent).
    Cluster(String),
}

impl SecretSource {
    /// A secret that the agent serves over its Unix socket.
    pub fn agent(name: impl Into<String>) -> Self {
        Self { name: name.into(), server: SecretServer::Cluster("sds-grpc".to_owned()) }
    }

    /// A secret that the control plane serves on the aggregated stream.
    pub fn ads(name: impl Into<String>) -> Self {
        Self { name: name.into(), server: SecretServer::Ads }
    }
}

/// How the peer's certificate is verified (`CertificateValidationContext`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateValidation {
    /// The trust anchors.
    pub trusted_ca: TrustedCa,
    /// One of the peer's alternative names must match one of these; empty: any name will do.
    pub match_subject_alt_names: Vec<SubjectAltNameMatcher>,
}

/// The trust anchors of a validation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TrustedCa {
    /// A secret with a trust bundle.
    Secret(SecretSource),
    /// The system's bundle.
    System,
    /// The peer must show a certificate, whoever signed it (`ACCEPT_UNTRUSTED` or no CA).
    Unverified,
}

/// Matches one kind of alternative name (`SubjectAltNameMatcher`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubjectAltNameMatcher {
    /// The kind of name.
    pub san_type: SanType,
    /// What it must match.
    pub matcher: StringMatcher,
}

/// The kind of an alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SanType {
    /// A DNS name.
    Dns,
    /// A URI, such as a SPIFFE name.
    Uri,
    /// An IP address.
    IpAddress,
}
