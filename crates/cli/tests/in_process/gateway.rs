//! A gateway of a test: the agent with a proxy, ours or a stock Envoy, as in a pod.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use agent::{AgentError, AgentOptions, Discovery, Dns, Environment, Ports, ProxyChoice, Role};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    client::{self, eventually},
    fixture::Mesh,
};

/// A running gateway; dropping it ends it.
pub(crate) struct Gateway {
    /// Where the port that its Gateway names is reached.
    pub(crate) address: SocketAddr,
    admin: PathBuf,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), AgentError>>>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
        // What drains is given no time: the test is over.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Gateway {
    /// Starts the gateway `name` (label, service account and pod) in `shop` on our proxy.
    pub(crate) async fn start(mesh: &Mesh, name: &str, port: u16) -> Self {
        Self::start_on(mesh, name, port, ProxyChoice::Mizzen).await
    }

    /// The same on a proxy of choice.
    pub(crate) async fn start_on(mesh: &Mesh, name: &str, port: u16, proxy: ProxyChoice) -> Self {
        let lifetime = Duration::from_secs(3600);
        Self::start_with(mesh, name, port, options(mesh, name, proxy, lifetime)).await
    }

    /// The same on our proxy, with certificates of this lifetime.
    pub(crate) async fn start_for(mesh: &Mesh, name: &str, port: u16, lifetime: Duration) -> Self {
        let options = options(mesh, name, ProxyChoice::Mizzen, lifetime);
        Self::start_with(mesh, name, port, options).await
    }

    async fn start_with(mesh: &Mesh, name: &str, port: u16, options: AgentOptions) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(agent::run(options, stop.clone()));
        let gateway = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            admin: mesh.path(name).join("admin.sock"),
            stop,
            task: Some(task),
        };
        eventually(&format!("gateway {name} listens"), || async {
            let state = client::page(&gateway.admin, "/ready").await?;
            let connected = tokio::net::TcpStream::connect(gateway.address).await;
            connected.map(drop).map_err(|error| format!("{state}: {error}"))
        })
        .await;
        gateway
    }

    /// Ends it as SIGTERM does, with a drain.
    pub(crate) async fn stop(mut self) -> Result<(), AgentError> {
        self.stop.cancel();
        self.task.take().expect("not yet stopped").await.expect("no panic")
    }

    /// A page of the proxy's admin interface.
    pub(crate) async fn admin(&self, path: &str) -> String {
        client::page(&self.admin, path).await.expect("an admin page")
    }

    /// A page of the proxy's admin interface that is JSON.
    pub(crate) async fn admin_json(&self, path: &str) -> Value {
        let text = self.admin(path).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }
}

fn options(mesh: &Mesh, name: &str, proxy: ProxyChoice, lifetime: Duration) -> AgentOptions {
    let run_dir = mesh.path(name);
    std::fs::create_dir_all(&run_dir).expect("made");
    let token = run_dir.join("token");
    std::fs::write(&token, mesh.token("shop", name)).expect("written");
    let labels = json!({ "istio": name, "app": name, "version": "v1" }).to_string();
    let variables = [
        ("POD_NAME", format!("{name}-1")),
        ("POD_NAMESPACE", "shop".into()),
        ("INSTANCE_IP", "127.0.0.99".into()),
        ("SERVICE_ACCOUNT", name.into()),
        ("ISTIO_META_LABELS", labels),
        ("ISTIO_META_WORKLOAD_NAME", name.into()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let mut workload = Environment::read(variables).expect("complete");
    workload.certificate_lifetime = lifetime;
    AgentOptions {
        role: Role::Router,
        proxy,
        discovery: Discovery {
            address: mesh.discovery_address(),
            server_name: "istiod.istio-system.svc".into(),
            root_cert: Some(mesh.path("ca/root-cert.pem")),
            token: Some(token),
            client_cert_dir: None,
            cluster_id: "Kubernetes".into(),
            socket_mark: None,
        },
        workload,
        domain: "cluster.local".into(),
        run_dir,
        dns: Dns::default(),
        ports: Ports { admin: 0, agent: 0, status: 0, prometheus: 0, dns: 0 },
        concurrency: 1,
        proxy_log_level: "warning".into(),
        termination_drain: Duration::from_secs(3),
        drain_time: Duration::from_secs(3),
        inherited: Vec::new(),
    }
}
