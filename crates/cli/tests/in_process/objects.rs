//! The YAML that tests write.

use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// A Service `name` in `shop` on port 80 with these endpoints.
pub(crate) fn service(name: &str, endpoints: &[SocketAddr]) -> String {
    let mut text = format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  ports: [{{name: http, port: 80, targetPort: 8080}}]
"
    );
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (ip, port) = (endpoint.ip(), endpoint.port());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{index}
  namespace: shop
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
endpoints:
- addresses: [\"{ip}\"]
  conditions: {{ready: true}}
ports: [{{name: http, port: {port}, protocol: TCP}}]
"
        );
    }
    text
}

/// A Gateway `name` in `shop` for the gateway workload of that name, HTTP for all hosts.
pub(crate) fn gateway(name: &str, port: u16) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{istio: {name}}}
  servers:
  - port: {{number: {port}, name: http, protocol: HTTP}}
    hosts: [\"*\"]
"
    )
}

/// A VirtualService for all hosts at a gateway; `routes` is the list `http`, indented by two.
pub(crate) fn routes(gateway: &str, routes: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {gateway}, namespace: shop}}
spec:
  hosts: [\"*\"]
  gateways: [{gateway}]
  http:
{routes}"
    )
}

/// A route of everything to one service.
pub(crate) fn all_to(gateway: &str, service: &str) -> String {
    routes(gateway, &format!("  - route: [{{destination: {{host: {service}}}}}]\n"))
}

/// A DestinationRule; `policy` is a `trafficPolicy` in YAML's flow style.
pub(crate) fn policy(host: &str, policy: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host}, namespace: shop}}
spec:
  host: {host}
  trafficPolicy: {policy}
"
    )
}

/// A port that nobody listens on, from below the range that the system gives out by itself, so
/// that no connection takes it meanwhile.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 600).expect("small") * 20;
    loop {
        let offset = (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + offset;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}
