//! A replica's sidecar, or the gateway's proxy: capture, the agent's command line and environment,
//! and its readiness.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::{Replica, World, run};
use crate::address;
use crate::backoff::Policy;
use crate::inherited::inheritable;
use crate::plan::{ProxyKind, Role};
use crate::supervise::{Ending, SELF, Start, State, Supervisor, run_once};
use crate::userns::PROXY_USER;
use daemon::http_client;

/// Where the agent answers for itself and its proxy, Istio's port.
const READINESS: u16 = 15021;
/// The mark of the proxy's packets where users cannot tell them apart.
const MARK: u32 = 1337;
/// The agent drains for 5 seconds at most; then it must be gone.
const GRACE: Duration = Duration::from_secs(7);

/// Istio's annotations about capture, and the options of `mizzen agent capture` for them.
const CAPTURE: [(&str, &str); 7] = [
    ("traffic.sidecar.istio.io/includeOutboundIPRanges", "--include-outbound-ip-ranges"),
    ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "--exclude-outbound-ip-ranges"),
    ("traffic.sidecar.istio.io/includeInboundPorts", "--include-inbound-ports"),
    ("traffic.sidecar.istio.io/excludeInboundPorts", "--exclude-inbound-ports"),
    ("traffic.sidecar.istio.io/includeOutboundPorts", "--include-outbound-ports"),
    ("traffic.sidecar.istio.io/excludeOutboundPorts", "--exclude-outbound-ports"),
    ("traffic.sidecar.istio.io/excludeInterfaces", "--exclude-interfaces"),
];

/// Programs the redirection of the replica's traffic, once.
pub(super) async fn capture(world: &World, replica: &Replica, log: &File) -> Result<(), String> {
    let exempt = if world.users_mapped { "uid" } else { "mark" };
    let mut command = Command::new(SELF);
    command.arg0("mizzen").args(["agent", "capture", "--exempt", exempt]);
    let annotations = &replica.wanted.template.metadata.annotations;
    for (annotation, option) in CAPTURE {
        if let Some(value) = annotations.get(annotation) {
            command.arg(format!("{option}={value}"));
        }
    }
    run_once(command, log).await.map_err(|message| {
        format!("traffic capture {message}; see mizzen logs {} -c proxy", replica.name)
    })
}

/// Runs the agent until told to stop, and follows its readiness.
pub(super) async fn run(world: &World, replica: &Replica, log: &File, stop: &CancellationToken) {
    let supervisor =
        Supervisor { policy: Policy::Infrastructure, ending: Ending::Process(GRACE), log };
    let relays = CancellationToken::new();
    let _relays = relays.clone().drop_guard();
    if replica.wanted.role == Role::Gateway {
        open_host_sockets(world);
    }
    let running = AtomicBool::new(false);
    let report = |state: State| {
        running.store(matches!(state, State::Running { .. }), Ordering::Relaxed);
        replica.update(|live| {
            live.note("istio-proxy", &state);
            live.sidecar_ready = false;
            live.sidecar = Some(state);
        });
    };
    tokio::select! {
        () = supervisor.run(|| command(world, replica), report, stop) => {}
        () = follow_readiness(replica, &running) => {}
        () = run::refresh_token(world, replica) => {}
    }
}

fn open_host_sockets(world: &World) {
    for gateway in &world.gateways {
        if let Err(error) = gateway.listen() {
            tracing::error!("cannot listen on {}: {error}", gateway.address);
        }
    }
}

/// Asks the agent for its readiness from inside the replica's namespace. Never ends.
async fn follow_readiness(replica: &Replica, running: &AtomicBool) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, READINESS));
    loop {
        let request = async {
            let stream = TcpStream::connect(address).await?;
            http_client::get_on(stream, "/healthz/ready").await
        };
        let ready = running.load(Ordering::Relaxed)
            && matches!(
                tokio::time::timeout(Duration::from_secs(1), request).await,
                Ok(Ok((200, _)))
            )
            && running.load(Ordering::Relaxed);
        if replica.lock().sidecar_ready != ready {
            replica.update(|live| live.sidecar_ready = ready);
        }
        tokio::time::sleep(Duration::from_millis(if ready { 1000 } else { 50 })).await;
    }
}

