//! DestinationRule: subsets, and policies that say something and do not contradict themselves.

use super::{checks, load_balancer, names};
use crate::{
    ObjectMeta,
    networking::{
        ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, DestinationRule,
        OutlierDetection, PortTrafficPolicy, TrafficPolicy,
    },
    report::Report,
    yaml::{Path, excerpt},
};

pub(crate) fn check(
    rule: &DestinationRule,
    meta: &ObjectMeta,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    names::host(&rule.host, true, &path.field("host"), report);
    if let Some(policy) = &rule.traffic_policy {
        traffic_policy(policy, &path.field("trafficPolicy"), report);
    }
    let list = path.field("subsets");
    let repeated = checks::repeated(rule.subsets.iter().map(|subset| &subset.name));
    for (index, subset) in rule.subsets.iter().enumerate() {
        let path = list.index(index);
        names::dns_subdomain(&subset.name, &path.field("name"), report);
        names::labels(&subset.labels, &path.field("labels"), report);
        if repeated[index] {
            let message = format!("the subset \"{}\" is there twice", excerpt(&subset.name));
            report.error(&path.field("name"), "duplicate-subset", message);
        }
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(policy, &path.field("trafficPolicy"), report);
        }
    }
    checks::export_to(&rule.export_to, path, report);
    if let Some(selector) = &rule.workload_selector {
        checks::selector(
            &selector.match_labels,
            &path.field("workloadSelector").field("matchLabels"),
            report,
        );
        let only_own = rule.export_to.iter().all(|to| to == "." || *to == meta.namespace);
        if !only_own {
            let message = "with a workloadSelector the rule is for its own namespace only";
            report.error_help(
                &path.field("exportTo"),
                "invalid-export-to",
                message,
                "write exportTo: [\".\"]",
            );
        }
    }
}

fn traffic_policy(policy: &TrafficPolicy, path: &Path<'_>, report: &mut Report<'_>) {
    if *policy == TrafficPolicy::default() {
        report.error(path, "empty-policy", "the policy says nothing");
    }
    let general = PortTrafficPolicy {
        port: None,
        load_balancer: policy.load_balancer.clone(),
        connection_pool: policy.connection_pool.clone(),
        outlier_detection: policy.outlier_detection.clone(),
        tls: policy.tls.clone(),
    };
    blocks(&general, path, report);
    let list = path.field("portLevelSettings");
    let ports = policy.port_level_settings.iter().map(|settings| settings.port);
    let repeated = checks::repeated(ports.map(|port| port.map(|port| port.number)));
    for (index, port_policy) in policy.port_level_settings.iter().enumerate() {
        let path = list.index(index);
        let number = port_policy.port.map(|port| port.number);
        match number {
            None => report.error(&path, "missing-field", "the port is missing"),
            Some(number) => {
                let path = path.field("port");
                let path = path.field("number");
                checks::port(Some(number), &path, report);
                if repeated[index] {
                    report.error(&path, "duplicate-port", format!("{number} is there twice"));
                }
            }
        }
        let nothing = PortTrafficPolicy { port: port_policy.port, ..PortTrafficPolicy::default() };
        if *port_policy == nothing {
            report.error(&path, "empty-policy", "the policy says nothing about the port");
        }
        blocks(port_policy, &path, report);
    }
    if let Some(tunnel) = &policy.tunnel {
        let path = path.field("tunnel");
        if !matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST") {
            report.error(&path.field("protocol"), "invalid-value", "must be CONNECT or POST");
        }
        names::host(&tunnel.target_host, true, &path.field("targetHost"), report);
        checks::port(Some(tunnel.target_port), &path.field("targetPort"), report);
    }
}

fn blocks(policy: &PortTrafficPolicy, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(value) = &policy.load_balancer {
        let detects = policy.outlier_detection.is_some();
        load_balancer::check(value, detects, &path.field("loadBalancer"), report);
    }
    if let Some(value) = &policy.connection_pool {
        connection_pool(value, &path.field("connectionPool"), report);
    }
    if let Some(value) = &policy.outlier_detection {
        outlier_detection(value, &path.field("outlierDetection"), report);
    }
    if let Some(value) = &policy.tls {
        tls(value, &path.field("tls"), report);
    }
}

