//! Names: what a client's resolver makes of a host, what it may have meant, and which port of a
//! gateway a caller from outside reaches.

use std::net::{IpAddr, Ipv4Addr};

use config::value::IntOrString;
use config::{Spec, label};
use pilot::Proxy;

use super::journey::{Miss, Origin, Step};
use super::travel::Travel;
use super::{miss, origin};
use crate::offline::Party;

/// Where names lead that only DNS outside of the mesh knows (RFC 5737).
pub(super) const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// How a step begins that found no Service.
const UNKNOWN: &str = "no Service is called";

/// What a name leads to.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) address: IpAddr,
    /// The full host name of the Service that the address belongs to.
    pub(super) service: Option<String>,
}

impl Travel<'_> {
    /// Looks the call's host up as the workload's resolver would: the name table of the DNS proxy
    /// with the pod's search path, else DNS outside.
    pub(super) fn resolve(&self, proxy: &Proxy, steps: &mut Vec<Step>) -> Resolved {
        let host = self.call.host.trim_end_matches('.').to_ascii_lowercase();
        let table = self.mesh.push.name_table(proxy).table;
        if let Ok(address) = host.parse::<IpAddr>() {
            let named = table.iter().find(|(_, info)| info.ips.contains(&address));
            let service = named.map(|(name, _)| name.clone());
            let of = service.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            steps.push(
                Step::new("name", format!("{address}{of}"))
                    .from(service.as_deref().and_then(|name| self.service_origin(name))),
            );
            return Resolved { address, service };
        }
        let own = &proxy.namespace;
        let searched = [
            host.clone(),
            format!("{host}.{own}.svc.cluster.local"),
            format!("{host}.svc.cluster.local"),
            format!("{host}.cluster.local"),
        ];
        let found = searched.iter().find_map(|name| {
            let address = table.get(name)?.ips.first().copied()?;
            Some((name.clone(), address))
        });
        if let Some((name, address)) = found {
            steps.push(
                Step::new("name", format!("{host} is {name}, {address}"))
                    .from(self.service_origin(&name)),
            );
            return Resolved { address, service: Some(name) };
        }
        let mut step = Step::new("name", format!("{UNKNOWN} {host}"))
            .detail("DNS outside of the mesh is asked; what follows is for any address it gives");
        step.passed_over = self.meant(&host, own, table.keys().map(String::as_str));
        steps.push(step);
        Resolved { address: ELSEWHERE, service: None }
    }

    /// Services with a similar name.
    fn meant<'n>(
        &self,
        host: &str,
        own: &str,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Vec<Miss> {
        let short = host.split('.').next().unwrap_or_default();
        let heads = names.clone().filter_map(|name| name.split('.').next());
        let near = miss::nearest(short, heads);
        let mut found: Vec<&str> = names
            .filter(|name| name.split('.').next().is_some_and(|head| near.contains(&head)))
            .collect();
        found.sort_by_key(|name| !name.contains(&format!(".{own}.")));
        found
            .into_iter()
            .take(3)
            .map(|name| {
                let same = name.split('.').next() == Some(short);
                let why = if same {
                    format!("it is in another namespace; from {own} it is not called {host}")
                } else {
                    format!("its name is similar to {host}")
                };
                Miss { name: name.to_owned(), why: vec![why], origin: self.service_origin(name) }
            })
            .collect()
    }

    /// Why the client does not even connect: a name without a dot, or one of the cluster's, that no
    /// Service has is no name for DNS outside either.
    pub(super) fn unresolved(&self, steps: &[Step]) -> Option<String> {
        let host = self.call.host.trim_end_matches('.').to_ascii_lowercase();
        let step = steps.first().filter(|step| step.stage == "name")?;
        let unknown = step.name.starts_with(UNKNOWN);
        let cluster = [".svc", ".svc.cluster.local"].iter().any(|end| host.ends_with(end));
        if !unknown || (host.contains('.') && !cluster) {
            return None;
        }
        let meant: Vec<&str> = step.passed_over.iter().map(|miss| miss.name.as_str()).collect();
        Some(match meant.as_slice() {
            [] => format!("the name {host} does not resolve: {UNKNOWN} {host}"),
            names => format!(
                "the name {host} does not resolve: {UNKNOWN} {host}; is {} meant?",
                names.join(" or ")
            ),
        })
    }

    fn service_origin(&self, host: &str) -> Option<Origin> {
        origin::at(self.origins().of_host(host)?, None)
    }

    /// Why nobody answers at a Service's virtual address.
    pub(super) fn dead_address(&self, service: &str) -> String {
        let port = self.call.port;
        let object = self.origins().of_host(service);
        let ports = object.map(|object| match &object.spec {
            Spec::Service(spec) => {
                spec.ports.iter().map(|port| port.port.to_string()).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        });
        match ports {
            Some(ports) if ports.contains(&port.to_string()) => {
                format!("no endpoint is behind port {port} of {service}")
            }
            Some(ports) if !ports.is_empty() => format!(
                "{service} has no port {port}, only {}; nobody answers at its virtual address",
                ports.join(", ")
            ),
            _ => format!("nobody answers at the virtual address of {service}"),
        }
    }

    /// The port of a gateway's pod behind the port of its Service that a caller names.
    pub(super) fn gateway_port(&self, gateway: &Party) -> Option<u16> {
        self.mesh.objects.iter().find_map(|object| {
            let Spec::Service(service) = &object.spec else { return None };
            let selects = object.meta.namespace == gateway.namespace
                && !service.selector.is_empty()
                && label::selects(&service.selector, &gateway.labels);
            let port = service.ports.iter().find(|port| port.port == self.call.port)?;
            match (selects, &port.target_port) {
                (false, _) => None,
                (true, Some(IntOrString::Int(number))) if *number != 0 => {
                    u16::try_from(*number).ok()
                }
                (true, _) => Some(port.port),
            }
        })
    }

    /// The Gateway that asks for a port.
    pub(super) fn gateway_origin(&self, gateway: &Party, target: u16) -> Option<Origin> {
        let port = self.call.port;
        self.mesh.objects.iter().find_map(|object| {
            let Spec::Gateway(spec) = &object.spec else { return None };
            if !label::selects(&spec.selector, &gateway.labels) {
                return None;
            }
            let server = spec.servers.iter().position(|server| {
                let number = server.port.as_ref().map(|port| port.number);
                number == Some(port) || number == Some(target)
            })?;
            origin::at(object, Some(&format!("spec.servers[{server}]")))
        })
    }
}
