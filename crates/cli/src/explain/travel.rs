//! The way of a call: from the name that a client looks up, through its own proxy or a gateway, to
//! the clusters and endpoints that it may reach.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use local::offline::Beside;

use super::arrive::{Delivery, Wire};
use super::call::Call;
use super::hop::{Arrival, Hop, Record};
use super::journey::{Answer, Destination, Journey, Step};
use super::origin::Origins;
use crate::offline::{Configured, Mesh, Party, Resources};

/// Where callers from outside of the mesh are said to be (RFC 5737).
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
/// A client's port.
const PORT: u16 = 40_000;
/// How many endpoints of a cluster are followed; the others are only listed.
pub(super) const FOLLOWED: usize = 16;

/// Where a call begins.
pub(crate) enum Start {
    /// At a workload's application.
    Workload(Box<Party>),
    /// At a gateway's port; perhaps from a workload.
    Gateway(Box<Party>, Option<Box<Party>>),
}

/// One call in one mesh.
pub(super) struct Travel<'a> {
    pub(super) mesh: &'a Mesh,
    pub(super) call: &'a Call,
    pub(super) trust_domain: &'a str,
}

/// The proxy that sends a call on.
pub(super) struct Sender<'a> {
    pub(super) party: &'a Party,
    pub(super) configured: Configured,
    pub(super) destination: SocketAddr,
    /// The Service that the destination's address belongs to.
    pub(super) service: Option<String>,
}

/// Explains a call.
///
/// # Errors
/// When a proxy would refuse its configuration, or a description makes no proxy.
pub(crate) fn explain(mesh: &Mesh, start: &Start, call: &Call) -> anyhow::Result<Journey> {
    let trust_domain = mesh.push.world().mesh().trust_domain.clone();
    let travel = Travel { mesh, call, trust_domain: &trust_domain };
    let mut record = Record::default();
    let destinations = match start {
        Start::Workload(party) if party.beside == Beside::Nothing => {
            travel.without_proxy(party, &mut record)?
        }
        Start::Workload(party) => travel.outbound(party, &mut record)?,
        Start::Gateway(gateway, from) => travel.gateway(gateway, from.as_deref(), &mut record)?,
    };
    let (from, gateway) = match start {
        Start::Workload(party) => (party.name.clone(), None),
        Start::Gateway(gateway, from) => {
            let from = from.as_ref().map_or_else(|| "outside".to_owned(), |from| from.name.clone());
            (from, Some(gateway.name.clone()))
        }
    };
    let (answer, destinations) = match destinations {
        Ok(destinations) => (total(&destinations), destinations),
        Err(answer) => (answer, Vec::new()),
    };
    let answer = match travel.unresolved(&record.steps) {
        Some(why) if answer.served => Answer::refused(None, "-", why),
        _ => answer,
    };
    let first = heaviest(&destinations).filter(|first| first.cluster != DIRECT);
    Ok(Journey {
        from,
        gateway,
        method: call.request.method.clone(),
        url: call.url.clone(),
        path: record.path,
        cluster: first.map(|first| first.cluster.clone()),
        subset: first.and_then(|first| first.subset.clone()),
        answer,
        destinations,
        steps: record.steps,
    })
}

/// Stands for a cluster where a client has no proxy.
const DIRECT: &str = "direct";

type Reached = Result<Vec<Destination>, Answer>;

