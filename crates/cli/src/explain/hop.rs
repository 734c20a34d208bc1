//! One proxy on the way: what it does with a connection and the request on it, by the engine.

use std::net::SocketAddr;
use std::sync::Arc;

use engine::{ConnectionInfo, FilterChain, Listener, NetworkFilter, RbacInput};

use xds::ListenerFilterKind;

use super::call::Request;
use super::http;
use super::journey::{Answer, Miss, Path, Step};
use super::miss;
use super::origin::Origins;
use super::policy::{self, Asked};
use crate::offline::Configured;

/// What is said of a filter chain that would match, were there not a more specific one.
pub(super) const LESS: &str = "it matches too, less specifically";

/// A connection that arrives at a proxy, with the request on it.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) destination: SocketAddr,
    pub(super) source: SocketAddr,
    /// Whether the bytes are TLS.
    pub(super) tls: bool,
    pub(super) server_name: Option<String>,
    /// ALPN names that the client offers, or what its first bytes tell.
    pub(super) alpn: Vec<String>,
    /// The names in the client's certificate.
    pub(super) principals: Vec<String>,
    pub(super) request: Request,
}

/// What was decided so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) path: Path,
    pub(super) steps: Vec<Step>,
}

/// Where a proxy sends what it took.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) clusters: Vec<Share>,
    pub(super) request: Request,
    /// Whether it is forwarded as HTTP.
    pub(super) http: bool,
    /// What `istio.alpn` offers upstream.
    pub(super) alpn: Option<Arc<[xds::AlpnOverride]>>,
    /// The status when a cluster is missing.
    pub(super) not_found: u16,
}

/// One cluster with its share.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) cluster: String,
    pub(super) weight: u32,
    pub(super) headers: xds::HeaderMutations,
}

/// One proxy.
pub(super) struct Hop<'a> {
    pub(super) origins: Origins<'a>,
    pub(super) configured: &'a Configured,
    pub(super) arrival: &'a Arrival,
}

impl Arrival {
    /// What a listener finds out about the connection: only what it inspects.
    fn info(&self, listener: &Listener) -> ConnectionInfo<'_> {
        let inspects = |kind| listener.listener_filter(&kind, self.destination.port());
        let tls = self.tls && inspects(ListenerFilterKind::TlsInspector);
        let http = !self.tls && inspects(ListenerFilterKind::HttpInspector);
        ConnectionInfo {
            destination: self.destination,
            source: self.source,
            direct_source: self.source,
            transport_protocol: if tls { "tls" } else { "raw_buffer" },
            server_name: self.server_name.as_deref().filter(|_| tls),
            application_protocols: if tls || http { &self.alpn } else { &[] },
        }
    }
}

