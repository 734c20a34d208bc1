//! TLS towards clients.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use pki::{
    SanMatcher,
    tls::{Ciphers, ClientAuth, PeerPolicy, Server, Versions},
};
use rustls::ServerConfig;

use super::{
    SecretSlot, SecretStore, SecretValue, TlsError, TrustSource, alpn, san_matchers, unsupported,
    versions,
};

/// What a filter chain's `DownstreamTlsContext` comes to.
#[derive(Debug)]
pub(crate) struct DownstreamTls {
    certificates: Vec<Arc<SecretSlot>>,
    trust: Option<TrustSource>,
    names: Vec<SanMatcher>,
    require_client_certificate: bool,
    alpn: Vec<Vec<u8>>,
    versions: Versions,
    ciphers: Ciphers,
    built: ArcSwapOption<Built>,
}

#[derive(Debug)]
struct Built {
    /// The secrets' versions, that of the trust bundle last.
    versions: Vec<u64>,
    config: Arc<ServerConfig>,
    /// The same without ALPN.
    silent: Arc<ServerConfig>,
}

impl Built {
    /// A client none of whose names we know goes on without ALPN, as with BoringSSL; rustls would
    /// refuse it. Istio's own names (`istio`) are of this kind: they only mark mesh traffic.
    fn config(&self, offered: &[String]) -> Arc<ServerConfig> {
        let known =
            |name: &String| self.config.alpn_protocols.iter().any(|ours| ours == name.as_bytes());
        if offered.is_empty() || offered.iter().any(known) {
            Arc::clone(&self.config)
        } else {
            Arc::clone(&self.silent)
        }
    }
}

impl DownstreamTls {
    /// Reads a context; `exchange` tells whether its chain exchanges peer metadata.
    pub(crate) fn new(
        context: &xds::DownstreamTls,
        secrets: &SecretStore,
        exchange: bool,
    ) -> Result<Self, TlsError> {
        let common = &context.common;
        if common.certificates.is_empty() {
            return Err(unsupported(
                "common_tls_context.tls_certificate_sds_secret_configs",
                "a server needs a certificate",
            ));
        }
        let validation = common.validation.as_ref();
        let trust = validation.map(|v| TrustSource::new(&v.trusted_ca, secrets)).transpose()?;
        if context.require_client_certificate
            && !matches!(&trust, Some(TrustSource::Secret(_) | TrustSource::Fixed(_)))
        {
            return Err(unsupported(
                "require_client_certificate",
                "client certificates cannot be required without a CA to check them with",
            ));
        }
        Ok(Self {
            certificates: common.certificates.iter().map(|one| secrets.slot(one)).collect(),
            trust,
            names: validation.map(san_matchers).transpose()?.unwrap_or_default(),
            require_client_certificate: context.require_client_certificate,
            alpn: alpn(&common.alpn, exchange),
            versions: versions(&common.params)?,
            ciphers: Ciphers::new(&common.params.cipher_suites),
            built: ArcSwapOption::empty(),
        })
    }

    /// The secrets that it cannot do without.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Arc<SecretSlot>> {
        let trust = self.trust.as_ref().and_then(TrustSource::slot);
        self.certificates.iter().chain(trust)
    }

    /// The URI name of the certificate of the moment.
    pub(crate) fn local_uri(&self) -> Option<String> {
        match self.certificates.first()?.value().as_deref() {
            Some(SecretValue::Identity(identity)) => identity.leaf().uri_sans.first().cloned(),
            _ => None,
        }
    }

    /// The configuration with the secrets of the moment, for a client that offers these ALPN names.
    ///
    /// # Errors
    /// When a secret is missing or unusable: the handshake must be refused.
    pub(crate) fn config(&self, offered: &[String]) -> Result<Arc<ServerConfig>, TlsError> {
        let current: Vec<u64> = self.secrets().map(|slot| slot.version()).collect();
        if let Some(built) = self.built.load().as_ref()
            && built.versions == current
        {
            return Ok(built.config(offered));
        }
        let identities: Vec<_> =
            self.certificates.iter().map(|slot| slot.identity()).collect::<Result<_, _>>()?;
        let identities: Vec<_> = identities.iter().map(AsRef::as_ref).collect();
        let bundle = self.trust.as_ref().map(TrustSource::bundle).transpose()?.flatten();
        let clients = match bundle {
            None => ClientAuth::None,
            Some(bundle) => {
                let policy = PeerPolicy::new(bundle, self.names.clone());
                if self.require_client_certificate {
                    ClientAuth::Required(policy)
                } else {
                    ClientAuth::Optional(policy)
                }
            }
        };
        let server = Server {
            identities: &identities,
            clients,
            alpn: self.alpn.clone(),
            versions: self.versions,
            ciphers: &self.ciphers,
        };
        let config = server.config()?;
        let mut silent = ServerConfig::clone(&config);
        silent.alpn_protocols.clear();
        let built = Arc::new(Built { versions: current, config, silent: Arc::new(silent) });
        self.built.store(Some(Arc::clone(&built)));
        Ok(built.config(offered))
    }
}
