//! Terminates TLS, and finds out who the client is.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    connection::TlsDetails,
    net::io::Prefixed,
    snapshot::Chain,
    tls::{DownstreamTls, TlsError},
};

/// COMPAT: Envoy has no limit unless one is set; without one, idle handshakes could pile up.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A TLS connection that is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// There is no usable secret: it fails closed.
    #[error(transparent)]
    Context(#[from] TlsError),
    /// The peer did not do its part.
    #[error("TLS handshake: {0}")]
    Tls(#[from] io::Error),
    /// The peer took too long.
    #[error("the TLS handshake took longer than {0:?}")]
    Timeout(Duration),
}

impl HandshakeError {
    /// Whether the client's certificate was the reason.
    pub(super) fn is_certificate(&self) -> bool {
        let Self::Tls(error) = self else { return false };
        let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        matches!(
            inner,
            Some(
                rustls::Error::InvalidCertificate(_)
                    | rustls::Error::NoCertificatesPresented
                    | rustls::Error::General(_)
            )
        )
    }
}

/// Does the server's part of a handshake. `offered` are the client's ALPN names.
pub(super) async fn accept(
    tls: &DownstreamTls,
    chain: &Chain,
    (stream, buffer): (TcpStream, Bytes),
    offered: &[String],
) -> Result<(TlsStream<Prefixed<TcpStream>>, TlsDetails), HandshakeError> {
    let acceptor = TlsAcceptor::from(tls.config(offered)?);
    let timeout = chain
        .engine
        .transport_socket_connect_timeout
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(DEFAULT_TIMEOUT);
    let handshake = acceptor.accept(Prefixed::new(buffer, stream));
    let stream = tokio::time::timeout(timeout, handshake)
        .await
        .map_err(|_elapsed| HandshakeError::Timeout(timeout))??;
    let details = TlsDetails::new(stream.get_ref().1, tls.local_uri());
    Ok((stream, details))
}