impl Hop<'_> {
    /// What a listener does with the connection: where it goes, or how it ends.
    pub(super) fn take(&self, listener: &Listener, record: &mut Record) -> Result<Forward, Answer> {
        record.path.listener = Some(listener.config.name.clone());
        let (chain, config) = self.filter_chain(listener, record)?;
        let principals = self.handshake(&chain, record)?;
        self.network_policies(&config, principals, record)?;
        let terminated = chain.transport_socket.is_some();
        match (chain.filters.last(), config.filters.last().map(|filter| &filter.config)) {
            (Some(NetworkFilter::TcpProxy(tcp)), _) => {
                let shares = tcp.config.clusters.iter().map(|one| Share {
                    cluster: one.name.clone(),
                    weight: one.weight,
                    headers: xds::HeaderMutations::default(),
                });
                Ok(Forward {
                    clusters: shares.collect(),
                    request: self.arrival.request.clone(),
                    http: false,
                    alpn: None,
                    not_found: 503,
                })
            }
            (
                Some(NetworkFilter::HttpConnectionManager(manager)),
                Some(xds::NetworkFilterConfig::HttpConnectionManager(config)),
            ) => {
                if self.arrival.tls && !terminated {
                    let why = "the bytes are TLS, and this chain expects HTTP in plain text";
                    return Err(Answer::refused(None, "DPE", why));
                }
                http::Manager { hop: self, manager, config, principals, terminated }.run(record)
            }
            _ => Err(Answer::refused(None, "-", "the filter chain does not end in a proxy")),
        }
    }

    fn filter_chain(
        &self,
        listener: &Listener,
        record: &mut Record,
    ) -> Result<(Arc<FilterChain>, xds::FilterChain), Answer> {
        let info = self.arrival.info(listener);
        let chosen = listener.select_filter_chain(&info);
        let configs: Vec<&xds::FilterChain> = listener
            .config
            .filter_chains
            .iter()
            .chain(listener.config.default_filter_chain.as_deref())
            .collect();
        let position = chosen.and_then(|chosen| {
            listener.filter_chains().position(|chain| Arc::ptr_eq(chain, chosen))
        });
        let port = info.destination.port();
        let concerns = |chain: &xds::FilterChain| {
            chain.filter_chain_match.destination_port.is_none_or(|wanted| wanted == port)
        };
        let misses: Vec<Miss> = configs
            .iter()
            .enumerate()
            .filter(|(index, chain)| Some(*index) != position && concerns(chain))
            .map(|(_, chain)| Miss {
                name: format!(
                    "{} ({})",
                    chain.name,
                    miss::shown_criteria(&chain.filter_chain_match)
                ),
                why: or_less_specific(miss::filter_chain(chain, &info)),
                origin: None,
            })
            .collect();
        let found =
            position.and_then(|index| Some((Arc::clone(chosen?), (*configs.get(index)?).clone())));
        let Some((chain, config)) = found else {
            let how = if self.arrival.tls { "TLS" } else { "plain text" };
            record.steps.push(
                Step::new("filter_chain", "none")
                    .detail(format!("the connection is {how}; it is closed"))
                    .past(misses),
            );
            return Err(Answer::refused(None, "NR", "no filter chain takes the connection"));
        };
        let mut step = Step::new("filter_chain", chain.name.clone())
            .detail(format!("it takes {}", miss::shown_criteria(&config.filter_chain_match)));
        if let Some(tls) = &chain.transport_socket {
            let client = if tls.require_client_certificate { "mutual TLS" } else { "TLS" };
            step = step.detail(format!("terminates {client}"));
        }
        record.path.filter_chain = Some(chain.name.clone());
        record.steps.push(step.past(misses));
        Ok((chain, config))
    }

    /// The client's names, once the TLS of both sides fits.
    fn handshake(&self, chain: &FilterChain, record: &mut Record) -> Result<&[String], Answer> {
        let Some(tls) = &chain.transport_socket else { return Ok(&[]) };
        if !self.arrival.tls {
            let why = "the chain terminates TLS, and the client speaks plain text";
            return Err(Answer::refused(None, "NR", why));
        }
        let principals = &self.arrival.principals;
        if tls.require_client_certificate && principals.is_empty() {
            let why = "the client shows no certificate, which mutual TLS asks for";
            return Err(Answer::refused(None, "-", why));
        }
        if let [name, ..] = principals.as_slice() {
            let step = Step::new("transport", "mutual TLS").detail(format!("the source is {name}"));
            record.steps.push(step);
        }
        Ok(principals)
    }

    fn network_policies(
        &self,
        chain: &xds::FilterChain,
        principals: &[String],
        record: &mut Record,
    ) -> Result<(), Answer> {
        for filter in &chain.filters {
            if let xds::NetworkFilterConfig::Rbac(rbac) = &filter.config {
                let asked = Asked { input: self.input(principals), request: None };
                if let Some(answer) = policy::check(rbac, &asked, self.origins, &mut record.steps) {
                    return Err(answer);
                }
            }
        }
        Ok(())
    }

    /// What policies look at, without a request.
    pub(super) fn input<'b>(&'b self, principals: &'b [String]) -> RbacInput<'b> {
        RbacInput {
            request: None,
            direct_remote: self.arrival.source,
            remote: self.arrival.source,
            destination: self.arrival.destination,
            server_name: self.arrival.server_name.as_deref(),
            authenticated: !principals.is_empty(),
            principals,
        }
    }
}

fn or_less_specific(why: Vec<String>) -> Vec<String> {
    if why.is_empty() { vec![LESS.to_owned()] } else { why }
}
