//! One question to a container, asked from inside the replica's namespace as the kubelet would.
//!
//! COMPAT: Istio has the kubelet's HTTP probes answered by the agent, since they would arrive as
//! captured plain text. These come from inside the namespace, pass capture by, and need no detour.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use config::k8s::{Container, HttpGetAction, Probe, TcpSocketAction};
use config::value::IntOrString;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::Replica;
use crate::inherited;
use daemon::http_client;

/// Whether a port accepts.
pub(super) async fn accepts(replica: &Replica, port: u16) -> bool {
    connect(replica, "", port).await.is_some()
}

/// Whether a container passes a probe now.
pub(super) async fn ask(
    replica: &Replica,
    container: &Container,
    probe: &Probe,
    timeout: Duration,
) -> bool {
    let answer = async {
        if let Some(http) = &probe.http_get {
            http_get(replica, container, http).await
        } else if let Some(tcp) = &probe.tcp_socket {
            tcp_socket(replica, container, tcp).await
        } else if let Some(exec) = &probe.exec {
            execute(&exec.command).await
        } else if let Some(grpc) = &probe.grpc {
            // COMPAT: the port must accept; the health service itself is not asked.
            connect(replica, "", grpc.port).await.is_some()
        } else {
            true
        }
    };
    tokio::time::timeout(timeout, answer).await.unwrap_or(false)
}

async fn http_get(replica: &Replica, container: &Container, action: &HttpGetAction) -> bool {
    let Some(port) = port(container, action.port.as_ref()) else { return false };
    let Some(stream) = connect(replica, &action.host, port).await else { return false };
    if action.scheme.eq_ignore_ascii_case("https") {
        // COMPAT: the port must accept; the answer is not read.
        return true;
    }
    let path = match action.path.as_str() {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    let host = format!("{}:{port}", replica.address);
    let own =
        |name: &str| action.http_headers.iter().any(|own| own.name.eq_ignore_ascii_case(name));
    let mut headers: Vec<(&str, &str)> =
        action.http_headers.iter().map(|own| (own.name.as_str(), own.value.as_str())).collect();
    if !own("host") {
        headers.push(("host", &host));
    }
    if !own("user-agent") {
        headers.push(("user-agent", "kube-probe/mizzen"));
    }
    http_client::get_with(stream, &path, &headers)
        .await
        .is_ok_and(|(code, _)| (200..400).contains(&code))
}

async fn tcp_socket(replica: &Replica, container: &Container, action: &TcpSocketAction) -> bool {
    match port(container, action.port.as_ref()) {
        Some(port) => connect(replica, &action.host, port).await.is_some(),
        None => false,
    }
}

async fn execute(command: &[String]) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    let child = {
        let _guard = inherited::spawning();
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    };
    match child {
        Ok(mut child) => child.wait().await.is_ok_and(|status| status.success()),
        Err(_) => false,
    }
}

/// Connects to the pod's address, or to loopback where an application only listens there.
async fn connect(replica: &Replica, host: &str, port: u16) -> Option<TcpStream> {
    let addresses: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => vec![replica.address.into(), Ipv4Addr::LOCALHOST.into()],
    };
    for address in addresses {
        if let Ok(stream) = TcpStream::connect(SocketAddr::new(address, port)).await {
            return Some(stream);
        }
    }
    None
}

fn port(container: &Container, port: Option<&IntOrString>) -> Option<u16> {
    match port? {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            container.ports.iter().find(|port| port.name == *name).map(|port| port.container_port)
        }
    }
}
