//! The client of the mesh's CA: a fresh key and CSR for each certificate
//! (`istio.v1.auth.IstioCertificateService/CreateCertificate`).

use std::time::Duration;

use pb::istio::v1::auth::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use pki::{
    CertifiedIdentity, KeyKind, PrivateKey, SpiffeId, TrustBundle, chain_from_pem, make_csr,
};
use thiserror::Error;
use tonic::Request;

use super::{Material, rotation::Issuer};
use crate::{
    discovery::{Discovery, DiscoveryError, status_text},
    metrics::Metrics,
};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no certificate.
#[derive(Debug, Error)]
pub(crate) enum CaError {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error("the CA at {address} refused: {why}")]
    Refused { address: String, why: String },
    #[error("the CA's answer has {0} certificates: a chain and its root were expected")]
    ShortChain(usize),
    #[error("the CA's answer: {0}")]
    Certificate(#[from] pki::CertificateError),
    #[error("key: {0}")]
    Key(#[from] pki::KeyError),
    #[error("certificate request: {0}")]
    Csr(#[from] pki::CsrError),
}

/// Asks the CA for certificates of one workload.
pub(crate) struct CaClient {
    discovery: Discovery,
    identity: SpiffeId,
    lifetime: Duration,
    metrics: Metrics,
}

impl CaClient {
    /// A client for this identity; `lifetime` is what it asks for.
    pub(crate) fn new(
        discovery: Discovery,
        identity: SpiffeId,
        lifetime: Duration,
        metrics: Metrics,
    ) -> Self {
        Self { discovery, identity, lifetime, metrics }
    }

    async fn call(&self) -> Result<Material, CaError> {
        let key = PrivateKey::generate(KeyKind::EcdsaP256)?;
        let csr = make_csr(&key, &self.identity)?;
        let mut request = Request::new(IstioCertificateRequest {
            csr,
            validity_duration: i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX),
            metadata: None,
        });
        request.set_timeout(CALL_TIMEOUT);
        self.discovery.authorize(&mut request)?;
        // A connection for each: they are hours apart, and the files may have changed.
        let channel = self.discovery.channel().await?;
        let mut client = IstioCertificateServiceClient::new(channel);
        let refused = |why| CaError::Refused { address: self.discovery.address.clone(), why };
        let answer = tokio::time::timeout(CALL_TIMEOUT, client.create_certificate(request))
            .await
            .map_err(|_| refused(format!("no answer within {} s", CALL_TIMEOUT.as_secs())))?
            .map_err(|status| refused(status_text(&status)))?;
        material(&answer.into_inner().cert_chain, key)
    }
}

/// The last element is the root, or several in one element; what precedes it is the chain.
fn material(chain: &[String], key: PrivateKey) -> Result<Material, CaError> {
    let (roots, chain) = match chain.split_last() {
        Some((roots, chain)) if !chain.is_empty() => (roots, chain),
        _ => return Err(CaError::ShortChain(chain.len())),
    };
    let roots = TrustBundle::from_pem(roots)?.to_pem();
    let identity = CertifiedIdentity::new(chain_from_pem(&chain.join("\n"))?, key)?;
    Ok(Material { identity, roots })
}

impl Issuer for CaClient {
    async fn issue(&self) -> Result<Material, CaError> {
        self.metrics.outgoing.with_label_values(&["csr"]).inc();
        let issued = self.call().await;
        if issued.is_err() {
            self.metrics.outgoing_failed.with_label_values(&["csr"]).inc();
        }
        issued
    }
}
