//! The task that owns the configuration: it speaks with the control plane and the agent, and
//! publishes what is warm after each message.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tokio::{sync::mpsc, time::Instant};
use xds::{
    ResourceType, SecretServer,
    session::{Client, ClientUpdate, Interest},
};

use super::{
    dns::Resolvers,
    link::{self, Event, Service},
    sockets::Sockets,
    store::{Refused, Store},
};
use crate::{InheritedListener, ServiceAddress, shared::Shared};

/// How often waiting resources are looked at again.
const TICK: Duration = Duration::from_millis(250);

/// What the task is started with.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ads: ServiceAddress,
    pub(crate) sds: Option<ServiceAddress>,
    pub(crate) inherited: Vec<InheritedListener>,
}

/// One end of a stream, with its session.
struct Session {
    service: Service,
    client: Client,
    requests: Option<mpsc::UnboundedSender<DeltaDiscoveryRequest>>,
}

impl Session {
    fn new(service: Service, node: xds::Node) -> Self {
        Self { service, client: Client::new(node), requests: None }
    }

    fn on_event(&mut self, event: Event, store: &mut Store, shared: &Shared) {
        match event {
            Event::Opened(requests) => {
                self.client.reconnect();
                self.requests = Some(requests);
            }
            Event::Closed => {
                if self.service == Service::Ads && self.requests.is_some() {
                    shared.registry.server.control_plane_connected.set(0);
                    shared.registry.server.control_plane_failures.inc();
                }
                self.requests = None;
            }
            Event::Response(response) => {
                if self.service == Service::Ads {
                    shared.registry.server.control_plane_connected.set(1);
                }
                let update = self.client.on_response(*response);
                self.take(&update, store, shared);
            }
        }
    }

    fn take(&mut self, update: &ClientUpdate, store: &mut Store, shared: &Shared) {
        let Some(kind) = ResourceType::from_type_url(&update.type_url) else {
            self.client.nack(update, format!("{} was not asked for", update.type_url));
            return;
        };
        let server = match self.service {
            Service::Ads => SecretServer::Ads,
            Service::Sds => SecretServer::Cluster(String::new()),
        };
        let refused = store.apply(kind, &update.updated, &update.removed, Some(&server));
        if refused.is_empty() {
            self.client.ack(update);
        } else {
            let names: BTreeSet<String> = refused.keys().cloned().collect();
            self.client.nack_some(update, &names, describe(&refused));
        }
        if let Some(accepted) = self.client.accepted(&update.type_url) {
            for (name, _) in &update.updated {
                if let Some(version) = accepted.get(name) {
                    shared.dump.set_version(kind, name, version);
                }
            }
        }
    }

    fn want(&mut self, kind: ResourceType, names: BTreeSet<String>) {
        let known = self.client.wanted(kind.type_url());
        if known.is_some_and(|wanted| *wanted.names() == names)
            || (known.is_none() && names.is_empty())
        {
            return;
        }
        self.client.subscribe(kind.type_url(), Interest::Names(names));
    }

    fn flush(&mut self) {
        let Some(requests) = &self.requests else { return };
        while let Some(request) = self.client.next_request() {
            if requests.send(request).is_err() {
                // The stream is gone; `Closed` comes next.
                return;
            }
        }
    }
}

/// The refusals in one text, each with its resource's name.
fn describe(refused: &Refused) -> String {
    let lines: Vec<String> = refused
        .iter()
        .map(|(name, problem)| {
            if problem.contains(name.as_str()) {
                problem.clone()
            } else {
                format!("{name}: {problem}")
            }
        })
        .collect();
    lines.join("; ")
}

/// Runs until the proxy is shut down.
pub(crate) async fn run(inputs: Inputs) {
    let Inputs { shared, ads, sds, inherited } = inputs;
    let (resolvers, mut resolved) = Resolvers::new();
    let mut store = Store::new(Arc::clone(&shared), resolvers, Sockets::new(inherited));
    let mut ads_events = link::start(Service::Ads, ads);
    let mut sds_events = sds.map(|sds| link::start(Service::Sds, sds));
    let mut ads = Session::new(Service::Ads, shared.node.clone());
    let mut sds = Session::new(Service::Sds, shared.node.clone());
    ads.client.subscribe(ResourceType::Cluster.type_url(), Interest::Wildcard);
    ads.client.subscribe(ResourceType::Listener.type_url(), Interest::Wildcard);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut swept = Instant::now();
    let mut draining = std::pin::pin!(drained(&shared));
    let mut closed = false;
    loop {
        tokio::select! {
            () = shared.handle.shutdown_token().cancelled() => return,
            Some(event) = ads_events.recv() => ads.on_event(event, &mut store, &shared),
            Some(event) = next(&mut sds_events) => sds.on_event(event, &mut store, &shared),
            Some((cluster, hosts)) = resolved.recv() => store.put_resolved(cluster, hosts),
            () = shared.secrets.added() => {}
            () = &mut draining, if !closed => {
                closed = true;
                store.close();
            }
            _ = tick.tick() => {
                if swept.elapsed() >= Duration::from_secs(1) {
                    swept = Instant::now();
                    store.sweep();
                }
            }
        }
        store.publish();
        let secrets = secret_names(&shared);
        ads.want(ResourceType::LoadAssignment, store.names(ResourceType::LoadAssignment));
        ads.want(ResourceType::RouteConfiguration, store.names(ResourceType::RouteConfiguration));
        ads.want(ResourceType::Secret, secrets.0);
        sds.want(ResourceType::Secret, secrets.1);
        ads.flush();
        sds.flush();
    }
}

async fn next(events: &mut Option<mpsc::Receiver<Event>>) -> Option<Event> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits until a drain's time is over.
async fn drained(shared: &Shared) {
    shared.handle.drain_flag().wait().await;
    tokio::time::sleep(shared.drain_time).await;
}

/// Names of secrets: of the control plane's, and of the agent's.
fn secret_names(shared: &Shared) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut names = (BTreeSet::new(), BTreeSet::new());
    for slot in shared.secrets.all() {
        let name = slot.source().name.clone();
        match slot.source().server {
            SecretServer::Ads => names.0.insert(name),
            SecretServer::Cluster(_) => names.1.insert(name),
        };
    }
    names
}
