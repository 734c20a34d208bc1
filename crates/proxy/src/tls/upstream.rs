//! TLS towards upstreams.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use pki::{
    SanMatcher, TrustBundle,
    tls::{PeerPolicy, ServerAuth, Versions, client_config},
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::{SecretSlot, SecretStore, TlsError, TrustSource, alpn, san_matchers, versions};

/// What a cluster's `UpstreamTlsContext` comes to.
#[derive(Debug)]
pub(crate) struct UpstreamTls {
    certificate: Option<Arc<SecretSlot>>,
    trust: Option<TrustSource>,
    names: Vec<SanMatcher>,
    sni: String,
    auto_sni: bool,
    auto_san: bool,
    alpn: Vec<String>,
    versions: Versions,
    built: ArcSwap<Vec<Built>>,
}

#[derive(Clone, Debug)]
struct Built {
    versions: (u64, u64),
    alpn: Vec<String>,
    exchange: bool,
    config: Arc<ClientConfig>,
}

impl Built {
    fn is_for(&self, versions: (u64, u64), alpn: &[String], exchange: bool) -> bool {
        self.versions == versions && self.alpn == alpn && self.exchange == exchange
    }
}

impl UpstreamTls {
    /// Reads a context; the cluster's `http` options tell whether the host names the server.
    pub(crate) fn new(
        context: &xds::UpstreamTls,
        http: &xds::UpstreamHttp,
        secrets: &SecretStore,
    ) -> Result<Self, TlsError> {
        let common = &context.common;
        let validation = common.validation.as_ref();
        Ok(Self {
            certificate: common.certificates.first().map(|source| secrets.slot(source)),
            trust: validation.map(|v| TrustSource::new(&v.trusted_ca, secrets)).transpose()?,
            names: validation.map(san_matchers).transpose()?.unwrap_or_default(),
            sni: context.sni.clone(),
            auto_sni: http.auto_sni && context.sni.is_empty(),
            auto_san: http.auto_san_validation,
            alpn: common.alpn.clone(),
            versions: versions(&common.params)?,
            built: ArcSwap::default(),
        })
    }

    /// The secrets that it cannot do without.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Arc<SecretSlot>> {
        let trust = self.trust.as_ref().and_then(TrustSource::slot);
        self.certificate.iter().chain(trust)
    }

    /// Whether the request's host decides which server is asked for, so that connections cannot be
    /// shared between hosts.
    pub(crate) fn by_host(&self) -> bool {
        self.auto_sni || self.auto_san
    }

    /// The server name to ask for.
    ///
    /// # Errors
    /// When the configured name, or the request's host, is none.
    pub(crate) fn server_name(
        &self,
        host: Option<&str>,
        address: IpAddr,
    ) -> Result<ServerName<'static>, TlsError> {
        let host = host.filter(|_| self.by_host()).map(host_only);
        let name = if self.sni.is_empty() { host } else { Some(self.sni.as_str()) };
        match name {
            None => Ok(ServerName::IpAddress(address.into())),
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| TlsError::ServerName(name.to_owned())),
        }
    }

    /// The configuration with the secrets of the moment; `alpn` replaces the context's own
    /// names; `exchange` tells whether the connection exchanges peer metadata where the server does.
    ///
    /// # Errors
    /// When a secret is missing or unusable: the connection must not be made.
    pub(crate) fn config(
        &self,
        alpn: Option<&[String]>,
        exchange: bool,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let trust = self.trust.as_ref().and_then(TrustSource::slot);
        let current = (
            self.certificate.as_ref().map_or(0, |slot| slot.version()),
            trust.map_or(0, |slot| slot.version()),
        );
        let names = alpn.unwrap_or(&self.alpn);
        let built = self.built.load();
        if let Some(found) = built.iter().find(|b| b.is_for(current, names, exchange)) {
            return Ok(Arc::clone(&found.config));
        }
        let config = self.build(names, exchange)?;
        let fresh = Built {
            versions: current,
            alpn: names.to_vec(),
            exchange,
            config: Arc::clone(&config),
        };
        let others =
            built.iter().filter(|b| b.versions == current && !b.is_for(current, names, exchange));
        self.built.store(Arc::new(others.cloned().chain([fresh]).collect()));
        Ok(config)
    }

    fn build(&self, names: &[String], exchange: bool) -> Result<Arc<ClientConfig>, TlsError> {
        let identity = self.certificate.as_ref().map(|slot| slot.identity()).transpose()?;
        let bundle = self.trust.as_ref().map(TrustSource::bundle).transpose()?.flatten();
        let server = self.server_auth(bundle);
        Ok(client_config(identity.as_deref(), server, alpn(names, exchange), self.versions)?)
    }

    fn server_auth(&self, bundle: Option<TrustBundle>) -> ServerAuth {
        match bundle {
            None => ServerAuth::Unverified,
            Some(bundle) if self.auto_san && self.names.is_empty() => ServerAuth::WebPki(bundle),
            Some(bundle) => ServerAuth::Policy(PeerPolicy::new(bundle, self.names.clone())),
        }
    }
}

/// A `Host` header's value without its port.
pub(crate) fn host_only(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
