//! What is known of a downstream connection once its filter chain is chosen.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use pki::PeerIdentity;

use crate::{
    handle::{ConnectionGuard, DrainFlag},
    snapshot::{Chain, Listener},
    worker::Worker,
};

/// A downstream connection.
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) id: u64,
    pub(crate) listener: Arc<Listener>,
    pub(crate) chain: Arc<Chain>,
    /// The destination that the client meant.
    pub(crate) destination: SocketAddr,
    /// The directly connected peer.
    pub(crate) remote: SocketAddr,
    /// The server name of the TLS hello.
    pub(crate) server_name: Option<String>,
    pub(crate) tls: Option<TlsDetails>,
    pub(crate) _guard: ConnectionGuard,
}

/// What is known of a connection's TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsDetails {
    pub(crate) version: &'static str,
    pub(crate) cipher: String,
    /// The negotiated ALPN name.
    pub(crate) alpn: Option<Vec<u8>>,
    /// Who the peer's verified certificate says it is.
    pub(crate) peer: Option<Arc<PeerIdentity>>,
    /// The names that policies compare: URI names, else DNS names, else the subject.
    pub(crate) principals: Vec<String>,
    /// Our own URI name.
    pub(crate) local_uri: Option<String>,
}

impl TlsDetails {
    /// Reads what a finished handshake tells.
    pub(crate) fn new(tls: &rustls::ServerConnection, local_uri: Option<String>) -> Self {
        let version = match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "-",
        };
        let cipher = tls.negotiated_cipher_suite();
        let peer = tls
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|leaf| PeerIdentity::from_der(leaf).ok())
            .map(Arc::new);
        Self {
            version,
            cipher: cipher.map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            principals: peer.as_deref().map(principals).unwrap_or_default(),
            peer,
            local_uri,
        }
    }
}

fn principals(peer: &PeerIdentity) -> Vec<String> {
    if !peer.uri_sans.is_empty() {
        peer.uri_sans.clone()
    } else if !peer.dns_sans.is_empty() {
        peer.dns_sans.clone()
    } else {
        vec![peer.subject.clone()]
    }
}

impl Connection {
    /// Whether the peer showed a certificate that was verified.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.peer.is_some())
    }

    /// The peer's names, for policies.
    pub(crate) fn principals(&self) -> &[String] {
        self.tls.as_ref().map_or(&[], |tls| tls.principals.as_slice())
    }

    /// The peer's identity as metrics show it.
    pub(crate) fn peer_principal(&self) -> &str {
        self.principals().first().map_or("", String::as_str)
    }

    /// Which way the listener's traffic goes.
    pub(crate) fn direction(&self) -> xds::TrafficDirection {
        self.listener.engine.config.traffic_direction
    }

    /// Whether its client is asked to go: the proxy drains, or the chain was replaced.
    pub(crate) fn is_draining(&self) -> bool {
        self.chain.retired.is_set() || self.drain_flag().is_set()
    }

    /// Set when connections of this direction are drained.
    pub(crate) fn drain_flag(&self) -> &DrainFlag {
        let handle = &self.worker.shared.handle;
        match self.direction() {
            xds::TrafficDirection::Outbound => handle.drain_flag(),
            _ => handle.inbound_drain_flag(),
        }
    }
}