pub(super) fn connection_pool(
    value: &ConnectionPoolSettings,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if value.tcp.is_none() && value.http.is_none() {
        report.error(path, "empty-policy", "one of tcp and http is needed");
    }
    if let Some(tcp) = &value.tcp {
        let path = path.field("tcp");
        checks::at_least_1ms(tcp.connect_timeout, &path.field("connectTimeout"), report);
        checks::at_least_1ms(
            tcp.max_connection_duration,
            &path.field("maxConnectionDuration"),
            report,
        );
        checks::zero_or_1ms(tcp.idle_timeout, &path.field("idleTimeout"), report);
        if let Some(keepalive) = &tcp.tcp_keepalive {
            let path = path.field("tcpKeepalive");
            checks::at_least_1ms(keepalive.time, &path.field("time"), report);
            checks::at_least_1ms(keepalive.interval, &path.field("interval"), report);
        }
    }
    if let Some(http) = &value.http {
        let path = path.field("http");
        checks::zero_or_1ms(http.idle_timeout, &path.field("idleTimeout"), report);
        if http.use_client_protocol
            && http.h2_upgrade_policy == crate::networking::H2UpgradePolicy::Upgrade
        {
            let message = "useClientProtocol and h2UpgradePolicy UPGRADE exclude each other";
            report.error(&path.field("useClientProtocol"), "exclusive-fields", message);
        }
        if let Some(keepalive) = &http.http2_keep_alive {
            let path = path.field("http2KeepAlive");
            checks::at_least_1ms(keepalive.interval, &path.field("interval"), report);
            checks::at_least_1ms(keepalive.timeout, &path.field("timeout"), report);
        }
    }
}

fn outlier_detection(value: &OutlierDetection, path: &Path<'_>, report: &mut Report<'_>) {
    checks::at_least_1ms(value.interval, &path.field("interval"), report);
    checks::at_least_1ms(value.base_ejection_time, &path.field("baseEjectionTime"), report);
    for (name, percent) in [
        ("maxEjectionPercent", value.max_ejection_percent),
        ("minHealthPercent", value.min_health_percent),
    ] {
        if percent > 100 {
            report.error(&path.field(name), "invalid-percent", "must be from 0 to 100");
        }
    }
    if value.consecutive_errors.is_some() {
        let message = "deprecated and without effect";
        report.warning_help(
            &path.field("consecutiveErrors"),
            "deprecated-field",
            message,
            "use consecutive5xxErrors",
        );
    }
    let list = path.field("outlierDetectionHttpErrorCodes");
    for (index, code) in value.outlier_detection_http_error_codes.iter().enumerate() {
        checks::status(*code, &list.index(index), report);
    }
    if !value.split_external_local_origin_errors
        && value.consecutive_local_origin_failures.is_some_and(|count| count > 0)
    {
        let message = "needs splitExternalLocalOriginErrors: true";
        report.error(&path.field("consecutiveLocalOriginFailures"), "exclusive-fields", message);
    }
}

fn tls(value: &ClientTlsSettings, path: &Path<'_>, report: &mut Report<'_>) {
    let files = [
        ("clientCertificate", &value.client_certificate),
        ("privateKey", &value.private_key),
        ("caCertificates", &value.ca_certificates),
    ];
    match value.mode {
        ClientTlsMode::Mutual if value.credential_name.is_empty() => {
            for (name, file) in &files[..2] {
                if file.is_empty() {
                    let message = "mode MUTUAL needs it, or credentialName";
                    report.error(&path.field(name), "missing-field", message);
                }
            }
        }
        ClientTlsMode::IstioMutual => {
            for (name, file) in files {
                if !file.is_empty() {
                    let message = "mode ISTIO_MUTUAL uses the mesh's certificates";
                    report.error(&path.field(name), "exclusive-fields", message);
                }
            }
            if !value.credential_name.is_empty() {
                let message = "mode ISTIO_MUTUAL uses the mesh's certificates";
                report.error(&path.field("credentialName"), "exclusive-fields", message);
            }
        }
        _ => {}
    }
    if !value.credential_name.is_empty() && files.iter().any(|(_, file)| !file.is_empty()) {
        let message = "credentialName and files exclude each other";
        report.error(&path.field("credentialName"), "exclusive-fields", message);
    }
    let list = path.field("subjectAltNames");
    for (index, name) in value.subject_alt_names.iter().enumerate() {
        if name.is_empty() {
            report.error(&list.index(index), "invalid-value", "the name is empty");
        }
    }
    let verified = matches!(value.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual);
    if value.insecure_skip_verify == Some(true) && verified {
        let message = "the server's certificate is not verified";
        report.warning(&path.field("insecureSkipVerify"), "insecure", message);
    }
}
