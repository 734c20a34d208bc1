//! `istio.v1.auth.IstioCertificateService`: signs what an authenticated caller asks for, under the
//! name that the caller proved. Names in the request are never looked at.

use std::sync::Arc;
use std::time::SystemTime;

use pb::istio::v1::auth::istio_certificate_service_server::IstioCertificateService;
use pb::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};
use pki::{Ca, CaError};
use tonic::{Request, Response, Status};

use crate::authn::Authenticator;
use crate::metrics::Metrics;

/// Keys of the request's metadata that ask for something that is not offered.
const UNSUPPORTED: [&str; 2] = ["ImpersonatedIdentity", "CertSigner"];

/// The CA behind gRPC.
#[derive(Clone, Debug)]
pub(crate) struct CertificateService {
    pub(crate) ca: Arc<Ca>,
    pub(crate) authenticator: Authenticator,
    pub(crate) metrics: Metrics,
}

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.metrics.csr_count.inc();
        let now = SystemTime::now();
        let caller = self.authenticator.authenticate(request.extensions(), request.metadata(), now);
        let identity = caller.inspect_err(|status| {
            self.metrics.authentication_failures.inc();
            tracing::warn!(reason = status.message(), "refused a certificate: unknown caller");
        })?;
        let message = request.into_inner();
        refuse_unsupported(&message)?;
        let chain = self
            .ca
            .sign(&message.csr, &identity, message.validity_duration, now)
            .map_err(|error| self.failed(&identity, &error))?;
        self.metrics.issued.inc();
        tracing::info!(%identity, seconds = message.validity_duration, "signed a certificate");
        Ok(Response::new(IstioCertificateResponse { cert_chain: chain }))
    }
}

impl CertificateService {
    fn failed(&self, identity: &pki::SpiffeId, error: &CaError) -> Status {
        tracing::warn!(%identity, %error, "refused a certificate");
        match error {
            CaError::Csr(_) => {
                self.metrics.csr_errors.inc();
                Status::invalid_argument(error.to_string())
            }
            CaError::TtlTooLong { .. } => {
                self.metrics.sign_errors.with_label_values(&["TTL_ERROR"]).inc();
                Status::invalid_argument(error.to_string())
            }
            _ => {
                self.metrics.sign_errors.with_label_values(&["CERT_GEN_ERROR"]).inc();
                Status::internal("the certificate could not be signed")
            }
        }
    }
}

fn refuse_unsupported(message: &IstioCertificateRequest) -> Result<(), Status> {
    let Some(metadata) = &message.metadata else { return Ok(()) };
    match UNSUPPORTED.into_iter().find(|key| metadata.fields.contains_key(*key)) {
        Some(key) => Err(Status::invalid_argument(format!("metadata {key} is not supported"))),
        None => Ok(()),
    }
}
