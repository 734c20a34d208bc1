//! DestinationRules whose TLS settings a STRICT PeerAuthentication refuses.

use super::{Findings, world::World};
use crate::{
    DestinationRule, Object,
    host::{self, CLUSTER_DOMAIN},
    networking::{ClientTlsMode, ClientTlsSettings},
    security::MutualTlsMode,
    yaml::Path,
};

pub(super) fn check(
    object: &Object,
    rule: &DestinationRule,
    world: &World<'_>,
    findings: &mut Findings,
) {
    let full = host::resolve_short_name(&rule.host, &object.meta.namespace, CLUSTER_DOMAIN);
    let Some((meta, _)) = world.services.get(&full) else { return };
    if !world.is_strict(&meta.namespace) {
        return;
    }
    let spec = Path::Root.field("spec");
    if let Some(policy) = &rule.traffic_policy {
        let path = spec.field("trafficPolicy");
        tls(object, policy.tls.as_ref(), &full, &path, findings);
        let list = path.field("portLevelSettings");
        for (index, settings) in policy.port_level_settings.iter().enumerate() {
            tls(object, settings.tls.as_ref(), &full, &list.index(index), findings);
        }
    }
    let list = spec.field("subsets");
    for (index, subset) in rule.subsets.iter().enumerate() {
        let path = list.index(index);
        if let Some(policy) = &subset.traffic_policy {
            let path = path.field("trafficPolicy");
            tls(object, policy.tls.as_ref(), &full, &path, findings);
        }
    }
}

fn tls(
    object: &Object,
    settings: Option<&ClientTlsSettings>,
    host: &str,
    path: &Path<'_>,
    findings: &mut Findings,
) {
    let Some(settings) = settings.filter(|tls| tls.mode != ClientTlsMode::IstioMutual) else {
        return;
    };
    let how = match settings.mode {
        ClientTlsMode::Disable => "plaintext",
        _ => "TLS without the mesh's certificates",
    };
    let message =
        format!("calls to {host} would use {how}, which its PeerAuthentication (STRICT) refuses");
    let help = Some("remove tls, or write ISTIO_MUTUAL".to_owned());
    let path = path.field("tls");
    findings.warning((object, &path.field("mode")), "mtls-conflict", message, help);
}

impl World<'_> {
    /// Whether the policies for whole namespaces and for the mesh ask for mutual TLS there.
    /// Policies for single workloads are not looked at.
    fn is_strict(&self, namespace: &str) -> bool {
        let mode = |of: &str| self.peer_modes.get(of).copied().unwrap_or_default();
        match mode(namespace) {
            MutualTlsMode::Unset => mode(&self.mesh.root_namespace) == MutualTlsMode::Strict,
            mode => mode == MutualTlsMode::Strict,
        }
    }
}
