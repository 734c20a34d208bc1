//! Gateway: the ports and hosts that a gateway proxy serves.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `networking.istio.io` Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// What it serves.
    pub servers: Vec<Server>,
    /// Labels of the gateway proxies, in any namespace. Empty: every gateway proxy.
    pub selector: BTreeMap<String, String>,
}

/// One port of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// The port.
    pub port: Option<Port>,
    /// Address or Unix socket to listen on; empty: all.
    pub bind: String,
    /// `[namespace/]host`; namespace `*` (when absent) or `.` for the gateway's own.
    pub hosts: Vec<String>,
    /// TLS; required for HTTPS and TLS.
    pub tls: Option<ServerTlsSettings>,
    /// Not implemented in Istio either: refused when validated.
    pub default_endpoint: String,
    /// Prefix of statistics.
    pub name: String,
}

/// A port with its protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// The gateway's Service port.
    pub number: u16,
    /// HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS.
    pub protocol: String,
    /// A name, unique in the gateway.
    pub name: String,
    /// Deprecated.
    pub target_port: Option<u16>,
}

/// TLS at a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTlsSettings {
    /// Answer plaintext HTTP with 301 to https.
    pub https_redirect: bool,
    /// What is done.
    pub mode: ServerTlsMode,
    /// File of the certificate.
    pub server_certificate: String,
    /// File of the key.
    pub private_key: String,
    /// File of the CA for clients.
    pub ca_certificates: String,
    /// File of a revocation list.
    pub ca_crl: String,
    /// Secret in place of the files.
    pub credential_name: String,
    /// Up to two Secrets, RSA and ECDSA.
    pub credential_names: Vec<String>,
    /// Secret with the CA for clients.
    pub ca_cert_credential_name: String,
    /// Pairs of files in place of one pair.
    pub tls_certificates: Vec<TlsCertificate>,
    /// Names that a client's certificate must have one of.
    pub subject_alt_names: Vec<String>,
    /// Base64 SHA-256 of acceptable public keys.
    pub verify_certificate_spki: Vec<String>,
    /// Hex SHA-256 of acceptable certificates.
    pub verify_certificate_hash: Vec<String>,
    /// Do not verify clients.
    pub insecure_skip_verify: Option<bool>,
    /// Absent: TLS 1.2.
    pub min_protocol_version: TlsProtocol,
    /// Absent: TLS 1.3.
    pub max_protocol_version: TlsProtocol,
    /// Cipher suites of TLS 1.2; empty: the proxy's.
    pub cipher_suites: Vec<String>,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    /// File of the certificate.
    pub server_certificate: String,
    /// File of the key.
    pub private_key: String,
    /// File of the CA for clients.
    pub ca_certificates: String,
}

/// What TLS a gateway does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// Route by SNI without terminating.
    #[default]
    Passthrough,
    /// Terminate.
    Simple,
    /// Terminate and ask for a client's certificate.
    Mutual,
    /// Route by an SNI that names the cluster.
    AutoPassthrough,
    /// Terminate with the mesh's identities.
    IstioMutual,
    /// Terminate; verify a client's certificate if there is one.
    OptionalMutual,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub enum TlsProtocol {
    /// The default of the field.
    #[default]
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// TLS 1.0.
    #[serde(rename = "TLSV1_0")]
    V1_0,
    /// TLS 1.1.
    #[serde(rename = "TLSV1_1")]
    V1_1,
    /// TLS 1.2.
    #[serde(rename = "TLSV1_2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "TLSV1_3")]
    V1_3,
}
