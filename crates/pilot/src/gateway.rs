//! Gateways: which servers a gateway proxy serves, merged by port and address. The oldest Gateway's
//! server decides what a port speaks; later ones that do not fit are left out, and told.

pub(crate) mod credential;
mod tls;

use std::{collections::BTreeMap, net::IpAddr};

use config::{
    Gateway, Protocol, label,
    networking::{Port, Server, ServerTlsMode},
};
use xds::DownstreamTls;

pub(crate) use tls::CIPHER_SUITES;

use crate::{Proxy, PushContext, World, listener::target_ports, world::Item};

/// What a port of a gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortClass {
    /// HTTP in the clear.
    Http,
    /// TLS, terminated or passed through by server name.
    Tls,
    /// Bytes.
    Tcp,
}

/// One server of a Gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServedServer<'a> {
    pub(crate) gateway: &'a Item<Gateway>,
    /// Its place among the Gateway's servers.
    pub(crate) index: usize,
    pub(crate) server: &'a Server,
    pub(crate) port: &'a Port,
}

/// Where a gateway listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bind {
    /// The port of the gateway's pod.
    pub(crate) port: u16,
    /// The address; none: all of them.
    pub(crate) ip: Option<IpAddr>,
}

/// A port that a gateway proxy listens on.
#[derive(Debug)]
pub(crate) struct ServedPort<'a> {
    pub(crate) class: PortClass,
    pub(crate) servers: Vec<ServedServer<'a>>,
}

/// Why a server is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// Certificates from a place that is not known.
    Credential,
    /// Checks of client certificates that are not made: without them it would let in too many.
    ClientCheck,
    /// An address to bind that is no IP address.
    Bind,
    /// No port, or a protocol that nobody knows.
    Port,
}

/// Why a server that could be served gives way to an older one, `namespace/name` of its Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The port speaks something else.
    Protocol(String),
    /// The port forwards bytes already.
    Bytes(String),
    /// The port has the server name already.
    Host(String, String),
}

/// All servers of some Gateways, by where they listen.
#[derive(Debug, Default)]
pub(crate) struct Merged<'a> {
    pub(crate) ports: BTreeMap<Bind, ServedPort<'a>>,
    pub(crate) conflicts: Vec<(ServedServer<'a>, Conflict)>,
}

impl Bind {
    /// `.address` at the end of names, where it is not all addresses.
    fn suffix(self) -> String {
        self.ip.map(|ip| format!(".{ip}")).unwrap_or_default()
    }

    /// The name of the routes of all plaintext servers.
    pub(crate) fn http_routes(self) -> String {
        format!("http.{}{}", self.port, self.suffix())
    }
}

impl<'a> ServedServer<'a> {
    /// The host names, without the namespaces before them.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.server.hosts.iter().map(|text| split_host(text).1)
    }

    /// The name that two hosts have in common, for a VirtualService in `namespace` with `host`.
    pub(crate) fn common_hosts(
        &self,
        namespace: &'a str,
        host: &'a str,
    ) -> impl Iterator<Item = String> {
        let own = self.gateway.meta.namespace.as_str();
        self.server.hosts.iter().filter_map(move |text| {
            let (wanted, name) = split_host(text);
            let visible = match wanted {
                "*" => true,
                "." => namespace == own,
                wanted => wanted == namespace,
            };
            if !visible {
                return None;
            }
            if config::host::covers(name, host) {
                Some(host.to_ascii_lowercase())
            } else {
                config::host::covers(host, name).then(|| name.to_ascii_lowercase())
            }
        })
    }

    /// Whether TLS is ended here.
    pub(crate) fn terminates(&self) -> bool {
        !matches!(self.mode(), ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough)
    }

    /// Whether there is HTTP inside of the TLS that is ended here.
    pub(crate) fn has_http(&self) -> bool {
        self.terminates()
            && Protocol::of_gateway(&self.port.protocol).is_some_and(|p| p == Protocol::Https)
    }

    pub(crate) fn mode(&self) -> ServerTlsMode {
        self.server.tls.as_ref().map(|tls| tls.mode).unwrap_or_default()
    }

    /// The name of the routes of an HTTPS server that listens at `bind`.
    pub(crate) fn https_routes(&self, bind: Bind) -> String {
        let (meta, port) = (&self.gateway.meta, bind.port);
        let name = &self.port.name;
        format!("https.{port}.{name}.{}.{}{}", meta.name, meta.namespace, bind.suffix())
    }

    /// The TLS that is ended here; none where the certificates cannot be had.
    pub(crate) fn downstream_tls(&self, world: &World) -> Option<DownstreamTls> {
        let settings = self.server.tls.as_ref()?;
        if settings.mode == ServerTlsMode::IstioMutual {
            return Some(tls::mesh(settings, world));
        }
        tls::terminated(settings)
    }
}

