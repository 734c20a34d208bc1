//! The destination's side: the bytes that the client's proxy sends, and what the destination's
//! proxy makes of them.

use std::net::SocketAddr;

use config::{Object, Spec, label};
use engine::StringMatcher;
use local::offline::{Beside, Workload};

use super::call::{Call, Request, Transport};
use super::destination::NOT_USED;
use super::hop::{Arrival, Hop, Record};
use super::journey::{Answer, Endpoint, Origin, Step};
use super::name::ELSEWHERE;
use super::origin;
use super::travel::Travel;
use crate::offline::{Party, Resources, full_name};

/// The transport of an upstream connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Wire {
    tls: bool,
    /// Whether the client shows its certificate.
    mutual: bool,
    sni: Option<String>,
    alpn: Vec<String>,
    /// The names that the server's certificate may have; empty: any.
    expected: Vec<xds::SubjectAltNameMatcher>,
}

/// One connection to one endpoint.
pub(super) struct Delivery<'a> {
    pub(super) source: &'a Party,
    pub(super) address: Option<SocketAddr>,
    pub(super) shown: String,
    pub(super) health: &'static str,
    pub(super) wire: Wire,
    pub(super) request: &'a Request,
    /// Whether the client's proxy speaks HTTP to it, and so answers when nobody does.
    pub(super) http: bool,
    /// Why calls do not go there.
    pub(super) not_used: Option<&'static str>,
}

impl Wire {
    /// What a cluster's transport makes of it, or what the user asks for in its place.
    pub(super) fn new(
        call: &Call,
        tls: Option<&xds::UpstreamTls>,
        alpn: Option<&[xds::AlpnOverride]>,
        http2: bool,
    ) -> Self {
        let protocol =
            if http2 { xds::UpstreamProtocol::Http2 } else { xds::UpstreamProtocol::Http11 };
        let overridden = alpn.and_then(|list| {
            list.iter().find(|one| one.upstream_protocol == protocol).map(|one| one.alpn.clone())
        });
        match (call.transport, tls) {
            (Some(Transport::Plaintext), _) | (None, None) => Self {
                // What the client's own TLS says goes through as it is.
                tls: call.is_tls(),
                sni: call.sni.clone().filter(|_| call.is_tls()),
                alpn: call.detected(),
                ..Self::default()
            },
            (_, Some(tls)) => Self {
                tls: true,
                mutual: !tls.common.certificates.is_empty(),
                sni: Some(tls.sni.clone()).filter(|sni| !sni.is_empty()),
                alpn: overridden.unwrap_or_else(|| tls.common.alpn.clone()),
                expected: tls
                    .common
                    .validation
                    .as_ref()
                    .map(|validation| validation.match_subject_alt_names.clone())
                    .unwrap_or_default(),
            },
            (Some(Transport::Mtls), None) => Self {
                tls: true,
                mutual: true,
                sni: call.sni.clone(),
                alpn: overridden
                    .unwrap_or_else(|| vec!["istio-http/1.1".to_owned(), "istio".to_owned()]),
                expected: Vec::new(),
            },
        }
    }

    fn name(&self) -> &'static str {
        match (self.tls, self.mutual) {
            (true, true) => "mtls",
            (true, false) => "tls",
            (false, _) => "plaintext",
        }
    }

    fn step(&self) -> Step {
        let mut step = Step::new("transport", self.name());
        if let Some(sni) = &self.sni {
            step = step.detail(format!("server name {sni}"));
        }
        if self.tls && !self.alpn.is_empty() {
            step = step.detail(format!("ALPN {}", self.alpn.join(", ")));
        }
        step
    }
}

