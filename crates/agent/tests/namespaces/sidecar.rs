//! The whole agent with a proxy, a stock Envoy or ours, in a captured namespace: what a workload
//! calls and what calls it goes through the proxy, in mark mode, with certificates from SDS.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use agent::{
    AgentOptions, Discovery, Dns, Environment, Ports, ProxyChoice, Role,
    capture::{CaptureOptions, Exempt, Ipv6Capture, apply},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    control::{Control, resource},
    namespace::{from_neighbour, in_namespace},
};

const MARK: u32 = 1337;
const HERE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const CONTROL: (Ipv4Addr, u16) = (THERE, 15012);
/// Short, so that a rotation is seen.
const LIFETIME: Duration = Duration::from_secs(6);

#[test]
fn envoy_serves_a_captured_workload_and_rotates_its_certificate() {
    let Some(envoy) = testkit::peers::envoy() else {
        return testkit::skip("no stock Envoy");
    };
    in_namespace(move || serve(ProxyChoice::Envoy { path: envoy }));
}

#[test]
fn our_proxy_serves_a_captured_workload_and_rotates_its_certificate() {
    in_namespace(|| serve(ProxyChoice::Mizzen));
}

fn serve(proxy: ProxyChoice) {
    let mut options = CaptureOptions::new(Exempt::Mark(MARK));
    options.ipv6 = Ipv6Capture::Off;
    apply(&options).expect("captured");
    let dir = tempfile::tempdir().expect("a folder");
    let control = Control::new(resources());
    let elsewhere = neighbour(control.clone());
    std::fs::write(dir.path().join("root.pem"), control.ca.roots().to_pem()).expect("written");
    std::fs::write(dir.path().join("token"), "a token").expect("written");

    let runtime = runtime();
    let stop = CancellationToken::new();
    let agent = runtime.spawn(agent::run(self::options(dir.path(), proxy), stop.clone()));
    until("ready", Duration::from_secs(20), || get(15021, "/healthz/ready").starts_with('2'));
    assert_eq!(*control.rejections.lock().expect("not poisoned"), [""; 0]);

    inbound();
    outbound();
    dns();
    metrics();
    rotation();

    stop.cancel();
    let ended = runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(8), agent).await.expect("it ends in time")
    });
    ended.expect("no panic").expect("no error");
    until("the proxy gone", Duration::from_secs(2), || get(15090, "/").is_empty());
    runtime.shutdown_background();
    elsewhere.shutdown_background();
}

