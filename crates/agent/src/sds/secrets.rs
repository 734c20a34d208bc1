//! Which secret a resource name means, as Istio's agent reads them: `default`, `ROOTCA`,
//! `file-cert:<chain>~<key>`, `file-root:<roots>` and `file-root:system`.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
};

use pb::{
    Any,
    envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret, TlsCertificate, secret,
        },
    },
};
use pki::{CertifiedIdentity, TrustBundle};
use prost::{Message as _, Name as _};
use thiserror::Error;

use crate::identity::MaterialReceiver;

/// The workload's own certificate and key.
pub(super) const WORKLOAD: &str = "default";
/// The roots of the mesh.
pub(super) const ROOTS: &str = "ROOTCA";
const FILE_CERTIFICATE: &str = "file-cert:";
const FILE_ROOTS: &str = "file-root:";
const SYSTEM: &str = "system";

/// Why a name gives no secret.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum SecretError {
    #[error(
        "unknown secret: the agent serves `default`, `ROOTCA`, `file-cert:CHAIN~KEY`, `file-root:FILE`"
    )]
    Unknown,
    #[error("`file-cert:` needs two paths separated by `~`")]
    FilePair,
    #[error("{path}: {why}")]
    File { path: String, why: String },
}

/// A secret as it goes out, with a version that tells contents apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) resource: Any,
    pub(crate) version: String,
}

/// Where secrets come from.
pub(crate) struct Secrets {
    material: MaterialReceiver,
}

impl Secrets {
    pub(crate) fn new(material: MaterialReceiver) -> Self {
        Self { material }
    }

    /// To be told when the workload's material changes.
    pub(crate) fn changes(&self) -> MaterialReceiver {
        self.material.clone()
    }

    /// Whether the name means files, which are looked at from time to time.
    pub(crate) fn is_file(name: &str) -> bool {
        name.starts_with(FILE_CERTIFICATE) || name.starts_with(FILE_ROOTS)
    }

    /// The secret of that name; none when it does not exist yet.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Ready>, SecretError> {
        let content = if name == WORKLOAD || name == ROOTS {
            let Some(material) = self.material.borrow().clone() else { return Ok(None) };
            if name == WORKLOAD {
                certificate(&material.identity.chain_pem(), &material.identity.key().to_pem())
            } else {
                roots(&material.roots)
            }
        } else if let Some(paths) = name.strip_prefix(FILE_CERTIFICATE) {
            let (chain, key) = paths.split_once('~').ok_or(SecretError::FilePair)?;
            let (chain_pem, key_pem) = (read(chain)?, read(key)?);
            // Half-written pairs must not reach the proxy.
            CertifiedIdentity::from_pem(&chain_pem, &key_pem).map_err(|why| bad(chain, &why))?;
            certificate(&chain_pem, &key_pem)
        } else if let Some(path) = name.strip_prefix(FILE_ROOTS) {
            roots(&file_roots(path)?)
        } else {
            return Err(SecretError::Unknown);
        };
        Ok(Some(ready(name, content)))
    }
}

fn file_roots(path: &str) -> Result<String, SecretError> {
    if path == SYSTEM {
        return Ok(TrustBundle::system().map_err(|why| bad(path, &why))?.to_pem());
    }
    let pem = read(path)?;
    TrustBundle::from_pem(&pem).map_err(|why| bad(path, &why))?;
    Ok(pem)
}

fn read(path: &str) -> Result<String, SecretError> {
    std::fs::read_to_string(Path::new(path)).map_err(|why| bad(path, &why))
}

fn bad(path: &str, why: &dyn std::fmt::Display) -> SecretError {
    SecretError::File { path: path.to_owned(), why: why.to_string() }
}

fn certificate(chain: &str, key: &str) -> secret::Type {
    secret::Type::TlsCertificate(TlsCertificate {
        certificate_chain: inline(chain),
        private_key: inline(key),
        ..TlsCertificate::default()
    })
}

fn roots(pem: &str) -> secret::Type {
    secret::Type::ValidationContext(CertificateValidationContext {
        trusted_ca: inline(pem),
        ..CertificateValidationContext::default()
    })
}

fn inline(text: &str) -> Option<DataSource> {
    let specifier = Some(Specifier::InlineBytes(text.as_bytes().to_vec()));
    Some(DataSource { specifier, ..DataSource::default() })
}

fn ready(name: &str, content: secret::Type) -> Ready {
    let secret = Secret { name: name.to_owned(), r#type: Some(content) };
    let value = secret.encode_to_vec();
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let version = format!("{:016x}", hasher.finish());
    Ready { resource: Any { type_url: Secret::type_url(), value }, version }
}