impl<'a> Travel<'a> {
    pub(super) fn origins(&self) -> Origins<'a> {
        Origins(&self.mesh.objects)
    }

    /// Out of a workload, through its sidecar.
    fn outbound(&self, party: &Party, record: &mut Record) -> anyhow::Result<Reached> {
        let proxy = party.proxy()?;
        let configured = Resources::decidable(&self.mesh.push, &proxy).configured()?;
        let resolved = self.resolve(&proxy, &mut record.steps);
        let destination = SocketAddr::new(resolved.address, self.call.port);
        let listeners = configured.snapshot.listeners();
        let exact = configured.snapshot.listener_for(destination);
        let Some(listener) = exact.or_else(|| listeners.get("virtualOutbound")).cloned() else {
            let why = "the sidecar has no listener for outbound connections";
            return Ok(Err(Answer::refused(None, "-", why)));
        };
        let mut step = Step::new("listener", listener.config.name.clone());
        step = match exact {
            Some(_) => step.detail(format!("it answers for {destination}")),
            None => step.detail(format!("no listener answers for {destination}")),
        };
        record.steps.push(step);
        let arrival = self.arrival(SocketAddr::new(party.address, PORT), destination);
        let hop = Hop { origins: self.origins(), configured: &configured, arrival: &arrival };
        match hop.take(&listener, record) {
            Ok(forward) => {
                let sender = Sender { party, configured, destination, service: resolved.service };
                self.send(&sender, &forward).map(Ok)
            }
            Err(answer) => Ok(Err(answer)),
        }
    }

    /// Into a gateway, and out of it.
    fn gateway(
        &self,
        gateway: &Party,
        from: Option<&Party>,
        record: &mut Record,
    ) -> anyhow::Result<Reached> {
        let configured = Resources::decidable(&self.mesh.push, &gateway.proxy()?).configured()?;
        let port = self.gateway_port(gateway);
        let snapshot = &configured.snapshot;
        let found = port.and_then(|port| {
            let destination = SocketAddr::new(gateway.address, port);
            snapshot.listener_for(destination).map(|listener| (destination, listener.clone()))
        });
        let at = |port| {
            let destination = SocketAddr::new(gateway.address, port);
            snapshot.listener_for(destination).map(|listener| (destination, listener.clone()))
        };
        let Some((destination, listener)) = found.or_else(|| at(self.call.port)) else {
            let mut ports: Vec<String> = snapshot.listeners().keys().cloned().collect();
            ports.sort();
            // A server that cannot be served is told there, with the reason.
            let told = self.mesh.push.diagnostics().iter();
            let of_gateways = told.filter(|one| {
                one.object.as_ref().is_some_and(|key| key.kind == config::Kind::Gateway)
            });
            record.steps.extend(of_gateways.map(|one| Step::new("diagnostic", one.to_string())));
            let why = format!(
                "no listener of the gateway is on port {}; it has {}",
                self.call.port,
                if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
            );
            return Ok(Err(Answer::refused(None, "-", why)));
        };
        let step = Step::new("listener", listener.config.name.clone())
            .detail(format!("port {} of the gateway", self.call.port))
            .from(self.gateway_origin(gateway, destination.port()));
        record.steps.push(step);
        let source = from.map_or(OUTSIDE, |from| from.address);
        let arrival = self.arrival(SocketAddr::new(source, PORT), destination);
        let hop = Hop { origins: self.origins(), configured: &configured, arrival: &arrival };
        match hop.take(&listener, record) {
            Ok(forward) => {
                let sender = Sender { party: gateway, configured, destination, service: None };
                self.send(&sender, &forward).map(Ok)
            }
            Err(answer) => Ok(Err(answer)),
        }
    }

    fn arrival(&self, source: SocketAddr, destination: SocketAddr) -> Arrival {
        let tls = self.call.is_tls();
        Arrival {
            destination,
            source,
            tls,
            server_name: self.call.sni.clone().filter(|_| tls),
            alpn: self.call.detected(),
            principals: Vec::new(),
            request: self.call.request.clone(),
        }
    }

    /// From a workload without a proxy: a Service's address leads to one of its endpoints.
    fn without_proxy(&self, party: &Party, record: &mut Record) -> anyhow::Result<Reached> {
        let proxy = party.proxy()?;
        let resolved = self.resolve(&proxy, &mut record.steps);
        let mut addresses = vec![SocketAddr::new(resolved.address, self.call.port)];
        if let Some(service) = &resolved.service {
            let name = format!("outbound|{}||{service}", self.call.port);
            let assignment = self.mesh.push.load_assignment(&proxy, &name);
            let localities = assignment.map(|one| one.localities).unwrap_or_default();
            let endpoints = localities.iter().flat_map(|locality| &locality.endpoints);
            let found: Vec<SocketAddr> = endpoints
                .filter_map(|endpoint| match endpoint.address {
                    xds::Address::Socket { ip, port } => Some(SocketAddr::new(ip, port)),
                    _ => None,
                })
                .collect();
            if found.is_empty() && self.mesh.at(resolved.address).is_none() {
                return Ok(Err(Answer::refused(None, "-", self.dead_address(service))));
            }
            if !found.is_empty() {
                addresses = found;
            }
        }
        record.steps.push(Step::new("transport", "no proxy beside the client: it connects itself"));
        let endpoints = addresses
            .into_iter()
            .take(FOLLOWED)
            .map(|address| {
                self.deliver(Delivery {
                    source: party,
                    address: Some(address),
                    shown: address.to_string(),
                    health: "unknown",
                    wire: Wire::new(self.call, None, None, false),
                    request: &self.call.request,
                    http: false,
                    not_used: None,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let answer = endpoints.first().map(|first| first.answer.clone());
        let answer = answer.unwrap_or_else(|| Answer::refused(None, "-", "there is no endpoint"));
        Ok(Ok(vec![Destination {
            cluster: DIRECT.to_owned(),
            subset: None,
            percent: 100.0,
            endpoints,
            answer,
            steps: Vec::new(),
        }]))
    }
}

fn heaviest(destinations: &[Destination]) -> Option<&Destination> {
    destinations.iter().reduce(|best, next| if next.percent > best.percent { next } else { best })
}

/// The end that most calls come to.
fn total(destinations: &[Destination]) -> Answer {
    let Some(first) = heaviest(destinations) else {
        return Answer::refused(None, "-", "no cluster has a weight");
    };
    let mut answer = first.answer.clone();
    let other = destinations.iter().find(|one| one.answer.served != answer.served);
    if let Some(other) = other {
        answer.reason += &format!(
            "; so for {:.0} % of calls, but {:.0} % go to {}: {}",
            first.percent, other.percent, other.cluster, other.answer.reason
        );
    }
    answer
}
