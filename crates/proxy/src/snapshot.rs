//! All that workers decide by, at one moment: the engine's decisions joined with what they need to
//! be carried out (TLS contexts, statistics, logs).

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use crate::{
    access_log::AccessLog,
    cluster::Cluster,
    handle::DrainFlag,
    http::Manager,
    stats::{ListenerStats, Registry},
    tls::{DownstreamTls, SecretSlot, SecretStore, TlsError},
};

/// An immutable configuration.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) engine: engine::Snapshot,
    pub(crate) clusters: HashMap<String, Arc<Cluster>>,
    pub(crate) listeners: HashMap<String, Arc<Listener>>,
}

impl Snapshot {
    /// The listener that answers for the original destination of a redirected connection.
    pub(crate) fn listener_for(&self, destination: SocketAddr) -> Option<&Arc<Listener>> {
        let found = self.engine.listener_for(destination)?;
        self.listeners.get(&found.config.name)
    }
}

/// A listener with what its filter chains need.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) engine: Arc<engine::Listener>,
    pub(crate) stats: Arc<ListenerStats>,
    /// Logs for connections that no filter chain takes.
    pub(crate) access_logs: Vec<AccessLog>,
    chains: HashMap<usize, Arc<Chain>>,
}

/// A filter chain that can serve.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) engine: Arc<engine::FilterChain>,
    /// As it came, to tell whether an update changed it.
    config: xds::FilterChain,
    pub(crate) tls: Option<DownstreamTls>,
    pub(crate) terminal: Terminal,
    /// Set when an update replaced the chain: its connections are asked to go.
    pub(crate) retired: DrainFlag,
}

/// What happens to the bytes of a connection in the end.
#[derive(Clone, Debug)]
pub(crate) enum Terminal {
    Http(Arc<Manager>),
    Tcp { proxy: Arc<engine::TcpProxy>, access_logs: Arc<[AccessLog]> },
}

/// Why a listener cannot be put to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenerError {
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    #[error("filter_chains[{chain:?}].transport_socket: {source}")]
    Tls { chain: String, source: TlsError },
    #[error("access_log: {0}")]
    AccessLog(String),
}

/// What listeners are compiled with.
pub(crate) struct Context<'a> {
    pub(crate) secrets: &'a SecretStore,
    pub(crate) registry: &'a Registry,
}

impl Listener {
    /// Compiles a listener; chains of `previous` that have not changed go on as they are.
    pub(crate) fn new(
        config: xds::Listener,
        previous: Option<&Listener>,
        context: &Context<'_>,
    ) -> Result<Self, ListenerError> {
        let mut sources: Vec<xds::FilterChain> = config.filter_chains.clone();
        sources.extend(config.default_filter_chain.as_deref().cloned());
        let access_logs = compile_logs(&config.access_log)?;
        let stats = context.registry.listener(&config.address.to_string());
        let engine = Arc::new(engine::Listener::new(config)?);
        let mut chains = HashMap::new();
        for (chain, source) in engine.filter_chains().zip(sources) {
            let kept = previous.and_then(|listener| listener.unchanged(&source));
            let compiled = match kept {
                Some(kept) => kept,
                None => Arc::new(Chain::new(Arc::clone(chain), source, context)?),
            };
            chains.insert(key(chain), compiled);
        }
        Ok(Self { engine, stats, access_logs, chains })
    }

    /// The resource's name.
    pub(crate) fn name(&self) -> &str {
        &self.engine.config.name
    }

    /// The chain that takes a connection.
    pub(crate) fn select(&self, connection: &engine::ConnectionInfo<'_>) -> Option<&Arc<Chain>> {
        self.chains.get(&key(self.engine.select_filter_chain(connection)?))
    }

    /// All chains.
    pub(crate) fn chains(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.chains.values()
    }

    /// Names of the route configurations that it needs.
    pub(crate) fn route_names(&self) -> impl Iterator<Item = &str> {
        self.chains().filter_map(|chain| match &chain.terminal {
            Terminal::Http(manager) => manager.rds_name(),
            Terminal::Tcp { .. } => None,
        })
    }

    /// Secrets that it cannot do without.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Arc<SecretSlot>> {
        self.chains().filter_map(|chain| chain.tls.as_ref()).flat_map(DownstreamTls::secrets)
    }

    /// Asks connections of chains that `next` does not go on with to go.
    pub(crate) fn retire(&self, next: Option<&Listener>) {
        for chain in self.chains() {
            let kept =
                next.is_some_and(|next| next.chains().any(|other| Arc::ptr_eq(other, chain)));
            if !kept {
                chain.retired.set();
            }
        }
    }

    fn unchanged(&self, source: &xds::FilterChain) -> Option<Arc<Chain>> {
        let same = |chain: &&Arc<Chain>| chain.config == *source && !chain.retired.is_set();
        self.chains().find(same).map(Arc::clone)
    }
}

/// Chains have no unique name; the engine's own value tells them apart while it lives.
fn key(chain: &Arc<engine::FilterChain>) -> usize {
    Arc::as_ptr(chain).addr()
}

impl Chain {
    fn new(
        engine: Arc<engine::FilterChain>,
        config: xds::FilterChain,
        context: &Context<'_>,
    ) -> Result<Self, ListenerError> {
        let exchange = engine
            .filters
            .iter()
            .any(|filter| matches!(filter, engine::NetworkFilter::MetadataExchange { .. }));
        let tls = engine
            .transport_socket
            .as_deref()
            .map(|tls| DownstreamTls::new(tls, context.secrets, exchange))
            .transpose()
            .map_err(|source| ListenerError::Tls { chain: engine.name.clone(), source })?;
        let terminal = match engine.filters.last() {
            Some(engine::NetworkFilter::HttpConnectionManager(manager)) => {
                Terminal::Http(Arc::new(Manager::new(manager, context.registry)?))
            }
            Some(engine::NetworkFilter::TcpProxy(proxy)) => Terminal::Tcp {
                proxy: Arc::clone(proxy),
                access_logs: compile_logs(&proxy.config.access_log)?.into(),
            },
            _ => {
                return Err(ListenerError::Engine(engine::EngineError {
                    field: "filters".into(),
                    problem: "no terminal filter".into(),
                }));
            }
        };
        Ok(Self { engine, config, tls, terminal, retired: DrainFlag::default() })
    }

    /// Names of the clusters that it proxies TCP to.
    pub(crate) fn tcp_clusters(&self) -> impl Iterator<Item = &str> {
        let clusters = match &self.terminal {
            Terminal::Tcp { proxy, .. } => proxy.config.clusters.as_slice(),
            Terminal::Http(_) => &[],
        };
        clusters.iter().map(|cluster| cluster.name.as_str())
    }
}

/// Compiles access logs.
pub(crate) fn compile_logs(logs: &[xds::AccessLog]) -> Result<Vec<AccessLog>, ListenerError> {
    logs.iter().map(|log| AccessLog::new(log).map_err(ListenerError::AccessLog)).collect()
}