/// The agent's command line. Its paths are relative to the replica's directory, where this thread
/// is: the directories above may be closed to the proxy's user.
fn command(world: &World, replica: &Replica) -> Result<Start, String> {
    let gateway = replica.wanted.role == Role::Gateway;
    let mut command = Command::new(SELF);
    command
        .arg0("mizzen")
        .args(["agent", if gateway { "router" } else { "sidecar" }])
        .args(["--proxy", replica.proxy.as_str()])
        .args(["--discovery-address", &format!("{}:15012", address::CONTROL_PLANE)])
        .args(["--root-cert", "root-cert.pem", "--token", "token", "--run-dir", "."]);
    if replica.proxy == ProxyKind::Envoy {
        command.args(["--envoy-path", "./envoy"]);
    }
    if world.users_mapped {
        command.uid(PROXY_USER).gid(PROXY_USER);
    } else {
        command.args(["--socket-mark", &MARK.to_string()]);
    }
    if let Some(threads) = replica.wanted.settings.concurrency {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => usize::try_from(threads).unwrap_or(usize::MAX),
        };
        command.args(["--concurrency", &threads.to_string()]);
    }
    let mut inherited = Vec::new();
    if gateway && replica.proxy == ProxyKind::Mizzen {
        for gateway in &world.gateways {
            let (socket, fd) = inheritable(&gateway.socket)
                .map_err(|error| format!("the host's socket cannot be handed in: {error}"))?;
            command.args(["--listen-fd", &format!("{}={fd}", gateway.port)]);
            inherited.push(socket);
        }
    }
    command.env_clear().envs(environment(world, replica));
    Ok(Start { command, inherited })
}

/// The environment of Istio's injection templates.
fn environment(world: &World, replica: &Replica) -> Vec<(String, String)> {
    let wanted = &replica.wanted;
    let metadata = &wanted.template.metadata;
    let ports: Vec<Value> = wanted
        .template
        .spec
        .containers
        .iter()
        .flat_map(|container| &container.ports)
        .map(|port| json!({ "name": port.name, "containerPort": port.container_port }))
        .collect();
    let containers: Vec<&str> =
        wanted.template.spec.containers.iter().map(|container| container.name.as_str()).collect();
    let owner = format!(
        "kubernetes://apis/apps/v1/namespaces/{}/deployments/{}",
        wanted.namespace, wanted.name
    );
    let labels: Map<String, Value> =
        metadata.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let annotations: Map<String, Value> =
        metadata.annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let mut variables = vec![
        ("POD_NAME", replica.pod.clone()),
        ("POD_NAMESPACE", wanted.namespace.clone()),
        ("INSTANCE_IP", replica.address.to_string()),
        ("HOST_IP", address::CONTROL_PLANE.to_string()),
        ("SERVICE_ACCOUNT", wanted.template.spec.service_account().to_owned()),
        ("ISTIO_META_LABELS", Value::Object(labels).to_string()),
        ("ISTIO_META_ANNOTATIONS", Value::Object(annotations).to_string()),
        ("ISTIO_META_WORKLOAD_NAME", wanted.name.clone()),
        ("ISTIO_META_OWNER", owner),
        ("ISTIO_META_POD_PORTS", Value::Array(ports).to_string()),
        ("ISTIO_META_APP_CONTAINERS", containers.join(",")),
        ("ISTIO_META_CLUSTER_ID", "Kubernetes".to_owned()),
        ("ISTIO_META_MESH_ID", world.trust_domain.clone()),
        ("TRUST_DOMAIN", world.trust_domain.clone()),
        ("DISCOVERY_SAN", "istiod.istio-system.svc".to_owned()),
        ("SECRET_TTL", world.options.workload_cert_ttl.clone()),
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("HOME", "/".to_owned()),
    ];
    if wanted.role == Role::Injected {
        variables.push(("ISTIO_META_INTERCEPTION_MODE", "REDIRECT".to_owned()));
        variables.push(("ISTIO_META_DNS_CAPTURE", "true".to_owned()));
    }
    if let Some(configuration) = metadata.annotations.get("proxy.istio.io/config") {
        variables.push(("PROXY_CONFIG", configuration.clone()));
    }
    if let Ok(filter) = std::env::var("RUST_LOG") {
        variables.push(("RUST_LOG", filter));
    }
    let own = variables.into_iter().map(|(name, value)| (name.to_owned(), value));
    // Later ones win, as in a pod's template.
    own.chain(wanted.settings.environment.clone()).collect()
}
