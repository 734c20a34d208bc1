//! TLS of outbound clusters: what a DestinationRule asks for, else the mesh's own by what each
//! endpoint takes.

use std::collections::BTreeMap;

use config::networking::{ClientTlsMode, ClientTlsSettings};
use xds::{Cluster, Discovery, TransportSocketMatch, TrustedCa, UpstreamHttpProtocol, UpstreamTls};

use super::{OutboundName, outbound::Target};
use crate::{
    gateway::credential,
    peer_authentication::MtlsMode,
    tls::{self, ClientAlpn, ClientSecrets},
};

/// Sets the cluster's transport. Returns whether it is TLS that the user chose, of which Istio's
/// ALPN filter must keep its hands off.
pub(super) fn apply(
    cluster: &mut Cluster,
    target: Target<'_>,
    name: OutboundName<'_>,
    settings: Option<&ClientTlsSettings>,
) -> bool {
    let http2 = cluster.http.protocol == UpstreamHttpProtocol::Http2;
    match settings {
        None => {
            apply_automatic(cluster, target, name, http2);
            false
        }
        Some(settings) => match settings.mode {
            ClientTlsMode::Disable => false,
            ClientTlsMode::IstioMutual => {
                let sni = match settings.sni.as_str() {
                    "" => name.sni(),
                    sni => sni.to_owned(),
                };
                let sans = &settings.subject_alt_names;
                let identities = if sans.is_empty() { target.identities() } else { sans };
                cluster.transport_socket = Some(target.mesh_tls(&sni, identities, http2));
                false
            }
            ClientTlsMode::Simple | ClientTlsMode::Mutual => {
                apply_external(cluster, target, settings, http2);
                true
            }
        },
    }
}

/// Mesh TLS to endpoints that say they take it, plaintext to the others.
fn apply_automatic(cluster: &mut Cluster, target: Target<'_>, name: OutboundName<'_>, http2: bool) {
    let push = target.push;
    if !push.world.mesh.enable_auto_mtls
        || target.service.external
        || push.peer_authentications.namespace(&target.service.namespace) == MtlsMode::Disable
    {
        return;
    }
    let tls = target.mesh_tls(&name.sni(), target.identities(), http2);
    if cluster.discovery == Discovery::OriginalDst {
        // There is no endpoint metadata to go by: all endpoints take it or none is sent it.
        let endpoints = push.world.endpoints(target.service);
        let mut endpoints = endpoints.iter().filter(|e| e.port_name == target.port.name).peekable();
        if endpoints.peek().is_some() && endpoints.all(|endpoint| push.takes_mtls(endpoint)) {
            cluster.transport_socket = Some(tls);
        }
        return;
    }
    cluster.transport_socket_matches = vec![
        TransportSocketMatch {
            name: "tlsMode-istio".to_owned(),
            criteria: BTreeMap::from([("tlsMode".to_owned(), "istio".to_owned())]),
            transport_socket: Some(tls),
        },
        TransportSocketMatch {
            name: "tlsMode-disabled".to_owned(),
            criteria: BTreeMap::new(),
            transport_socket: None,
        },
    ];
}

/// SIMPLE and MUTUAL. Without names to expect, those of the ServiceEntry count; without those, and
/// without a server name, both come from the request's host.
fn apply_external(
    cluster: &mut Cluster,
    target: Target<'_>,
    settings: &ClientTlsSettings,
    http2: bool,
) {
    let expected = match settings.subject_alt_names.as_slice() {
        [] => &target.service.subject_alt_names,
        names => names,
    };
    let mut tls = tls::external_client(&settings.sni, target.secrets(settings), expected, http2);
    let skip = settings.insecure_skip_verify == Some(true);
    if skip && let Some(validation) = &mut tls.common.validation {
        validation.trusted_ca = TrustedCa::Unverified;
        validation.match_subject_alt_names.clear();
    }
    let by_host = settings.sni.is_empty();
    cluster.http.auto_sni = by_host;
    cluster.http.auto_san_validation = by_host && expected.is_empty() && !skip;
    cluster.transport_socket = Some(tls);
}

impl<'a> Target<'a> {
    /// Certificates from Secrets where the proxy may have them (a gateway, or a sidecar that the
    /// rule selects), else from files.
    fn secrets(self, settings: &ClientTlsSettings) -> ClientSecrets {
        let mutual = settings.mode == ClientTlsMode::Mutual;
        let selected = self.rule.is_some_and(|rule| rule.item.spec.workload_selector.is_some());
        let name = settings.credential_name.as_str();
        if !name.is_empty()
            && (self.proxy.is_router() || selected)
            && let Some(ca) = credential::ca_source(name)
        {
            let certificate = mutual.then(|| credential::source(name)).flatten();
            return ClientSecrets { certificate, ca: TrustedCa::Secret(ca) };
        }
        let (certificate, key) = if mutual {
            (settings.client_certificate.as_str(), settings.private_key.as_str())
        } else {
            ("", "")
        };
        ClientSecrets::files(certificate, key, &settings.ca_certificates)
    }

    /// The identities of the service's workloads.
    fn identities(self) -> &'a [String] {
        self.push.identities(self.service)
    }

    fn mesh_tls(self, sni: &str, identities: &[String], http2: bool) -> UpstreamTls {
        let exchange = self.proxy.has_metadata_exchange();
        tls::mesh_client(sni, identities, ClientAlpn { http2, exchange })
    }
}
