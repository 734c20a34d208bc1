//! A stock Envoy as the proxy: its bootstrap, its process, and its admin interface.

pub(crate) mod admin;
mod bootstrap;
mod process;

pub(crate) use self::{admin::Admin, bootstrap::bootstrap, process::EnvoyProcess};

/// Options for tests, of a workload on Envoy.
#[cfg(test)]
pub(crate) fn test_options(run_dir: &std::path::Path) -> crate::options::AgentOptions {
    use std::time::Duration;

    use crate::{
        discovery::Discovery,
        environment::Environment,
        options::{AgentOptions, Dns, Ports, ProxyChoice, Role},
    };
    let variables = [
        ("POD_NAME", "ratings-v1"),
        ("POD_NAMESPACE", "bookinfo"),
        ("INSTANCE_IP", "10.244.0.5"),
        ("SERVICE_ACCOUNT", "ratings"),
        ("ISTIO_META_LABELS", r#"{"app":"ratings"}"#),
        ("ISTIO_META_WORKLOAD_NAME", "ratings-v1"),
        ("ISTIO_META_SERVICE_ACCOUNT", "admin"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    AgentOptions {
        role: Role::Sidecar,
        proxy: ProxyChoice::Mizzen,
        discovery: Discovery {
            address: "10.244.0.1:15012".into(),
            server_name: "istiod.istio-system.svc".into(),
            root_cert: None,
            token: None,
            client_cert_dir: None,
            cluster_id: "Kubernetes".into(),
            socket_mark: None,
        },
        workload: Environment::read(variables).expect("complete"),
        domain: "cluster.local".into(),
        run_dir: run_dir.to_owned(),
        dns: Dns::default(),
        ports: Ports::default(),
        concurrency: 1,
        proxy_log_level: "warning".into(),
        termination_drain: Duration::from_secs(5),
        drain_time: Duration::from_secs(45),
        inherited: Vec::new(),
    }
}
