//! One request and its answer, from the first byte to the last. When it is over it is counted and
//! logged: once, and here.

use std::{borrow::Cow, cell::Cell, rc::Rc, sync::Arc, time::Instant};

use http::HeaderMap;

use super::{body::grpc_status, codec::HttpConnection};
use crate::{
    access_log,
    cluster::ClusterShared,
    facts::{Facts, Kept, RequestLine},
    flags::Flags,
    format::Scope,
    stats::{Destination, HttpObservation, Outline, Protocol, Reporter, Security},
};

/// A request that is being served.
pub(crate) struct Exchange {
    pub(super) http: Rc<HttpConnection>,
    started: Instant,
    pub(crate) facts: Facts,
    /// Bytes of the request's body so far.
    pub(super) received: Rc<Cell<u64>>,
    /// Whether the request's body turned out to be malformed or cut off.
    pub(super) body_broken: Rc<Cell<bool>>,
    request_headers: Kept,
    response_headers: Kept,
    trailers: Option<HeaderMap>,
    pub(super) grpc: bool,
    grpc_status: Option<u32>,
    /// The other workload; 0: unknown.
    pub(super) peer: u32,
    /// The cluster that was chosen.
    pub(super) cluster: Option<Arc<ClusterShared>>,
    /// The identity that the upstream has proved.
    pub(super) upstream_principal: Option<Rc<str>>,
    /// Counts the request in its cluster.
    pub(super) active: Option<super::router::Active>,
    finished: bool,
}

impl Exchange {
    /// A request has arrived.
    pub(super) fn new(http: &Rc<HttpConnection>) -> Box<Self> {
        let stats = &http.manager.stats;
        stats.rq_total.inc();
        stats.rq_active.inc();
        Box::new(Self {
            http: Rc::clone(http),
            started: Instant::now(),
            facts: Facts::new(Rc::clone(&http.connection)),
            received: Rc::default(),
            body_broken: Rc::default(),
            request_headers: Kept::default(),
            response_headers: Kept::default(),
            trailers: None,
            grpc: false,
            grpc_status: None,
            peer: 0,
            cluster: None,
            upstream_principal: None,
            active: None,
            finished: false,
        })
    }

    /// Keeps what the log and metrics want to know of the request.
    pub(super) fn on_request(&mut self, line: RequestLine, headers: &HeaderMap) {
        self.grpc = is_grpc(headers);
        self.facts.request = Some(line);
        self.keep_request_headers(headers);
    }

    /// Keeps the headers that logs show, as they are now.
    pub(super) fn keep_request_headers(&mut self, headers: &HeaderMap) {
        let names = &self.http.manager.log_request_headers;
        self.request_headers.keep(names, headers);
    }

    /// Keeps what the log and metrics want to know of the answer's head.
    pub(super) fn on_response(&mut self, status: u16, headers: &HeaderMap) {
        self.facts.code = status;
        self.grpc_status = grpc_status(headers).or(self.grpc_status);
        let names = &self.http.manager.log_response_headers;
        self.response_headers.keep(names, headers);
    }

    /// Takes note of trailers.
    pub(super) fn on_trailers(&mut self, trailers: &HeaderMap) {
        self.grpc_status = grpc_status(trailers).or(self.grpc_status);
        self.trailers = Some(trailers.clone());
    }

    pub(super) fn set_details(&mut self, details: impl Into<Cow<'static, str>>) {
        self.facts.details = details.into();
    }

    /// It is over.
    pub(crate) fn complete(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.active = None;
        self.facts.duration = self.started.elapsed();
        self.facts.bytes_received = self.received.get();
        let stats = &self.http.manager.stats;
        stats.rq_active.dec();
        match self.facts.code / 100 {
            2 => stats.rq_2xx.inc(),
            3 => stats.rq_3xx.inc(),
            4 => stats.rq_4xx.inc(),
            5 => stats.rq_5xx.inc(),
            _ => {}
        }
        if self.http.manager.istio.is_some() {
            self.observe();
        }
        let scope = Scope {
            facts: &self.facts,
            request: &self.request_headers,
            response: &self.response_headers,
            trailers: self.trailers.as_ref(),
        };
        access_log::log(&self.http.manager.access_logs, &scope);
        self.http.on_request_end();
    }

    /// Counts it in Istio's metrics.
    fn observe(&mut self) {
        let connection = &self.http.connection;
        let fallback = self.destination();
        let mut istio = connection.worker.istio.borrow_mut();
        let destination = match (&self.cluster, fallback) {
            (_, Some(fallback)) => istio.destination(&fallback),
            (Some(cluster), None) => istio.destination(&cluster.destination),
            (None, None) => 0,
        };
        let local = connection.tls.as_ref().and_then(|tls| tls.local_uri.as_deref());
        let inbound = connection.direction() == xds::TrafficDirection::Inbound;
        let (source, target) = if inbound {
            (connection.peer_principal(), local.unwrap_or_default())
        } else {
            let own = &connection.worker.shared;
            (own.principal(), self.upstream_principal.as_deref().unwrap_or_default())
        };
        let known = inbound || self.upstream_principal.is_some();
        let flags = self.facts.flags;
        let outline = Outline {
            reporter: if inbound { Reporter::Destination } else { Reporter::Source },
            peer: self.peer,
            destination,
            source_principal: if known { istio.name(source) } else { 0 },
            destination_principal: if known { istio.name(target) } else { 0 },
            protocol: if self.grpc { Protocol::Grpc } else { Protocol::Http },
            security: security(inbound, connection.is_authenticated()),
            flags: if flags.is_empty() { 0 } else { istio.name(&flags.to_string()) },
        };
        istio.http(&HttpObservation {
            outline,
            response_code: self.facts.code,
            grpc_status: self.grpc_status.filter(|_| self.grpc),
            duration: self.facts.duration,
            request_bytes: self.facts.bytes_received,
            response_bytes: self.facts.bytes_sent,
        });
    }

    /// The service where the cluster does not name it: by the request's host, if the filter allows
    /// that, and by what becomes of calls to unknown hosts. As Istio's filter does.
    fn destination(&self) -> Option<Destination> {
        let config = self.http.manager.istio.as_ref()?;
        let named = self.cluster.as_ref().map(|cluster| &cluster.destination);
        if named.is_some_and(|named| !named.service.is_empty()) {
            return None;
        }
        let fate = match (self.facts.route_name.as_str(), named) {
            ("block_all", _) => "BlackHoleCluster",
            (_, Some(named)) => named.name.as_str(),
            _ => "",
        };
        let line = self.facts.request.as_ref().filter(|_| !config.disable_host_header_fallback);
        let host = line.map_or("", |line| line.authority.as_str());
        let name = if fate.is_empty() { host } else { fate };
        Some(Destination { service: host.into(), name: name.into(), namespace: String::new() })
    }

    /// Marks it as failed by the client's leaving.
    pub(super) fn abandon(&mut self) {
        self.facts.flags.insert(Flags::DOWNSTREAM_TERMINATION);
        self.set_details("downstream_remote_disconnect");
    }
}

fn security(inbound: bool, mutual: bool) -> Security {
    match (inbound, mutual) {
        (false, _) => Security::Unknown,
        (true, true) => Security::MutualTls,
        (true, false) => Security::None,
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    // `application/grpc-web` is another protocol.
    rest.is_some_and(|rest| !rest.starts_with(b"-"))
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.finished {
            self.abandon();
            self.complete();
        }
    }
}
