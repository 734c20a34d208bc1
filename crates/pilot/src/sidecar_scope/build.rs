//! Makes a scope: what each listener brings in, and then what its rules send calls to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use config::{
    Protocol, Sidecar,
    host::{self, CLUSTER_DOMAIN},
    networking::{self, CaptureMode, EgressListener},
};

use super::{Bind, EgressPort, EgressScope, Scoped, SidecarScope, hosts::Hosts};
use crate::{
    World,
    virtual_service::{ResolvedVirtualService, SidecarRules, VirtualServices},
    world::{Addressing, Item, Service},
};

/// What a scope is made from. `namespace` is the proxies'.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) world: &'a World,
    pub(super) virtual_services: &'a VirtualServices,
    pub(super) namespace: &'a str,
}

/// The services so far: positions in the world with the ports that are known (none: all).
#[derive(Default)]
struct Chosen {
    services: BTreeMap<usize, Option<BTreeSet<u16>>>,
    by_hostname: BTreeMap<String, usize>,
}

impl Chosen {
    fn add(&mut self, position: usize, service: &Service, port: Option<u16>) {
        self.by_hostname.entry(service.hostname.clone()).or_insert(position);
        let known = self.services.entry(position).or_insert_with(|| Some(BTreeSet::new()));
        match (port, known) {
            (Some(port), Some(ports)) => {
                ports.insert(port);
            }
            (Some(_), None) => {}
            (None, known) => *known = None,
        }
    }
}

