//! PeerAuthentication: ports only with a selector.

use super::checks;
use crate::{report::Report, security::PeerAuthentication, yaml::Path};

pub(crate) fn check(pa: &PeerAuthentication, path: &Path<'_>, report: &mut Report<'_>) {
    let selected = pa.selector.as_ref().filter(|selector| !selector.match_labels.is_empty());
    if let Some(selector) = selected {
        checks::selector(
            &selector.match_labels,
            &path.field("selector").field("matchLabels"),
            report,
        );
    }
    let ports = path.field("portLevelMtls");
    if report.has(&ports) {
        if pa.port_level_mtls.is_empty() {
            report.error(&ports, "missing-field", "at least one port is needed");
        }
        if selected.is_none() {
            let message = "needs a selector: ports belong to workloads";
            report.error_help(&ports, "missing-field", message, "add selector.matchLabels");
        }
    }
    for port in pa.port_level_mtls.keys() {
        let name = port.to_string();
        checks::port(Some(*port), &ports.field(&name), report);
    }
}
