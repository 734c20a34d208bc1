//! Gateways: which servers a gateway proxy serves, merged by port. The oldest Gateway's server
//! decides what a port speaks; later ones that do not fit are left out.

use std::collections::BTreeMap;

use config::{
    Gateway, Protocol, label,
    networking::{Port, Server, ServerTlsMode, ServerTlsSettings},
};
use xds::{
    CertificateValidation, DownstreamTls, SecretSource, TlsContext, TlsParams, TlsVersion,
    TrustedCa,
};

use crate::{Proxy, PushContext, World, listener::target_ports, tls, world::Item};

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
    pub(crate) server: &'a Server,
    pub(crate) port: &'a Port,
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
    /// Certificates from Secrets.
    Credential,
    /// A TLS mode.
    Mode,
    /// TLS that is terminated with something else than HTTP inside.
    TerminatedTcp,
    /// An address to bind.
    Bind,
    /// No port, or a protocol that nobody knows.
    Port,
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

    /// Whether TLS is ended here and HTTP is inside.
    pub(crate) fn terminates(&self) -> bool {
        !matches!(self.mode(), ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough)
    }

    fn mode(&self) -> ServerTlsMode {
        self.server.tls.as_ref().map(|tls| tls.mode).unwrap_or_default()
    }

    /// The name of the routes of an HTTPS server on the port `listener_port`.
    pub(crate) fn https_routes(&self, listener_port: u16) -> String {
        let meta = &self.gateway.meta;
        format!("https.{listener_port}.{}.{}.{}", self.port.name, meta.name, meta.namespace)
    }

    /// The TLS that is ended here; none where the certificates cannot be had.
    pub(crate) fn downstream_tls(&self, world: &World) -> Option<DownstreamTls> {
        let settings = self.server.tls.as_ref()?;
        if settings.mode == ServerTlsMode::IstioMutual {
            return Some(tls::mesh_server(&world.trust_domains(), &["h2", "http/1.1"]));
        }
        file_tls(settings)
    }
}

/// `namespace/host`; without a namespace it is any.
fn split_host(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("*", text))
}

/// TLS with certificates from files, which the agent serves.
fn file_tls(settings: &ServerTlsSettings) -> Option<DownstreamTls> {
    if settings.server_certificate.is_empty() || settings.private_key.is_empty() {
        return None;
    }
    let mutual = settings.mode == ServerTlsMode::Mutual;
    let certificate = format!("file-cert:{}~{}", settings.server_certificate, settings.private_key);
    let ca = &settings.ca_certificates;
    let version = |version, default| match version {
        config::networking::TlsProtocol::Auto => default,
        config::networking::TlsProtocol::V1_0 => TlsVersion::V1_0,
        config::networking::TlsProtocol::V1_1 => TlsVersion::V1_1,
        config::networking::TlsProtocol::V1_2 => TlsVersion::V1_2,
        config::networking::TlsProtocol::V1_3 => TlsVersion::V1_3,
    };
    Some(DownstreamTls {
        common: TlsContext {
            params: TlsParams {
                min_version: Some(version(settings.min_protocol_version, TlsVersion::V1_2)),
                max_version: Some(version(settings.max_protocol_version, TlsVersion::V1_3)),
                cipher_suites: settings.cipher_suites.clone(),
            },
            certificates: vec![SecretSource::agent(certificate)],
            validation: mutual.then(|| CertificateValidation {
                trusted_ca: TrustedCa::Secret(SecretSource::agent(format!("file-root:{ca}"))),
                match_subject_alt_names: settings
                    .subject_alt_names
                    .iter()
                    .map(|name| tls::any_name(name))
                    .collect(),
            }),
            alpn: tls::names(&["h2", "http/1.1"]),
        },
        require_client_certificate: mutual,
    })
}

/// What a server's port speaks, or why it is not served.
pub(crate) fn class(server: &Server) -> Result<PortClass, Unserved> {
    let port = server.port.as_ref().ok_or(Unserved::Port)?;
    let protocol = Protocol::of_gateway(&port.protocol).ok_or(Unserved::Port)?;
    if !server.bind.is_empty() && server.bind != "0.0.0.0" {
        return Err(Unserved::Bind);
    }
    if protocol.is_http() {
        return Ok(PortClass::Http);
    }
    if !protocol.is_tls() {
        return Ok(PortClass::Tcp);
    }
    let settings = server.tls.as_ref();
    match settings.map(|tls| tls.mode).unwrap_or_default() {
        ServerTlsMode::Passthrough => Ok(PortClass::Tls),
        ServerTlsMode::AutoPassthrough | ServerTlsMode::OptionalMutual => Err(Unserved::Mode),
        _ if protocol == Protocol::Tls => Err(Unserved::TerminatedTcp),
        ServerTlsMode::IstioMutual => Ok(PortClass::Tls),
        ServerTlsMode::Simple | ServerTlsMode::Mutual => match settings.and_then(file_tls) {
            Some(_) => Ok(PortClass::Tls),
            None => Err(Unserved::Credential),
        },
    }
}

/// The ports that a gateway proxy listens on, by number.
pub(crate) fn served_ports<'a>(
    push: &'a PushContext,
    proxy: &Proxy,
) -> BTreeMap<u16, ServedPort<'a>> {
    let targets = target_ports(&push.world, proxy);
    let translate =
        !proxy.labels.contains_key("experimental.istio.io/disable-gateway-port-translation");
    let listener_port = |number: u16| {
        let target = targets.iter().find(|(_, _, port)| port.port == number);
        target.filter(|_| translate).map_or(number, |(target, _, _)| *target)
    };
    let mut ports: BTreeMap<u16, ServedPort<'a>> = BTreeMap::new();
    let selected = push
        .world
        .gateways
        .iter()
        .filter(|item| label::selects(&item.spec.selector, &proxy.labels));
    for gateway in selected {
        for server in &gateway.spec.servers {
            let (Ok(class), Some(port)) = (class(server), &server.port) else { continue };
            let served = ports
                .entry(listener_port(port.number))
                .or_insert_with(|| ServedPort { class, servers: Vec::new() });
            if served.class == class && (class != PortClass::Tcp || served.servers.is_empty()) {
                served.servers.push(ServedServer { gateway, server, port });
            }
        }
    }
    ports.retain(|port, _| *port >= 1024 || !proxy.is_unprivileged());
    ports
}