impl Input<'_> {
    pub(super) fn build(self, sidecar: Option<&Arc<Item<Sidecar>>>) -> SidecarScope {
        let mut chosen = Chosen::default();
        let rules = self.virtual_services.for_sidecars(self.namespace);
        let written = sidecar.and_then(|item| item.spec.egress.as_deref());
        let listeners = match written {
            Some(written) if !written.is_empty() => written
                .iter()
                .map(|listener| {
                    let hosts = Hosts::new(&listener.hosts, self.namespace);
                    self.listener(&hosts, egress_port(listener), &rules, &mut chosen)
                })
                .collect(),
            _ => vec![self.listener(&Hosts::all(), None, &rules, &mut chosen)],
        };
        for listener in &listeners {
            self.import_destinations(listener, &mut chosen);
        }
        if let Some(item) = sidecar {
            self.import_egress_proxy(item, &mut chosen);
        }
        let services: Vec<Scoped> = chosen
            .services
            .into_iter()
            .filter_map(|(position, ports)| {
                Some(Scoped { service: Arc::clone(self.world.services.get(position)?), ports })
            })
            .collect();
        let by_hostname = services
            .iter()
            .enumerate()
            .map(|(index, scoped)| (scoped.service.hostname.clone(), index))
            .collect();
        SidecarScope { sidecar: sidecar.cloned(), services, by_hostname, listeners }
    }

    fn listener(
        self,
        hosts: &Hosts,
        port: Option<EgressPort>,
        rules: &[Arc<ResolvedVirtualService>],
        chosen: &mut Chosen,
    ) -> EgressScope {
        let wanted = port.as_ref().map(|port| port.number).filter(|number| *number != 0);
        let mut best: BTreeMap<&str, (usize, &Arc<Service>)> = BTreeMap::new();
        for (position, service) in self.world.services.iter().enumerate() {
            let fits = wanted.is_none_or(|number| service.port(number).is_some());
            if !fits
                || !service.visibility.includes(self.namespace)
                || !hosts.selects(&service.namespace, &service.hostname)
            {
                continue;
            }
            let entry = best.entry(&service.hostname).or_insert((position, service));
            if self.rank(service) < self.rank(entry.1) {
                *entry = (position, service);
            }
        }
        let mut services: Vec<(usize, Arc<Service>)> = Vec::new();
        for (position, service) in best.into_values() {
            // One host name stands for one service in all of a proxy's listeners.
            let known = chosen.by_hostname.get(&service.hostname);
            if known.is_some_and(|known| *known != position) {
                continue;
            }
            chosen.add(position, service, wanted);
            self.import_alias_target(service, chosen);
            services.push((position, Arc::clone(service)));
        }
        services.sort_by_key(|(position, _)| *position);
        let services: Vec<Arc<Service>> =
            services.into_iter().map(|(_, service)| service).collect();
        let by_hostname = services
            .iter()
            .enumerate()
            .map(|(index, service)| (service.hostname.clone(), index))
            .collect();
        let rules = rules.iter().filter(|rule| {
            let namespace = rule.item.meta.namespace.as_str();
            rule.hosts.iter().any(|name| hosts.selects(namespace, name))
        });
        let rules = SidecarRules::new(rules.cloned().collect());
        EgressScope { port, services, by_hostname, rules }
    }

    /// Of several services with one host name: the proxy's own namespace's, then Kubernetes' own,
    /// then the oldest.
    fn rank(self, service: &Service) -> (bool, bool) {
        (service.namespace != self.namespace, !service.is_kubernetes())
    }

    fn import_alias_target(self, service: &Service, chosen: &mut Chosen) {
        if let Addressing::Alias(target) = &service.addressing {
            self.import(target, None, chosen);
        }
    }

    /// Services that rules send calls to come along.
    fn import_destinations(self, listener: &EgressScope, chosen: &mut Chosen) {
        for rule in &listener.rules.rules {
            let mut import = |destination: &networking::Destination| {
                let host = rule.resolve_host(&destination.host);
                self.import(&host, destination.port.map(|port| port.number), chosen);
            };
            let spec = &rule.item.spec;
            for http in rule.http() {
                http.route.iter().for_each(|to| import(&to.destination));
                http.mirror.iter().for_each(&mut import);
                http.mirrors.iter().for_each(|mirror| import(&mirror.destination));
            }
            let tls = spec.tls.iter().flat_map(|route| &route.route);
            let tcp = spec.tcp.iter().flat_map(|route| &route.route);
            tls.chain(tcp).for_each(|to| import(&to.destination));
        }
    }

    fn import_egress_proxy(self, item: &Item<Sidecar>, chosen: &mut Chosen) {
        let policy = item.spec.outbound_traffic_policy.as_ref();
        if let Some(proxy) = policy.and_then(|policy| policy.egress_proxy.as_ref()) {
            let host = host::resolve_short_name(&proxy.host, &item.meta.namespace, CLUSTER_DOMAIN);
            self.import(&host, proxy.port.map(|port| port.number), chosen);
        }
    }

    /// The service of this name that is known already, else the own namespace's, else the first
    /// visible one by its namespace's name.
    fn import(self, hostname: &str, port: Option<u16>, chosen: &mut Chosen) {
        let known = chosen.by_hostname.get(hostname).copied();
        let visible = self.world.named(hostname).filter(|(position, service)| {
            known.is_none_or(|known| known == *position)
                && service.visibility.includes(self.namespace)
        });
        let best = visible.min_by_key(|(position, service)| {
            (service.namespace != self.namespace, service.namespace.clone(), *position)
        });
        let Some((position, service)) = best else { return };
        let is_new = known.is_none();
        chosen.add(position, service, port);
        if is_new {
            self.import_alias_target(service, chosen);
        }
    }
}

fn egress_port(listener: &EgressListener) -> Option<EgressPort> {
    let port = listener.port.as_ref()?;
    let bind = match listener.bind.strip_prefix("unix://") {
        Some(path) => Bind::Pipe(path.to_owned()),
        None => listener.bind.parse().map_or(Bind::Services, Bind::Ip),
    };
    let captured = listener.capture_mode != CaptureMode::None && !matches!(bind, Bind::Pipe(_));
    let bind = match bind {
        Bind::Services if !captured => Bind::Ip(std::net::Ipv4Addr::LOCALHOST.into()),
        bind => bind,
    };
    Some(EgressPort {
        number: port.number,
        protocol: Protocol::of_entry(&port.protocol).unwrap_or(Protocol::Auto),
        bind,
        captured,
    })
}