#[test]
fn when_envoy_ends_the_agent_ends_with_its_status() {
    in_namespace(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let script = dir.path().join("not-envoy");
        std::fs::write(&script, "#!/bin/sh\nexit 42\n").expect("written");
        Command::new("chmod").arg("+x").arg(&script).status().expect("chmod");
        let options = options(dir.path(), ProxyChoice::Envoy { path: script });
        let runtime = runtime();
        let ended = runtime.block_on(agent::run(options, CancellationToken::new()));
        assert_eq!(ended.expect_err("it ended").exit_code(), 42);
        runtime.shutdown_background();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The control plane and a server at the other end.
fn neighbour(control: Control) -> tokio::runtime::Runtime {
    from_neighbour(|| {
        let runtime = runtime();
        runtime.spawn(control.serve(SocketAddr::from(CONTROL)));
        let listener = TcpListener::bind((THERE, 9000)).expect("the port is free");
        thread::spawn(move || echo(&listener));
        runtime
    })
}

/// Answers each connection with the peer's address, then what it says.
fn echo(listener: &TcpListener) {
    while let Ok((mut stream, peer)) = listener.accept() {
        let _ = write!(stream, "{} ", peer.ip());
        let mut buffer = [0; 16];
        let length = stream.read(&mut buffer).unwrap_or(0);
        let _ = stream.write_all(&buffer[..length]);
    }
}

fn call(to: (Ipv4Addr, u16)) -> String {
    let mut stream = TcpStream::connect(to).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    stream.write_all(b"hello").expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn inbound() {
    let application = TcpListener::bind((HERE, 8080)).expect("the port is free");
    thread::spawn(move || echo(&application));
    let answer = from_neighbour(|| call((HERE, 8080)));
    assert_eq!(answer, "127.0.0.6 hello", "through the inbound cluster");
}

fn outbound() {
    let before = passthrough_connections();
    assert_eq!(call((THERE, 9000)), "10.99.0.2 hello");
    let after = passthrough_connections();
    assert_eq!(after, before + 1, "through the proxy once, so its own connection was not captured");
}

/// A query to a server that does not exist is answered by the agent.
fn dns() {
    let socket = UdpSocket::bind((HERE, 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
    socket.connect((Ipv4Addr::new(10, 96, 0, 10), 53)).expect("a route");
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
                  \x04cart\x04shop\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01";
    socket.send(query).expect("sent");
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).expect("answered");
    assert_eq!(&buffer[..2], b"\x12\x34");
    assert_eq!(&buffer[length - 4..length], [10, 96, 7, 7]);
}

fn metrics() {
    let page = get(15020, "/stats/prometheus");
    assert!(page.contains("istio_agent_xds_proxy_responses"), "the agent's");
    assert!(
        page.contains("envoy_cluster_upstream_cx_total{cluster_name=\"PassthroughCluster\""),
        "the proxy's, with the label"
    );
    assert!(get(15000, "/server_info").contains("LIVE"), "admin at Istio's address");
}

fn rotation() {
    let serial = || {
        let page = get(15000, "/certs");
        let certificates: Value = serde_json::from_str(body(&page)).unwrap_or_default();
        let all = certificates.get("certificates")?.as_array()?;
        let leaf = all.iter().filter_map(|entry| entry.pointer("/cert_chain/0")).next()?;
        assert!(leaf.to_string().contains("spiffe://cluster.local/ns/shop/sa/cart"), "{leaf}");
        Some(leaf.get("serial_number")?.as_str()?.to_owned())
    };
    let first = serial().expect("the proxy has the workload's certificate");
    until("rotated", LIFETIME, || serial().is_some_and(|serial| serial != first));
}

/// Connections that the proxy made for the workload. Our proxy drops the `;` that ends the name.
fn passthrough_connections() -> u64 {
    let page = get(15000, "/stats?filter=PassthroughCluster");
    let line = page.lines().map(|line| line.replace(';', ""));
    let mut values = line.filter_map(|line| {
        line.strip_prefix("cluster.PassthroughCluster.upstream_cx_total: ")?.trim().parse().ok()
    });
    values.next().unwrap_or(0)
}

/// The status and answer of a GET on loopback; empty when there is none.
fn get(port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return String::new();
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.strip_prefix("HTTP/1.1 ").unwrap_or_default().to_owned()
}

/// From the first brace to the last: good enough for JSON in a chunked answer.
fn body(answer: &str) -> &str {
    let (start, end) = (answer.find('{').unwrap_or(0), answer.rfind('}').map_or(0, |at| at + 1));
    answer.get(start..end).unwrap_or_default()
}

fn until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn options(dir: &Path, proxy: ProxyChoice) -> AgentOptions {
    let variables = [
        ("POD_NAME", "cart-1"),
        ("POD_NAMESPACE", "shop"),
        ("INSTANCE_IP", "10.99.0.2"),
        ("SERVICE_ACCOUNT", "cart"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut workload = Environment::read(variables).expect("complete");
    workload.certificate_lifetime = LIFETIME;
    AgentOptions {
        role: Role::Sidecar,
        proxy,
        discovery: Discovery {
            address: SocketAddr::from(CONTROL).to_string(),
            server_name: "istiod.istio-system.svc".into(),
            root_cert: Some(dir.join("root.pem")),
            token: Some(dir.join("token")),
            client_cert_dir: None,
            cluster_id: "Kubernetes".into(),
            socket_mark: Some(MARK),
        },
        workload,
        domain: "cluster.local".into(),
        run_dir: dir.to_owned(),
        dns: Dns::default(),
        ports: Ports::default(),
        concurrency: 1,
        proxy_log_level: "warning".into(),
        termination_drain: Duration::from_secs(5),
        drain_time: Duration::from_secs(45),
        inherited: Vec::new(),
    }
}

/// A sidecar's least: the two virtual listeners, and one more that needs the certificate.
fn resources() -> Vec<(String, pb::Any)> {
    const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
    const LISTENER: &str = "envoy.config.listener.v3.Listener";
    let original = |name: &str, bind: Value| {
        resource(
            CLUSTER,
            name,
            &json!({
                "name": name, "type": "ORIGINAL_DST", "connect_timeout": "2s",
                "lb_policy": "CLUSTER_PROVIDED", "alt_stat_name": format!("{name};"),
                "upstream_bind_config": bind,
            }),
        )
    };
    let names = json!({ "table": { "cart.shop.svc.cluster.local": {
        "ips": ["10.96.7.7"], "registry": "Kubernetes", "shortname": "cart", "namespace": "shop",
    } } });
    let inbound_bind = json!({ "source_address": { "address": "127.0.0.6", "port_value": 0 } });
    vec![
        original("PassthroughCluster", Value::Null),
        original("InboundPassthroughCluster", inbound_bind),
        resource(LISTENER, "virtualOutbound", &listener(15001, "PassthroughCluster", &Value::Null)),
        resource(
            LISTENER,
            "virtualInbound",
            &listener(15006, "InboundPassthroughCluster", &Value::Null),
        ),
        resource(LISTENER, "tls", &listener(15443, "PassthroughCluster", &tls())),
        resource("istio.networking.nds.v1.NameTable", "", &names),
    ]
}

fn listener(port: u16, cluster: &str, transport_socket: &Value) -> Value {
    json!({
        "name": format!("l{port}"),
        "address": { "socket_address": { "address": "0.0.0.0", "port_value": port } },
        "use_original_dst": true,
        "filter_chains": [{
            "transport_socket": transport_socket,
            "filters": [{
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": cluster, "cluster": cluster,
                },
            }],
        }],
    })
}

fn tls() -> Value {
    let secret = |name: &str| {
        json!({ "name": name, "sds_config": {
            "initial_fetch_timeout": "0s", "resource_api_version": "V3",
            "api_config_source": {
                "api_type": "GRPC", "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "sds-grpc" } }],
            },
        } })
    };
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [secret("default")],
            "validation_context_sds_secret_config": secret("ROOTCA"),
        },
        "require_client_certificate": true,
    } })
}