/// `namespace/host`; without a namespace it is any.
fn split_host(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("*", text))
}

/// The address that a server binds; an error where it is none.
fn bind_address(server: &Server) -> Result<Option<IpAddr>, Unserved> {
    if server.bind.is_empty() {
        return Ok(None);
    }
    let ip: IpAddr = server.bind.parse().map_err(|_| Unserved::Bind)?;
    Ok(Some(ip).filter(|ip| !ip.is_unspecified()))
}

/// What a server's port speaks, or why it is not served.
pub(crate) fn class(server: &Server) -> Result<PortClass, Unserved> {
    let port = server.port.as_ref().ok_or(Unserved::Port)?;
    let protocol = Protocol::of_gateway(&port.protocol).ok_or(Unserved::Port)?;
    bind_address(server)?;
    if protocol.is_http() {
        return Ok(PortClass::Http);
    }
    if !protocol.is_tls() {
        return Ok(PortClass::Tcp);
    }
    let Some(settings) = &server.tls else { return Ok(PortClass::Tls) };
    match settings.mode {
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => Ok(PortClass::Tls),
        mode => {
            let asks = mode != ServerTlsMode::Simple;
            if asks && tls::has_unsupported_checks(settings) {
                return Err(Unserved::ClientCheck);
            }
            let usable = mode == ServerTlsMode::IstioMutual || tls::terminated(settings).is_some();
            if usable { Ok(PortClass::Tls) } else { Err(Unserved::Credential) }
        }
    }
}

/// Joins the servers of Gateways, oldest first. `listener_port` tells the pod's port of a Service
/// port.
pub(crate) fn merge<'a>(
    gateways: impl IntoIterator<Item = &'a Item<Gateway>>,
    listener_port: impl Fn(u16) -> u16,
) -> Merged<'a> {
    let mut merged = Merged::default();
    for gateway in gateways {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let (Ok(class), Some(port), Ok(ip)) =
                (class(server), &server.port, bind_address(server))
            else {
                continue;
            };
            let bind = Bind { port: listener_port(port.number), ip };
            merged.add(bind, class, ServedServer { gateway, index, server, port });
        }
    }
    merged
}

impl<'a> Merged<'a> {
    fn add(&mut self, bind: Bind, class: PortClass, server: ServedServer<'a>) {
        let served =
            self.ports.entry(bind).or_insert_with(|| ServedPort { class, servers: Vec::new() });
        match served.conflict(class, &server) {
            Some(conflict) => self.conflicts.push((server, conflict)),
            None => served.servers.push(server),
        }
    }
}

impl ServedPort<'_> {
    /// Why a later server cannot join.
    fn conflict(&self, class: PortClass, server: &ServedServer<'_>) -> Option<Conflict> {
        let first = self.servers.first()?;
        let owner = first.gateway.qualified_name();
        if self.class != class {
            return Some(Conflict::Protocol(owner));
        }
        match class {
            PortClass::Http => None,
            PortClass::Tcp => Some(Conflict::Bytes(owner)),
            PortClass::Tls => self.servers.iter().find_map(|older| {
                let taken = |host: &&str| older.hosts().any(|o| o.eq_ignore_ascii_case(host));
                let host = server.hosts().find(taken)?;
                Some(Conflict::Host(host.to_owned(), older.gateway.qualified_name()))
            }),
        }
    }
}

/// The ports that a gateway proxy listens on.
pub(crate) fn served_ports<'a>(
    push: &'a PushContext,
    proxy: &Proxy,
) -> BTreeMap<Bind, ServedPort<'a>> {
    let targets = target_ports(&push.world, proxy);
    let translate =
        !proxy.labels.contains_key("experimental.istio.io/disable-gateway-port-translation");
    let listener_port = |number: u16| {
        let target = targets.iter().find(|(_, _, port)| port.port == number);
        target.filter(|_| translate).map_or(number, |(target, _, _)| *target)
    };
    let gateways = push.world.gateways.iter().map(AsRef::as_ref);
    let selected = gateways.filter(|item| label::selects(&item.spec.selector, &proxy.labels));
    let mut ports = merge(selected, listener_port).ports;
    ports.retain(|bind, _| bind.port >= 1024 || !proxy.is_unprivileged());
    ports
}

/// The servers that forward mesh TLS by the cluster that its server name spells.
pub(crate) fn auto_passthrough<'a>(push: &'a PushContext, proxy: &Proxy) -> Vec<ServedServer<'a>> {
    let ports = served_ports(push, proxy).into_values();
    let servers = ports.flat_map(|served| served.servers);
    servers.filter(|server| server.mode() == ServerTlsMode::AutoPassthrough).collect()
}
