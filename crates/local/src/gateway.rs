//! The ingress gateway: the default one that the runtime adds, the host's sockets that it serves,
//! and the relay for a proxy that cannot take a socket from outside.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use config::{Kind, Object, Spec};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The port of the gateway's pod behind its Service's port 80.
pub(crate) const HTTP_PORT: u16 = 8080;
/// How many connections may wait to be accepted.
pub(crate) const BACKLOG: i32 = 1024;

/// Labels of the default gateway's pods, as in Istio's default profile.
const LABELS: [(&str, &str); 2] = [("app", "istio-ingressgateway"), ("istio", "ingressgateway")];
const NAMESPACE: &str = "istio-system";
const NAME: &str = "istio-ingressgateway";

const SERVICE_ACCOUNT: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata:
  name: istio-ingressgateway-service-account
  namespace: istio-system
";
const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: istio-ingressgateway
  namespace: istio-system
  labels:
    app: istio-ingressgateway
    istio: ingressgateway
spec:
  type: LoadBalancer
  selector:
    app: istio-ingressgateway
    istio: ingressgateway
  ports:
    - name: http2
      port: 80
      targetPort: 8080
    - name: https
      port: 443
      targetPort: 8443
";
const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: istio-ingressgateway
  namespace: istio-system
  labels:
    app: istio-ingressgateway
    istio: ingressgateway
spec:
  selector:
    matchLabels:
      app: istio-ingressgateway
      istio: ingressgateway
  template:
    metadata:
      labels:
        app: istio-ingressgateway
        istio: ingressgateway
        service.istio.io/canonical-name: istio-ingressgateway
        service.istio.io/canonical-revision: latest
      annotations:
        inject.istio.io/templates: gateway
    spec:
      serviceAccountName: istio-ingressgateway-service-account
      containers:
        - name: istio-proxy
          image: auto
";

/// The YAML of the gateway that Istio's default profile would install, when an Istio Gateway
/// selects it and the user has no Deployment with its labels. What the user wrote of it himself
/// stays his.
pub(crate) fn default_objects(objects: &[Arc<Object>]) -> Option<String> {
    let selected = objects.iter().any(|object| match &object.spec {
        Spec::Gateway(gateway) => {
            !gateway.selector.is_empty()
                && gateway.selector.iter().all(|(key, value)| LABELS.contains(&(key, value)))
        }
        _ => false,
    });
    let provided = objects.iter().any(|object| match &object.spec {
        Spec::Deployment(deployment) => {
            let labels = &deployment.template.metadata.labels;
            labels.get("istio").is_some_and(|value| value == "ingressgateway")
        }
        _ => false,
    });
    if !selected || provided {
        return None;
    }
    let exists = |kind, name: &str| {
        objects.iter().any(|object| {
            let key = object.key();
            key.kind == kind && key.namespace == NAMESPACE && key.name == name
        })
    };
    let parts = [
        (Kind::ServiceAccount, "istio-ingressgateway-service-account", SERVICE_ACCOUNT),
        (Kind::Service, NAME, SERVICE),
        (Kind::Deployment, NAME, DEPLOYMENT),
    ];
    let missing: Vec<&str> = parts
        .into_iter()
        .filter(|(kind, name, _)| !exists(*kind, name))
        .map(|(_, _, text)| text)
        .collect();
    Some(missing.join("---\n"))
}

/// A socket of the host, and the gateway's port that it stands for.
#[derive(Debug)]
pub(crate) struct HostGateway {
    pub(crate) address: SocketAddr,
    pub(crate) port: u16,
    pub(crate) socket: OwnedFd,
}

impl HostGateway {
    /// The URL under which a user reaches it from the host.
    pub(crate) fn url(&self) -> String {
        let scheme = if matches!(self.port, 443 | 8443) { "https" } else { "http" };
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("{scheme}://{address}")
    }

    /// Lets the host connect. It was bound from the start; it listens once a gateway serves it.
    pub(crate) fn listen(&self) -> std::io::Result<()> {
        let backlog = nix::sys::socket::Backlog::new(BACKLOG)?;
        Ok(nix::sys::socket::listen(&self.socket, backlog)?)
    }

    /// Accepts the host's connections and copies them to a gateway's pod, until told to stop.
    pub(crate) async fn relay(
        &self,
        to: Ipv4Addr,
        stop: &CancellationToken,
    ) -> std::io::Result<()> {
        let listener = std::net::TcpListener::from(self.socket.try_clone()?);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((host, _)) => {
                    let target = (to, self.port);
                    tokio::spawn(copy(host, target));
                }
                Err(error) => {
                    tracing::warn!("gateway relay: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Lives as long as both ends want: a gateway that drains closes its end.
async fn copy(mut host: TcpStream, target: (Ipv4Addr, u16)) {
    let _ = host.set_nodelay(true);
    let Ok(mut gateway) = TcpStream::connect(target).await else { return };
    let _ = gateway.set_nodelay(true);
    let _ = tokio::io::copy_bidirectional(&mut host, &mut gateway).await;
}