impl Travel<'_> {
    /// Follows a connection to its end.
    pub(super) fn deliver(&self, delivery: Delivery<'_>) -> anyhow::Result<Endpoint> {
        let workload = delivery.address.and_then(|address| self.mesh.at(address.ip()));
        let mut endpoint = Endpoint {
            address: delivery.shown.clone(),
            workload: workload.map(full_name),
            health: delivery.health.to_owned(),
            transport: delivery.wire.name().to_owned(),
            inbound: None,
            answer: Answer::refused(None, "-", ""),
            steps: Vec::new(),
        };
        if let Some(why) = delivery.not_used {
            endpoint.answer.reason = why.to_owned();
            endpoint.health = NOT_USED.to_owned();
            return Ok(endpoint);
        }
        endpoint.steps.push(delivery.wire.step());
        let status = is_http(self.call).then_some(200);
        let (Some(address), Some(workload)) = (delivery.address, workload) else {
            let own = delivery.address.is_some_and(|address| address.ip() == ELSEWHERE);
            let place = if own { &self.call.host } else { &delivery.shown };
            let why = format!("it leaves the mesh for {place}");
            endpoint.answer = Answer::served(status, why);
            return Ok(endpoint);
        };
        if let Some(why) = self.wrong_name(&delivery.wire, workload) {
            endpoint.answer = Answer::refused(delivery.http.then_some(503), "UF", why);
            return Ok(endpoint);
        }
        let mut record = Record::default();
        let answer = match workload.beside {
            Beside::Nothing if delivery.wire.mutual => {
                Answer::refused(None, "UF", "mutual TLS to a workload without a proxy")
            }
            Beside::Nothing => {
                let name = full_name(workload);
                Answer::served(status, format!("{name} gets it; it has no proxy, so no policies"))
            }
            _ => self.inbound(&delivery, address, workload, &mut record)?,
        };
        endpoint.answer = by_the_client(&delivery, answer);
        if workload.beside != Beside::Nothing {
            endpoint.inbound = Some(record.path);
        }
        endpoint.steps.extend(record.steps);
        Ok(endpoint)
    }

    /// Secure naming: the server's identity must be one that the client expects.
    fn wrong_name(&self, wire: &Wire, workload: &Workload) -> Option<String> {
        if wire.expected.is_empty() || workload.beside == Beside::Nothing {
            return None;
        }
        let identity = Party::from_workload(workload).identity(self.trust_domain);
        let fits = wire.expected.iter().any(|name| {
            StringMatcher::new(&name.matcher).is_ok_and(|matcher| matcher.matches(&identity))
        });
        (!fits).then(|| format!("the client does not expect the server's identity {identity}"))
    }

    fn inbound(
        &self,
        delivery: &Delivery<'_>,
        address: SocketAddr,
        workload: &Workload,
        record: &mut Record,
    ) -> anyhow::Result<Answer> {
        let proxy = Party::from_workload(workload).proxy()?;
        let resources = match workload.beside {
            Beside::Gateway => Resources::decidable(&self.mesh.push, &proxy),
            _ => Resources::listeners(&self.mesh.push, &proxy),
        };
        let configured = resources.configured()?;
        let snapshot = &configured.snapshot;
        let listener = match workload.beside {
            Beside::Gateway => snapshot.listener_for(address),
            _ => snapshot.listeners().get("virtualInbound"),
        };
        let Some(listener) = listener.cloned() else {
            return Ok(Answer::refused(None, "-", "the destination's proxy has no such listener"));
        };
        record.steps.push(
            Step::new("listener", listener.config.name.clone()).detail(format!("for {address}")),
        );
        let identity = delivery.source.identity(self.trust_domain);
        let arrival = Arrival {
            destination: address,
            source: SocketAddr::new(delivery.source.address, 40_000),
            tls: delivery.wire.tls,
            server_name: delivery.wire.sni.clone(),
            alpn: delivery.wire.alpn.clone(),
            principals: if delivery.wire.mutual { vec![identity] } else { Vec::new() },
            request: delivery.request.clone(),
        };
        let hop = Hop { origins: self.origins(), configured: &configured, arrival: &arrival };
        let taken = hop.take(&listener, record);
        // Which chains there are follows from the workload's PeerAuthentication.
        let origin = self.peer_authentication(workload);
        let chain = record.steps.iter_mut().find(|step| step.stage == "filter_chain");
        let refused = record.path.filter_chain.is_none();
        if let (Some(chain), Beside::Sidecar) = (chain, workload.beside) {
            chain.origin.clone_from(&origin);
        }
        let forward = match taken {
            Ok(forward) => forward,
            Err(mut answer) => {
                if let (true, false, Some(origin)) = (refused, delivery.wire.tls, origin) {
                    answer.reason = format!("{} refuses plain text", origin.object);
                }
                return Ok(answer);
            }
        };
        let cluster = forward.clusters.first().map(|share| share.cluster.clone());
        let cluster = cluster.unwrap_or_default();
        record.steps.push(Step::new("cluster", cluster.clone()));
        let name = full_name(workload);
        if cluster == "BlackHoleCluster" {
            return Ok(Answer::refused(None, "UH", format!("{name} has no such port")));
        }
        let status = (forward.http || is_http(self.call)).then_some(200);
        Ok(Answer::served(status, format!("{name} gets it at port {}", address.port())))
    }

    /// The PeerAuthentication that says most about a workload: by selector, by namespace, mesh-wide.
    fn peer_authentication(&self, workload: &Workload) -> Option<Origin> {
        let root = &self.mesh.push.world().mesh().root_namespace;
        let rank = |object: &Object| {
            let Spec::PeerAuthentication(policy) = &object.spec else { return None };
            match &policy.selector {
                Some(selector) => (object.meta.namespace == workload.namespace
                    && label::selects(&selector.match_labels, &workload.labels))
                .then_some(2),
                None if object.meta.namespace == workload.namespace => Some(1),
                None => (object.meta.namespace == *root).then_some(0),
            }
        };
        let best = self
            .mesh
            .objects
            .iter()
            .filter_map(|object| Some((rank(object)?, object)))
            .reduce(|best, next| if next.0 > best.0 { next } else { best });
        origin::at(best?.1, None)
    }
}

fn is_http(call: &Call) -> bool {
    use super::call::Scheme;
    matches!(call.scheme, Scheme::Http | Scheme::Https)
}

/// What the client sees of a connection that is closed: its own proxy answers for it.
fn by_the_client(delivery: &Delivery<'_>, answer: Answer) -> Answer {
    if answer.served || answer.status.is_some() || !delivery.http {
        return answer;
    }
    let flags = if answer.response_flags == "UF" { "UF" } else { "UC" };
    let reason = format!("the destination closes the connection: {}", answer.reason);
    Answer::refused(503, flags, reason)
}
